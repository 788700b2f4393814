"""Whether the numbers can be trusted, on a machine that others keep busy now and then.

    python benchmarks/trust.py [--comparisons 40] [--runs 4] [--pairs 10] [--json OUT] [--quiet]
                              [--only-tails]

Models of known depth (their work, so their time, is known), a load that comes and goes on random
cores, and two protocols under that load in one run:

* ours: a round of confirmation as `tunefront run` does it, three times, each in fresh processes;
* plain: what the field's tools do: ten warm-ups, twenty repeats, their mean, one process.

Asked of both: whether two identical candidates are called equal, whether a difference of 5 % is
found, whether four runs rank nine configurations alike, and by how much the winner's speed-up
flatters. Candidates of other threads and replicas are compared with their speed-ups on the quiet
machine, and the intervals of the 99 % percentile with that of all runs. The last part replays the
early end of judging quality over real candidates' items.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy import stats
from trust_pairs import PairLaboratory, judged, progress

from tunefront.evaluators import (
    EvaluationSettings,
    Isolation,
    Protocol,
    Target,
    WorkloadSpec,
    builtin_catalog,
    describe_workload,
    evaluate,
    paired_change,
    ratio_interval,
    target_of,
)
from tunefront.evaluators.isolation.cores import lease_cores
from tunefront.evaluators.isolation.preload import open_imports
from tunefront.evaluators.isolation.task import Task
from tunefront.evaluators.pipelines.inference import play_round
from tunefront.evaluators.statistics.paired_quality import QualityLimit
from tunefront.evaluators.workloads.sequential import LOOKS, evaluate_items
from tunefront.search.experiment.resolver import load_experiment
from tunefront.search.front.pareto import SMALLEST_DIFFERENCE
from tunefront.search.run.confirm import CONFIRMED_PRECISION, LEAST_TURNS
from tunefront.search.run.preflight import check_workload, prepare
from tunefront.spaces import Value

HERE = Path(__file__).parent
ROUNDS = 3
SECONDS_EACH = 2.0
"""Of a round, for each of its contenders; two thirds of what 15 % of 60 trials of 10 s come to for
ten of them."""
BASE = 40
SLOWER = 42
"""Blocks of a model that has 5 % more to do."""
DEPTHS = (20, 22, 24, 26, 28, 30, 33, 36, 39)
"""Nine configurations, 7 to 10 % apart."""
CLONES = 5
"""Equal candidates of which one wins by luck."""
LOAD_S = 5400.0
JUDGED: tuple[dict[str, Value], ...] = (
    {"runtime": "openvino", "quantization_bits": 8, "quantization_method": "static"},
    {"runtime": "onnxruntime", "quantization_bits": 8, "quantization_method": "dynamic"},
    {"runtime": "openvino", "pruning_ratio": 0.25},
    {"runtime": "openvino", "pruning_ratio": 0.9},
    {"runtime": "openvino", "pruning_ratio": 0.5, "pruning_method": "magnitude"},
    {"runtime": "openvino", "pruning_ratio": 0.7, "pruning_method": "magnitude"},
)
"""Candidates of experiments/minilm, from harmless to broken."""
LIMITS = (0.002, 0.005, 0.01, 0.02, 0.05)
"""Drops of quality that they are judged against, as shares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A ratio of speeds with its interval."""

    value: float
    low: float
    high: float

    @property
    def equal(self) -> bool:
        """Whether the two are called equal."""
        return self.low <= 1 <= self.high or abs(self.value - 1) < SMALLEST_DIFFERENCE

    @property
    def slower(self) -> bool:
        """Whether it is called slower than what it is compared with."""
        return not self.equal and self.value < 1


class Laboratory:
    """Candidates of known depth, and both protocols."""

    def __init__(self, folder: Path) -> None:
        os.environ["PYTHONPATH"] = str(HERE)  # for the fork servers: trust_parts
        self.isolation = Isolation()
        self.folder = folder
        self.log = folder / "log"
        self._settings: dict[int, EvaluationSettings] = {}

    def settings(self, depth: int) -> EvaluationSettings:
        """The workload of that depth."""
        if depth not in self._settings:
            spec = WorkloadSpec(
                task="custom",
                model=f"trust_parts:depth_{depth}",
                inputs="trust_parts:inputs",
                quality="trust_parts:quality",
                folder=str(HERE),
            )
            described = describe_workload(spec, self.isolation, self.log)
            self._settings[depth] = EvaluationSettings(
                workload=spec,
                fingerprint=described.fingerprint + str(depth),
                store=str(self.folder / "store"),
                protocol=Protocol(turns=LEAST_TURNS),
                build_cores=1,
            )
        return self._settings[depth]

    def candidate(self, depth: int, threads: int) -> Target:
        """A built model of that depth."""
        configuration = builtin_catalog().complete({"runtime": "onnxruntime", "threads": threads})
        return target_of(self.settings(depth), configuration, self.isolation, self.log)

    def ours(self, targets: Sequence[Target]) -> list[Verdict]:
        """The speed of each over the first's, as a confirmation finds it."""
        settings = self.settings(BASE)
        rounds: list[list[np.ndarray]] = [[] for _ in targets]
        for _ in range(ROUNDS):
            found = play_round(
                settings,
                targets,
                self.isolation,
                self.log,
                SECONDS_EACH * len(targets),
                CONFIRMED_PRECISION * ROUNDS**0.5,
            )
            base = found[0]
            for place, target_result in enumerate(found):
                if target_result is None or base is None:
                    raise RuntimeError(f"candidate {place} failed; see {self.log}")
                rounds[place].append(np.array(target_result.ratios_to(base)))
        return [Verdict(value=v, low=lo, high=hi) for v, lo, hi in map(ratio_interval, rounds)]

    def plain(self, one: Target) -> np.ndarray:
        """Milliseconds of twenty requests, one process, the plain way."""
        with lease_cores(one.cores):
            task = Task(
                function="trust_parts:plain",
                request={
                    "candidate": str(one.candidate),
                    "requests": str(one.requests),
                    "threads": one.cores,
                },
                result=dict,
                imports=open_imports(builtin_catalog(), "onnxruntime"),
                log=self.log,
                timeout_s=120.0,
            )
            return np.array(self.isolation.run(task)["ms"])


