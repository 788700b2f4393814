"""Unlike pairs and tails of benchmarks/trust.py: other threads, replicas, the 99 % percentile."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tunefront.evaluators import (
    EvaluationSettings,
    Isolation,
    Measurement,
    Protocol,
    Target,
    builtin_catalog,
    measured_metrics,
    ratio_interval,
    take_turns,
    target_of,
)
from tunefront.evaluators.benchmark.target import TargetResult
from tunefront.evaluators.evaluation.protocol import enough
from tunefront.evaluators.pipelines.inference import play_round, round_result_of
from tunefront.search.study.derived_metrics import BETWEEN_PROCESSES, steadied, with_deviation

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
TAIL, RATE = "latency_p99_ms", "throughput"
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
        for _ in progress(count):
            for kind in UNLIKE:
                found[kind].append(self.speedup(kind, 3, ROUND_S, ROUND_PRECISION))
        return found

    def tails(self, runs: int) -> dict[str, float]:
        """How often the interval of a p99 holds that of all runs together.

        Each run is a trial: measured beside the baseline, and converted to the machine's speed in
        the first run, as in a search. `raw` is the coverage of the intervals of one process alone,
        unconverted.
        """
        seen = [self._tail() for _ in progress(runs)]
        level = seen[0].base_rate
        metrics = [measured_metrics()[name] for name in (RATE, TAIL)]
        found: list[Measurement] = []
        times: list[npt.NDArray[np.float64]] = []
        for one in seen:
            relative = with_deviation(one.relative, BETWEEN_PROCESSES)
            found.append(steadied(one.measurements, metrics, relative, level)[TAIL])
            times.append(one.times_ms * found[-1].value / one.measurements[TAIL].value)
        truth = float(np.quantile(np.concatenate(times), PERCENTILE))
        plain = float(np.quantile(np.concatenate([one.times_ms for one in seen]), PERCENTILE))
        raw = [one.measurements[TAIL] for one in seen]
        return {
            "coverage": float(np.mean([i.low <= truth <= i.high for i in found])),
            "width": float(np.median([i.high / i.low for i in found])),
            "raw": float(np.mean([i.low <= plain <= i.high for i in raw])),
            "raw_width": float(np.median([i.high / i.low for i in raw])),
        }

    def _tail(self) -> "_Tail":
        """Measure a candidate beside an equal one, the baseline, as a trial."""
        protocol = Protocol(seconds=3.0, requests=16, part_items=23, percentiles={"": PERCENTILE})
        settings = replace(self.settings, protocol=protocol)
        isolation, log = self.isolation, self.log
        one = target_of(settings, self.target({"threads": 1}).configuration, isolation, log)
        run = take_turns(
            settings,
            [one, one],
            isolation,
            log,
            lambda timings, elapsed_s: enough(timings[0], elapsed_s, protocol, timings[1]),
        )
        results = []
        for found in run.target_results:
            if not isinstance(found, TargetResult):
                raise found
            results.append(found)
        own, base = results
        own_round, base_round = round_result_of(own), round_result_of(base)
        assert own_round is not None and base_round is not None
        ratios = np.array(own_round.ratios_to(base_round))
        value, low, high = ratio_interval([ratios])
        return _Tail(
            measurements=own.measurements,
            times_ms=np.concatenate(own.timing.request_times) * 1e3,
            base_rate=base.measurements[RATE].value,
            relative=Measurement(value=value, unit="x", low=low, high=high, samples=len(ratios)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tail:
    """One run of a candidate beside an equal one.

    Attributes:
        measurements: Its measurements.
        times_ms: Milliseconds of all requests of the included turns.
        base_rate: Items per second of the other one.
        relative: The ratio of their speeds.
    """

    measurements: Mapping[str, Measurement]
    times_ms: npt.NDArray[np.float64]
    base_rate: float
    relative: Measurement


def progress(count: int) -> Iterator[int]:
    """Yield the numbers below `count`, and print how many are done."""
    for number in range(count):
        yield number
        print(f"\r  {number + 1} of {count}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


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
