"""Time to the front: our sampler over what is built already, and Ray Tune's way, in one replay.

    python benchmarks/staged.py TABLE.json [--seeds 10] [--json FILE]

The table is an exhaustive, measured search (`python benchmarks/staged.py --from EXPERIMENT` makes
one of a record): every configuration with its figures and what its build, quality and measuring
took. Ours pays for a candidate once, as the store does. Theirs is what `ray.tune` with
`OptunaSearch(TPESampler)` does: choices as a box, every trial evaluated whole, repetitions
and combinations that can't run included (the latter for nothing, to be generous, and told as the
baseline's figures far beyond the limit). Both keep the same limit; what counts is the share of the
exhaustive front's hypervolume against seconds.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import optuna

from tunefront.evaluators import Evaluation, Measurement
from tunefront.search import Trial, load_experiment, recorded_result
from tunefront.search.experiment.experiment import Experiment
from tunefront.search.front.pareto import hypervolume, nondominated
from tunefront.search.run.sampler_factory import build_sampler
from tunefront.search.study.trial import candidate_of
from tunefront.spaces import Configuration, Value

Floats = npt.NDArray[np.float64]
SHARE = 0.95
CANT_RUN = 100.0
"""By how much what can't run breaks each limit, as the other side is told: told as failed, TPE
learns nothing of it and asks for the same again, for ever."""
STEPS = ("prepare", "build", "quality", "measure")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One configuration of the table.

    Attributes:
        configuration: The choices.
        figures: What was measured; empty where it failed.
        seconds: By step, as if nothing had been there.
        kept: Whether it keeps the limits.
    """

    configuration: Configuration
    figures: Mapping[str, float]
    seconds: Mapping[str, float]
    kept: bool


@dataclass(frozen=True, kw_only=True)
class Spent:
    """A replayed trial: which row (none where it can't run), and its seconds."""

    row: int | None
    seconds: float


def read_rows(fields: Mapping[str, Any]) -> list[Row]:
    """The table's rows."""
    return [
        Row(
            configuration=Configuration(row["configuration"]),
            figures=row["figures"],
            seconds=row["seconds"],
            kept=row["kept"],
        )
        for row in fields["rows"]
    ]


def table_of(experiment: Experiment) -> dict[str, Any]:
    """A table from a recorded search: steps that were reused cost what they cost when made."""
    trials = [t for t in recorded_result(experiment).trials if t.evaluation is not None]
    made: dict[Configuration, dict[str, float]] = {}
    for trial in trials:
        assert trial.evaluation is not None
        own = made.setdefault(candidate_of(trial.configuration), {})
        for step, name in (("build", "candidate"), ("quality", "quality")):
            if name not in trial.evaluation.reused and step in trial.evaluation.seconds:
                own[step] = trial.evaluation.seconds[step]
    rows = []
    for trial in trials:
        assert trial.evaluation is not None
        seconds = {step: trial.evaluation.seconds.get(step, 0.0) for step in STEPS}
        rows.append(
            {
                "configuration": dict(trial.configuration),
                "figures": {name: m.value for name, m in trial.measurements.items()},
                "seconds": {**seconds, **made[candidate_of(trial.configuration)]},
                "kept": trial.status == "ok",
            }
        )
    return {"experiment": dict(experiment.written), "rows": rows}