def plain_verdict(own: np.ndarray, base: np.ndarray) -> Verdict:
    """The ratio of the means, with Welch's interval of their difference over the base's mean."""
    interval = stats.ttest_ind(base, own, equal_var=False).confidence_interval(0.95)
    level = base.mean()
    value = level / own.mean()
    low, high = (level / (level - end) for end in (interval.low, interval.high))
    return Verdict(value=float(value), low=float(min(low, value)), high=float(max(high, value)))


@contextmanager
def load(wanted: bool, seed: int) -> Iterator[None]:
    """Other people's work, for as long as this lasts."""
    if not wanted:
        yield
        return
    command = [sys.executable, str(HERE / "trust_parts.py"), str(LOAD_S), str(seed)]
    process = subprocess.Popen(command)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def compare(laboratory: Laboratory, depth: int, count: int) -> dict[str, list[Verdict]]:
    """`count` comparisons of a model of that depth with the base, half of them on two threads."""
    found: dict[str, list[Verdict]] = {"ours": [], "plain": []}
    for number in progress(count):
        threads = 1 if number % 2 == 0 else min(2, len(os.sched_getaffinity(0)))
        base, other = laboratory.candidate(BASE, threads), laboratory.candidate(depth, threads)
        found["ours"].append(laboratory.ours([base, other])[1])
        times = [laboratory.plain(one) for one in (base, other)]
        found["plain"].append(plain_verdict(times[1], times[0]))
    return found


def rate(hits: Sequence[bool]) -> dict[str, float]:
    """A share with its 95 % interval (Clopper and Pearson's)."""
    ends = stats.binomtest(sum(hits), len(hits)).proportion_ci(0.95)
    return {"share": sum(hits) / len(hits), "low": float(ends.low), "high": float(ends.high)}


def ranking(laboratory: Laboratory, runs: int) -> dict[str, object]:
    """Nine configurations ranked several times: how alike the rankings are, for both protocols."""
    orders: dict[str, list[list[float]]] = {"ours": [], "plain": []}
    for _ in progress(runs):
        candidates = [laboratory.candidate(depth, 1) for depth in DEPTHS]
        orders["ours"].append([verdict.value for verdict in laboratory.ours(candidates)])
        orders["plain"].append([1 / laboratory.plain(one).mean() for one in candidates])
    return {side: _alike(seen) for side, seen in orders.items()}


