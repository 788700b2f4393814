"""Unlike pairs and tails of benchmarks/trust.py: other threads, replicas, the 99 % percentile."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tunefront.evaluators import (
    EvaluationSettings,
    Isolation,
    Protocol,
    Target,
    builtin_catalog,
    ratio_interval,
    take_turns,
    target_of,
)
from tunefront.evaluators.benchmark.target import TargetResult
from tunefront.evaluators.evaluation.protocol import enough
from tunefront.evaluators.pipelines.inference import play_round
from tunefront.evaluators.statistics.timing import Timing

TWO = min(2, len(os.sched_getaffinity(0)))
UNLIKE: Mapping[str, tuple[Mapping[str, int], Mapping[str, int]]] = {
    "2 threads beside 1": ({"threads": 1}, {"threads": TWO}),
    "1 thread beside 2": ({"threads": TWO}, {"threads": 1}),
    "2 replicas beside 1": ({"threads": 1}, {"threads": 1, "replicas": TWO}),
}
"""Settings of the base, and of what is compared with it."""
TRUTH_ROUNDS, TRUTH_S = 5, 15.0
ROUND_S, ROUND_PRECISION = 4.0, 0.017
CLOSE = 0.03
"""Largest relative error of a claimed speed-up."""
PERCENTILE = 0.99
TAIL = "latency_p99_ms"
Ratio = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairLaboratory:
    """Measures one model at several settings of the execution stage.

    Attributes:
        settings: Evaluation settings of the model.
        isolation: Starts the processes.
        log: File for their output.
    """

    settings: EvaluationSettings
    isolation: Isolation
    log: Path

    def target(self, choices: Mapping[str, int]) -> Target:
        """The built model with these settings."""
        configuration = builtin_catalog().complete({"runtime": "onnxruntime", **choices})
        return target_of(self.settings, configuration, self.isolation, self.log)

    def speedup(self, kind: str, rounds: int, seconds: float, precision: float) -> Ratio:
        """A pair's speed-up with its interval, from rounds of fresh processes."""
        pair = [self.target(choices) for choices in UNLIKE[kind]]
        seen: list[npt.NDArray[np.float64]] = []
        for _ in range(rounds):
            first, second = play_round(
                self.settings, pair, self.isolation, self.log, seconds, precision
            )
            if first is None or second is None:
                raise RuntimeError(f"a candidate failed; see {self.log}")
            seen.append(np.array(second.ratios_to(first)))
        return ratio_interval(seen)

    def truths(self) -> dict[str, float]:
        """The speed-ups of all pairs, by long measurements on the quiet machine."""
        return {kind: self.speedup(kind, TRUTH_ROUNDS, TRUTH_S, 0.0)[0] for kind in UNLIKE}

    def claims(self, count: int) -> dict[str, list[Ratio]]:
        """`count` claimed speed-ups of each pair, as a confirmation finds them."""
        found: dict[str, list[Ratio]] = {kind: [] for kind in UNLIKE}
        for number in range(count):
            for kind in UNLIKE:
                found[kind].append(self.speedup(kind, 3, ROUND_S, ROUND_PRECISION))
            print(f"\r  {number + 1} of {count}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        return found

    def tails(self, runs: int) -> dict[str, float]:
        """How often the interval of a p99 holds that of all runs together."""
        protocol = Protocol(seconds=3.0, requests=16, part_items=23, percentile=PERCENTILE)
        settings = replace(self.settings, protocol=protocol)
        isolation, log = self.isolation, self.log
        one = target_of(settings, self.target({"threads": 1}).configuration, isolation, log)
        seen: list[TargetResult] = []
        for number in range(runs):
            run = take_turns(
                settings,
                [one],
                isolation,
                log,
                lambda timings, elapsed_s: enough(timings[0], elapsed_s, protocol),
            )
            (found,) = run.target_results
            if not isinstance(found, TargetResult):
                raise found
            seen.append(found)
            print(f"\r  {number + 1} of {runs}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        truth = float(np.quantile(np.concatenate([_times(one.timing) for one in seen]), PERCENTILE))
        intervals = [one.measurements[TAIL] for one in seen]
        return {
            "coverage": float(np.mean([i.low <= truth <= i.high for i in intervals])),
            "width": float(np.median([i.high / i.low for i in intervals])),
        }


def _times(timing: Timing) -> npt.NDArray[np.float64]:
    """Milliseconds of all requests of the included turns."""
    return np.concatenate(timing.request_times) * 1e3


def judged(truth: float, claims: Sequence[Ratio]) -> dict[str, float]:
    """The errors of the claims, and how often their intervals miss the truth."""
    errors = np.array([abs(value / truth - 1) for value, _, _ in claims])
    missed = [not low * (1 - 0.01) <= truth <= high * (1 + 0.01) for _, low, high in claims]
    return {
        "median_error": float(np.median(errors)),
        "within_3_percent": float((errors <= CLOSE).mean()),
        "wrong": float(np.mean(missed)),
        "half_width": float(np.median([high / value - 1 for value, _, high in claims])),
    }