class Replay:
    """One table, replayed by several samplers."""

    def __init__(self, experiment: Experiment, rows: Sequence[Row]) -> None:
        self.experiment = experiment
        self.rows = rows
        self.place = {row.configuration: number for number, row in enumerate(rows)}
        costs = np.array(
            [
                [o.sign * row.figures.get(o.metric, np.nan) for o in experiment.objectives]
                for row in rows
            ]
        )
        counted = np.array([row.kept for row in rows])
        front = costs[counted][nondominated(costs[counted])]
        low, high = front.min(axis=0), front.max(axis=0)
        self.costs: Floats = (costs - low) / np.where(high > low, high - low, 1.0)
        self.reference = np.full(costs.shape[1], 1.1)
        self.whole = hypervolume(self.costs[counted], self.reference)
        self.baseline = rows[self.place[experiment.baseline]]
        self.base = self.baseline.figures[experiment.primary.name]

    def share(self, tried: Sequence[int]) -> float:
        """Of the exhaustive hypervolume."""
        kept = [row for row in dict.fromkeys(tried) if self.rows[row].kept]
        return hypervolume(self.costs[kept], self.reference) / self.whole if kept else 0.0

    def time_to(self, trials: Iterator[Spent]) -> tuple[float, int]:
        """Seconds and trials to the share; infinite where it is never reached."""
        spent, tried = 0.0, []
        for count, trial in enumerate(trials, start=1):
            spent += trial.seconds
            if trial.row is not None:
                tried.append(trial.row)
                if self.share(tried) >= SHARE:
                    return spent, count
        return float("inf"), 0

    def ours(self, seed: int) -> Iterator[Spent]:
        """The house's sampler; a candidate is paid for once."""
        experiment = replace(self.experiment, sampler="ehvi", seed=seed)
        sampler = build_sampler(experiment, [row.configuration for row in self.rows])
        trials: list[Trial] = []
        built: set[Configuration] = set()
        while len(trials) < len(self.rows):
            proposed = experiment.baseline
            if trials:
                proposal = sampler.propose(trials)
                if proposal is None:
                    return
                proposed = proposal.configuration
            row = self.rows[self.place[proposed]]
            candidate = candidate_of(proposed)
            reused = candidate in built
            built.add(candidate)
            steps = ("prepare", "measure") if reused else STEPS
            seconds = sum(row.seconds[step] for step in steps)
            trials.append(_trial(len(trials), row, seconds, reused=reused))
            yield Spent(row=self.place[proposed], seconds=seconds)

    def theirs(self, seed: int) -> Iterator[Spent]:
        """Optuna's TPE over the box, as `OptunaSearch` asks it, every trial evaluated whole."""
        experiment = self.experiment
        study = optuna.create_study(
            directions=[objective.direction for objective in experiment.objectives],
            sampler=optuna.samplers.TPESampler(seed=seed),
        )
        study.enqueue_trial(dict(experiment.baseline))
        for _ in range(10 * len(self.rows)):
            asked = study.ask()
            values = {
                choice.name: cast(Value, asked.suggest_categorical(choice.name, choice.values))
                for choice in experiment.space.choices
            }
            row = self.place.get(experiment.space.member(values))
            ran = row is not None and bool(self.rows[row].figures)
            found = self.rows[row] if row is not None and ran else self.baseline
            for limit in experiment.limits:
                violation = limit.violation(found.figures[limit.metric]) if ran else CANT_RUN
                asked.set_constraint(str(limit), violation)
            study.tell(asked, [found.figures[o.metric] for o in experiment.objectives])
            yield Spent(row=row, seconds=sum(found.seconds.values()) if ran else 0.0)


def _trial(number: int, row: Row, seconds: float, *, reused: bool) -> Trial:
    measurements = {name: Measurement.exact(value, "") for name, value in row.figures.items()}
    status = "ok" if row.kept else ("infeasible" if row.figures else "failed")
    return Trial(
        number=number,
        configuration=row.configuration,
        status=status,  # type: ignore[arg-type]
        measurements=measurements,
        evaluation=Evaluation(
            status="ok" if row.figures else "failed",
            seconds={"total": seconds},
            reused=("candidate",) if reused else (),
        ),
    )


def compared(replay: Replay, seeds: int) -> dict[str, Any]:
    """Seconds and trials to the share, by side and seed."""
    sides: dict[str, Callable[[int], Iterator[Spent]]] = {
        "ours": replay.ours,
        "theirs": replay.theirs,
    }
    found: dict[str, Any] = {}
    for name, side in sides.items():
        runs = [replay.time_to(side(seed)) for seed in range(seeds)]
        found[name] = {"seconds": [s for s, _ in runs], "trials": [n for _, n in runs]}
        print(f"  {name} done", file=sys.stderr)
    return found


def main() -> None:
    """Make a table, or replay one."""
    parser = argparse.ArgumentParser(description="Time to 95 % of the front")
    parser.add_argument("table", type=Path)
    parser.add_argument("--from", dest="source", type=Path, help="a recorded experiment")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if options.source:
        options.table.write_text(json.dumps(table_of(load_experiment(options.source)), indent=1))
        return
    fields = json.loads(options.table.read_text())
    experiment = load_experiment(options.table.parent)
    found = compared(Replay(experiment, read_rows(fields)), options.seeds)
    for name, side in found.items():
        seconds, trials = side["seconds"], side["trials"]
        print(
            f"{name:7} {statistics.median(seconds):8.0f} s ({min(seconds):.0f} to "
            f"{max(seconds):.0f}), {statistics.median(trials):.0f} trials"
        )
    ratio = statistics.median(found["theirs"]["seconds"]) / statistics.median(
        found["ours"]["seconds"]
    )
    print(f"theirs take {ratio:.1f} times as long to {SHARE:.0%} of the exhaustive front")
    if options.json:
        options.json.write_text(json.dumps({**found, "ratio": ratio}, indent=2) + "\n")


if __name__ == "__main__":
    main()