def _alike(seen: Sequence[Sequence[float]]) -> dict[str, float]:
    """Spearman's correlation between the runs, and with the truth (the deeper, the slower)."""
    pairs = [float(stats.spearmanr(a, b).statistic) for a, b in combinations(seen, 2)]
    truth = [float(stats.spearmanr(a, [-d for d in DEPTHS]).statistic) for a in seen]
    return {"mean": float(np.mean(pairs)), "worst": min(pairs), "with_truth": float(np.mean(truth))}


def winners(
    laboratory: Laboratory, runs: int, truth: float, threads: int = 1
) -> dict[str, dict[str, float]]:
    """How far the winner's reported speed-up is from the truth, for both protocols."""
    errors: dict[str, list[float]] = {"ours": [], "plain": []}
    base = laboratory.candidate(SLOWER, threads)
    clones = [laboratory.candidate(DEPTHS[-1], threads)] * CLONES
    for _ in progress(runs):
        verdicts = laboratory.ours([base, *clones])[1:]
        errors["ours"].append(max(v.value for v in verdicts) / truth - 1)
        level = laboratory.plain(base).mean()
        best = min(laboratory.plain(clone).mean() for clone in clones)
        errors["plain"].append(level / best / truth - 1)
    return {
        side: {
            "median_error": float(np.median(np.abs(seen))),
            "worst_error": float(np.max(np.abs(seen))),
        }
        for side, seen in errors.items()
    }


def true_speedup(laboratory: Laboratory, rounds: int = 3) -> float:
    """The winner's speed-up by an independent long measurement on the quiet machine."""
    pair = [laboratory.candidate(SLOWER, 1), laboratory.candidate(DEPTHS[-1], 1)]
    seen: list[np.ndarray] = []
    for _ in range(rounds):
        first, second = play_round(
            replace(laboratory.settings(BASE), protocol=Protocol(turns=40)),
            pair,
            laboratory.isolation,
            laboratory.log,
            30.0,
            0.0,
        )
        if first is None or second is None:
            raise RuntimeError(f"a candidate failed; see {laboratory.log}")
        seen.append(np.array(second.ratios_to(first)))
    return ratio_interval(seen)[0]


