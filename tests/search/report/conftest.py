"""A made-up search with ties, failures and losses."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest

from tunefront.evaluators import Evaluation, Measurement, builtin_catalog
from tunefront.search import Experiment, Result, Trial, result_of
from tunefront.search.study.confirmation import Confirmation, Round
from tunefront.spaces import Configuration

SPACE = (
    "space={runtime: [torch, openvino], precision: [fp32, bf16]"
    ", quantization_bits: [16, 8], batch_size: {low: 1, high: 32}"
    ", threads: [1, 2, 4, 8]}"
)
OBJECTIVES = "objectives={throughput: maximize, peak_memory_mb: minimize, perplexity: minimize}"
BEGIN = datetime(2026, 1, 1, 22, 0)
RECORD = {
    "machine": {"summary": "Made-up CPU, 8 cores", "isa": ["avx2"], "libraries": {"torch": "1.0"}},
    "workload": {"fingerprint": "f00", "parameters": 7},
    "space": {
        "configurations": 1024,
        "runnable": 1000,
        "dropped": [
            {
                "rule": "numerics",
                "reason": "torch has no such thing",
                "count": 24,
                "values": {"runtime": ["torch"], "precision": ["bf16", "fp8"]},
            }
        ],
    },
}
"""As `search.json` has it."""


def around(value: float, unit: str, half: float) -> Measurement:
    return Measurement(value=value, unit=unit, low=value - half, high=value + half, samples=7)


def measured(
    number: int, configuration: Configuration, random: np.random.Generator, spread: float
) -> Trial:
    """Figures that follow from the choices, coarse enough that some are the same."""
    batch, threads = configuration.number("batch_size"), configuration.number("threads")
    fast = 3.0 if configuration["runtime"] == "openvino" else 1.0
    small = 0.5 if configuration["quantization_bits"] == 8 else 1.0
    noise = random.normal(size=3)
    speed = round(20 * fast * threads**0.5 * (1 + np.log(batch)) * (1 + 0.02 * noise[0]), 1)
    memory = round(300 * small + 8 * batch + 20 * threads + 4 * noise[1])
    drop = round((1 - small) * 6 + (configuration["precision"] == "bf16") * 2 + 0.3 * noise[2], 2)
    figures = {
        "throughput": around(speed, "items/s", spread * speed),
        "latency_ms": around(1000 * batch / speed, "ms", spread * 1000 * batch / speed),
        "peak_memory_mb": around(memory, "MB", spread * memory / 4),
        "perplexity": around(10 * (1 + drop / 100), "", 2.0),
        "quality_drop": around(drop, "%", 20 * spread),
    }
    warnings = ("other processes used the cores in 2 of 7 turns",) if number % 11 == 3 else ()
    seconds = {"prepare": 0.1, "build": 4.0 + number % 3, "quality": 2.0, "measure": 5.0}
    evaluation = Evaluation(
        status="ok",
        measurements=figures,
        seconds={**seconds, "total": sum(seconds.values())},
        warnings=warnings,
        facts={"evaluated_items": 50 if number % 9 == 4 else 100, "items": 100},
    )
    begin = BEGIN + timedelta(seconds=20 * number)
    return Trial(
        number=number,
        configuration=configuration,
        catalog=builtin_catalog(),
        status="ok" if drop <= 5 else "infeasible",
        measurements=figures,
        evaluation=evaluation,
        started=begin,
        ended=begin + timedelta(seconds=12),
        reason="covers values that were not tried yet" if number < 8 else "expected to add 2.0 %",
        expected_s=None if number < 2 else 11.0,
        expected={} if number < 8 else {"throughput": (100.0, 200.0)},
    )


def failed(trial: Trial, message: str = "no memory left") -> Trial:
    evaluation = Evaluation(
        status="failed", cause="oom", stage="measure", message=message, seconds={"total": 3.0}
    )
    return replace(trial, status="failed", measurements={}, evaluation=evaluation)


Search = Callable[..., list[Trial]]


@pytest.fixture(scope="session")
def experiment(load: Callable[..., Experiment]) -> Experiment:
    """Three objectives, a limit on the loss of quality, a few thousand configurations."""
    return load(SPACE, OBJECTIVES, "baseline={runtime: torch, batch_size: 1, threads: 1}")


@pytest.fixture(scope="session")
def search(experiment: Experiment) -> Search:
    """A record of so many trials; every thirteenth failed, and the last one runs."""

    def make(count: int = 60, seed: int = 0, spread: float = 0.02) -> list[Trial]:
        random = np.random.default_rng(seed)
        runnable = experiment.space.enumerate().runnable
        chosen = random.permutation(len(runnable))[: count - 1]
        configurations = [experiment.baseline, *(runnable[int(row)] for row in chosen)]
        trials = [measured(n, c, random, spread) for n, c in enumerate(configurations)]
        trials = [failed(t) if t.number % 13 == 12 else t for t in trials]
        trials[-1] = Trial(
            number=count - 1,
            configuration=configurations[-1],
            catalog=experiment.space.catalog,
            status="running",
        )
        return trials

    return make


@pytest.fixture(scope="session")
def result(experiment: Experiment, search: Search) -> Result:
    """Sixty trials, three of them confirmed."""
    figures = {"throughput": 20.0, "peak_memory_mb": 330.0}
    rounds = {
        number: [Round(ratios=[ratio, 1.01 * ratio, 0.99 * ratio], values=figures)] * 2
        for number, ratio in ((0, 1.0), (3, 4.0), (5, 5.0))
    }
    found = Confirmation(rounds=rounds, finalists=[0, 3, 5])
    return result_of(experiment, search(spread=0.2), found)
