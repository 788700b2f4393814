"""What an ask costs on long histories and in large spaces, beside Optuna's TPE.

    python benchmarks/ask.py [--candidates 10000 30000 100000] [--trials 50 200 1000] [--json FILE]

A made-up space of batch sizes, threads, precisions and ratios, with three objectives and a limit;
the history is of random configurations. CPU seconds of this process, the median of a few asks (the
first of each history, which learns everything anew, is told by itself), threads of the linear
algebra as the sampler sets them. TPE is asked on the same history, one trial an ask.
"""

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import optuna

from tunefront.evaluators import Evaluation, Measurement, builtin_catalog
from tunefront.search.experiment.objective import Limit, Objective
from tunefront.search.sampling.ehvi import EhviSampler
from tunefront.search.study.trial import Trial
from tunefront.spaces import Choice, Configuration

OBJECTIVES = (
    Objective(metric="throughput", direction="maximize", kind="speed"),
    Objective(metric="peak_memory_mb", direction="minimize", kind="memory"),
    Objective(metric="perplexity", direction="minimize"),
)
LIMITS = (Limit(metric="quality_drop", test="<=", bound=5.0),)
ASKS = 5


def choices(count: int) -> list[Choice]:
    """A space of so many configurations: 100 candidates, each at many batch sizes."""
    return [
        Choice(name="precision", values=("fp32", "bf16"), stage="runtime", default="fp32"),
        Choice(
            name="quantization_bits",
            values=(16, 8, 4, 3, 2),
            stage="runtime",
            default=16,
            ordered=True,
            log=True,
        ),
        Choice(
            name="threads",
            values=tuple(range(1, 11)),
            stage="execution",
            default=1,
            ordered=True,
            log=True,
        ),
        Choice(
            name="batch_size",
            values=tuple(range(1, count // 100 + 1)),
            stage="execution",
            default=1,
            ordered=True,
            log=True,
        ),
    ]


def measured(number: int, configuration: Configuration, random: np.random.Generator) -> Trial:
    """A trial whose figures follow from its choices, with 2 % of noise."""
    batch, threads = configuration.number("batch_size"), configuration.number("threads")
    bits = 1.0 + (16, 8, 4, 3, 2).index(configuration.integer("quantization_bits"))
    noise = 1 + 0.02 * random.normal(size=3)
    loss = bits + 2 * (configuration["precision"] == "bf16")
    figures = {
        "throughput": 20 * threads**0.7 * (1 + np.log(batch)) * bits**0.5 * noise[0],
        "peak_memory_mb": (200 + 500 / bits + batch + 20 * threads) * noise[1],
        "perplexity": 10 * (1 + loss / 100) * noise[2],
        "quality_drop": loss,
    }
    found = {
        name: Measurement(value=v, unit="", low=0.98 * v, high=1.02 * v, samples=7)
        for name, v in figures.items()
    }
    return Trial(
        number=number,
        configuration=configuration,
        catalog=builtin_catalog(),
        status="ok" if loss <= LIMITS[0].bound else "infeasible",
        measurements=found,
        evaluation=Evaluation(
            status="ok", measurements=found, seconds={"build": 4.0, "measure": 5.0, "total": 9.0}
        ),
    )


def history(space: Sequence[Choice], trials: int) -> tuple[list[Configuration], list[Trial]]:
    """Every configuration, and so many of them measured."""
    names = [choice.name for choice in space]
    listed = [
        Configuration(dict(zip(names, v, strict=True))) for v in product(*(c.values for c in space))
    ]
    random = np.random.default_rng(0)
    chosen = random.permutation(len(listed))[:trials]
    return listed, [measured(n, listed[int(place)], random) for n, place in enumerate(chosen)]


def ours(
    space: Sequence[Choice], listed: Sequence[Configuration], trials: list[Trial]
) -> list[float]:
    """CPU seconds of every ask; what was asked for is measured before the next."""
    sampler = EhviSampler(space, listed, OBJECTIVES, LIMITS, 0)
    random = np.random.default_rng(1)
    found: list[float] = []
    for _ in range(1 + ASKS):
        start = time.process_time()
        asked = sampler.propose(trials)
        found.append(time.process_time() - start)
        assert asked is not None
        trials.append(measured(len(trials), asked.configuration, random))
    return found


def theirs(space: Sequence[Choice], trials: Sequence[Trial]) -> list[float]:
    """The same of TPE, the choices as a box: an ordered choice is the place of its value."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        directions=[o.direction for o in OBJECTIVES],
        sampler=optuna.samplers.TPESampler(seed=0, multivariate=True),
    )
    box: dict[str, optuna.distributions.BaseDistribution] = {
        c.name: optuna.distributions.IntDistribution(1, len(c.values), log=c.log)
        if c.ordered
        else optuna.distributions.CategoricalDistribution(c.values)
        for c in space
    }
    for trial in trials:
        study.add_trial(
            optuna.trial.create_trial(
                params={
                    c.name: c.values.index(trial.configuration[c.name]) + 1
                    if c.ordered
                    else trial.configuration[c.name]
                    for c in space
                },
                distributions=box,
                values=[trial.value(o.metric) for o in OBJECTIVES],
            )
        )
    found: list[float] = []
    for _ in range(1 + ASKS):
        start = time.process_time()
        study.ask(box)
        found.append(time.process_time() - start)
    return found


def main() -> None:
    """Print a row for every size and history."""
    parser = argparse.ArgumentParser(description="What an ask costs")
    parser.add_argument("--candidates", type=int, nargs="+", default=[10_000, 30_000, 100_000])
    parser.add_argument("--trials", type=int, nargs="+", default=[50, 200, 1000])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    rows: list[dict[str, float]] = []
    print("candidates  trials   ours (first)  TPE, CPU s an ask")
    for count in options.candidates:
        space = choices(count)
        for trials in options.trials:
            listed, told = history(space, trials)
            own, other = ours(space, listed, list(told)), theirs(space, told)
            row = {
                "candidates": len(listed),
                "trials": trials,
                "ours": statistics.median(own[1:]),
                "first": own[0],
                "tpe": statistics.median(other[1:]),
            }
            rows.append(row)
            print(
                f"{row['candidates']:10} {row['trials']:7} {row['ours']:6.3f} ({row['first']:.3f}) "
                f"{row['tpe']:8.3f}",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