def early_end(folder: Path, orders: int = 300) -> dict[str, dict[str, float]]:
    """What ending judging early saves and costs, over real candidates in random orders.

    Every candidate of MiniLM is judged on all items once; then the items are replayed in many
    orders against every limit. A candidate breaks a limit clearly where its drop over all items
    lies beyond it by two half-widths of its interval; a decision is wrong where all items together
    say otherwise.
    """
    experiment = load_experiment(HERE.parent / "experiments" / "minilm")
    prepare(experiment.prepare, lambda line: None)
    settings, _ = check_workload(experiment, lambda line: None)
    quick = Protocol(seconds=0.2, turns=3, requests=1, wait_s=0.0, reference=False)
    settings = replace(settings, protocol=quick, quality_limit=None, store=str(folder / "quality"))
    isolation = Isolation()
    judged: list[np.ndarray] = []
    for choices in ({}, *JUDGED):
        configuration = builtin_catalog().complete({**experiment.baseline, **choices})
        found = evaluate(settings, configuration, isolation, folder / "log")
        judged.append(np.array(found.items))
        print(f"\r  {len(judged)} of {len(JUDGED) + 1}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    isolation.close()
    clear: list[float] = []
    wrong: list[bool] = []
    draw = np.random.default_rng(0)
    for own in judged[1:]:
        change, _, high = paired_change(own, judged[0], "linear")
        print(f"  drop {-change:.1%}", file=sys.stderr)
        for bound in LIMITS:
            for _ in range(orders):
                share, ended = _replayed(own, judged[0], bound, draw.permutation(own.shape[1]))
                if -change - bound >= 2 * (high - change):
                    clear.append(1 - share)
                wrong.append(ended and -change <= bound)
    saved = {"saved_on_clear_breakers": float(np.mean(clear)), "wrong": float(np.mean(wrong))}
    return {"ours": saved, "plain": {"saved_on_clear_breakers": 0.0, "wrong": 0.0}}


def _replayed(
    own: np.ndarray, base: np.ndarray, bound: float, order: np.ndarray
) -> tuple[float, bool]:
    """The share of the items that were judged, in this order, and whether it ended early."""
    shuffled = own[:, order]
    limit = QualityLimit(
        base=base[:, order],
        scale="linear",
        direction="maximize",
        bound=bound,
        keeping_counts=False,
        interim_tests=len(LOOKS),
    )
    _, weights = evaluate_items(
        own.shape[1], lambda places: (shuffled[0, places], shuffled[1, places]), limit.decided
    )
    share = float((weights > 0).mean())
    return share, share < 1


def report(found: dict[str, object]) -> None:
    """A table with both sides side by side."""
    print(f"{'':44}{'ours':>22}{'plain':>22}")
    for name, sides in found.items():
        assert isinstance(sides, dict)
        for figure in sides["ours"]:
            cells = "".join(f"{sides[side][figure]:>22.3f}" for side in ("ours", "plain"))
            print(f"{name + ': ' + figure:44}{cells}")


def main() -> None:
    """Run everything, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description="Can the numbers be trusted?")
    parser.add_argument("--comparisons", type=int, default=40)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quiet", action="store_true", help="without the load")
    parser.add_argument("--only-tails", action="store_true", help="only the percentiles")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tunefront-trust-") as folder:
        laboratory = Laboratory(Path(folder))
        pairs = PairLaboratory(
            settings=laboratory.settings(BASE), isolation=laboratory.isolation, log=laboratory.log
        )
        if options.only_tails:
            print_figures("p99", pairs.tails(2 * options.pairs))
            laboratory.isolation.close()
            return
        for depth in {BASE, SLOWER, *DEPTHS}:
            laboratory.candidate(depth, 1)
        print("the truth about the winner", file=sys.stderr)
        truth = true_speedup(laboratory)
        print("the truth about unlike pairs, and tails", file=sys.stderr)
        truths, tails = pairs.truths(), pairs.tails(2 * options.pairs)
        with load(not options.quiet, options.seed):
            print("A/A: identical candidates", file=sys.stderr)
            same = compare(laboratory, BASE, options.comparisons)
            print("A/B: 5 % more work", file=sys.stderr)
            other = compare(laboratory, SLOWER, options.comparisons)
            print("ranking of nine", file=sys.stderr)
            ranked = ranking(laboratory, options.runs)
            print("winner's curse", file=sys.stderr)
            cursed = winners(laboratory, 2 * options.runs, truth)
            print("unlike pairs", file=sys.stderr)
            claims = pairs.claims(options.pairs)
        laboratory.isolation.close()
        print("early end of judging quality", file=sys.stderr)
        ended = early_end(Path(folder))
    found: dict[str, object] = {
        "A/A called equal": {s: rate([v.equal for v in same[s]]) for s in same},
        "A/B of 5 % found": {s: rate([v.slower for v in other[s]]) for s in other},
        "A/B ratio, true 0.952": {s: _spread([v.value for v in other[s]]) for s in other},
        "ranking, Spearman": ranked,
        "winner's curse": cursed,
        "early end": ended,
    }
    report(found)
    unlike = {
        kind: {"truth": truths[kind], **judged(truths[kind], claims[kind])} for kind in claims
    }
    for kind, figures in {**unlike, "p99": tails}.items():
        print_figures(kind, figures)
    minutes = (time.monotonic() - start) / 60
    print(f"{minutes:.1f} min; true speed-up of the winner {truth:.3f}")
    if options.json is not None:
        record = {
            "minutes": minutes,
            "true_speedup": truth,
            **found,
            "unlike": unlike,
            "p99": tails,
        }
        options.json.write_text(json.dumps(record, indent=1) + "\n")


def print_figures(kind: str, figures: Mapping[str, float]) -> None:
    """Print figures by name in one line."""
    print(f"{kind}: " + ", ".join(f"{name} {value:.3f}" for name, value in figures.items()))


def _spread(values: Sequence[float]) -> dict[str, float]:
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
    return {"p05": float(low), "median": float(middle), "p95": float(high)}


if __name__ == "__main__":
    main()
