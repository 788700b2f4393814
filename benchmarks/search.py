"""How soon samplers find the front of a measured table: ours and Optuna's, in one run.

    python benchmarks/search.py --tables DIR [--samplers NAME ...] [--seeds N] [--json OUT]
                                [--outstanding 4] [--noise 0.05] [--failing 0.2]
                                [--least-gain 0.003] [--hidden-failures] [--seed-noise]
                                [--only TABLE ...]

DIR holds a CSV a table and tables.json, which names each table's choices with their values and its
objectives with their direction ("min" or "max"). The score after n trials is the hypervolume of
what was tried over that of the whole table; wide-ranging figures count as logarithms, the
exhaustive front's range as 0 to 1, the reference is 1.1. Optuna's samplers don't know the list of
rows: what they propose is taken as the nearest row that was not tried ("no repeats").

With --hidden-failures, the rows of NAME_failed.csv belong to the table and fail. With --seed-noise,
the figures that a sampler gets are multiplied by what one of the seeds in NAME_seeds.csv took, as a
share of their mean: the columns before `seed` select the seeds of a row, the last one is the value.

Of our sampler, it prints also how often a row's figures lie within the 90 % interval expected of
them, and, with --least-gain, after how many trials that budget would end the search and at what
share.
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
from tables import Floats, Table, read_table

from tunefront.evaluators import Measurement
from tunefront.search.front.pareto import hypervolume, nondominated
from tunefront.search.run.stopping import PATIENCE
from tunefront.search.sampling.base import Proposal
from tunefront.search.sampling.ehvi import EhviSampler
from tunefront.search.sampling.history.observations import (
    NOTHING_EARLIER,
    EarlierSearches,
)
from tunefront.search.study.trial import Trial
from tunefront.spaces import Catalog, Choice

AT = (5, 10, 20, 40, 80, 160)
SHARES = (0.9, 0.95, 0.99)
OPTUNA: Mapping[str, Callable[[int], optuna.samplers.BaseSampler]] = {
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    "nsga2": lambda seed: optuna.samplers.NSGAIISampler(seed=seed),
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "tpe-multivariate": lambda seed: optuna.samplers.TPESampler(
        seed=seed, multivariate=True, group=True
    ),
    "gp": lambda seed: optuna.samplers.GPSampler(seed=seed),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What makes it harder than reading a table.

    Attributes:
        outstanding: Asks that are not told yet at any time.
        noise: Relative deviation of every figure that is told.
        failing: Share of the rows that fail, by a rule that no sampler is told.
    """

    outstanding: int = 1
    noise: float = 0.0
    failing: float = 0.0


class History:
    """What a sampler may know: rows in the order they were asked for, and what was told of them.

    Attributes:
        asked: Rows.
        told: Their figures by their place in `asked`; None where they failed.
        noise: Relative deviation of the figures.
    """

    def __init__(self, noise: float) -> None:
        self.asked: list[int] = []
        self.told: dict[int, Floats | None] = {}
        self.noise = noise


Ask = Callable[[History], int]
"""From what is known to the next row."""


class Ours:
    """Our sampler over the rows of a table; the first row is random, as a baseline would be.

    Attributes:
        proposals: The proposals, by the place of their trial.
    """

    def __init__(self, table: Table, seed: int, earlier: EarlierSearches = NOTHING_EARLIER) -> None:
        self.proposals: dict[int, Proposal] = {}
        self._table = table
        self._sampler = EhviSampler(table.choices, table.rows, table.objectives, (), seed, earlier)
        self._row_of = {row: place for place, row in enumerate(table.rows)}
        self._first = int(np.random.default_rng(seed).integers(len(table.rows)))
        self._trials: list[Trial] = []

    def __call__(self, history: History) -> int:
        """Return the next row."""
        if not history.asked:
            return self._first
        for number, row in enumerate(history.asked):
            if number == len(self._trials) or self._trials[number].status == "running":
                self._trials[number : number + 1] = [_trial(self._table, number, row, history)]
        proposed = self._sampler.propose(self._trials)
        assert proposed is not None
        self.proposals[len(history.asked)] = proposed
        return self._row_of[proposed.configuration]

    def within(self, trials: int) -> tuple[int, int]:
        """Return how many of the figures expected of the first trials lie in their 90 % interval.

        Returns:
            The number within, and the number of all.
        """
        inside = [
            low <= figure <= high
            for place, proposal in self.proposals.items()
            if place < trials and not self._table.failing[self._row_of[proposal.configuration]]
            for (low, high), figure in zip(
                proposal.expected.values(),
                self._table.figures[self._row_of[proposal.configuration]],
                strict=False,
            )
        ]
        return sum(inside), len(inside)

    def end(self, least_gain: float, trials: int) -> int:
        """Return the number of trials after which `budget.least_gain` ends the search."""
        small = 0
        for place, proposal in self.proposals.items():
            gain = proposal.expected_gain
            small = small + 1 if gain is not None and gain < least_gain else 0
            if small == PATIENCE and place < trials:
                return place
        return trials


def _trial(table: Table, number: int, row: int, history: History) -> Trial:
    configuration = table.rows[row]
    if number not in history.told:
        return Trial(
            number=number, configuration=configuration, catalog=Catalog(()), status="running"
        )
    figures = history.told[number]
    if figures is None:
        return Trial(
            number=number, configuration=configuration, catalog=Catalog(()), status="failed"
        )
    measurements: dict[str, Measurement] = {}
    for objective, value in zip(table.objectives, map(float, figures), strict=True):
        half = 1.96 * history.noise * abs(value)
        measurements[objective.metric] = Measurement(
            value=value, unit="", low=value - half, high=value + half, samples=1
        )
    return Trial(
        number=number,
        configuration=configuration,
        catalog=Catalog(()),
        status="ok",
        measurements=measurements,
    )


def optunas(table: Table, make: Callable[[int], optuna.samplers.BaseSampler], seed: int) -> Ask:
    """One of Optuna's samplers over the box of all values, taken to the nearest row left."""
    study = optuna.create_study(
        directions=[objective.direction for objective in table.objectives], sampler=make(seed)
    )
    places = np.array(
        [[choice.values.index(row[choice.name]) for choice in table.choices] for row in table.rows]
    )
    spans = np.array([max(len(choice.values) - 1, 1) for choice in table.choices])
    ordered = np.array([choice.ordered for choice in table.choices])
    trials: list[optuna.Trial] = []
    known: set[int] = set()

    def ask(history: History) -> int:
        for number in sorted(history.told.keys() - known):
            figures = history.told[number]
            known.add(number)
            if figures is None:
                study.tell(trials[number], state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(trials[number], list(map(float, figures)))
        trial = study.ask()
        trials.append(trial)
        proposed = np.array([_suggest(trial, choice) for choice in table.choices])
        away = np.abs(places - proposed) / spans
        distances = np.where(ordered, away, places != proposed).sum(axis=1).astype(np.float64)
        distances[history.asked] = np.inf
        return int(np.argmin(distances))

    return ask


def _suggest(trial: optuna.Trial, choice: Choice) -> int:
    if choice.ordered:
        return trial.suggest_int(choice.name, 0, len(choice.values) - 1)
    return choice.values.index(trial.suggest_categorical(choice.name, list(choice.values)))


def failing_rows(table: Table, share: float, seed: int) -> npt.NDArray[np.bool_]:
    """Rows that fail: those that hold one of some random pairs of values, `(rows,)`.

    Pairs are drawn until about the share fails; one that would take more than half as much again is
    left out, and so is one after which no row of the front is left.
    """
    front = nondominated(table.costs)
    failing = np.zeros(len(table.rows), dtype=np.bool_)
    draw = np.random.default_rng(seed)
    for _ in range(1000):
        if failing.mean() >= share:
            break
        one, other = draw.choice(len(table.choices), size=2, replace=len(table.choices) < 2)
        pair = [table.choices[int(place)] for place in (one, other)]
        values = [choice.values[int(draw.integers(len(choice.values)))] for choice in pair]
        hit = np.array(
            [all(row[c.name] == v for c, v in zip(pair, values, strict=True)) for row in table.rows]
        )
        if (failing | hit).mean() <= 1.5 * share and not (failing | hit)[front].all():
            failing |= hit
    return failing


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """A replayed search.

    Attributes:
        shares: The share of the exhaustive hypervolume after each trial that ended.
        ask_cpu_s: CPU seconds of an ask.
        failed: Number of trials that failed.
    """

    shares: Sequence[float]
    ask_cpu_s: float
    failed: int


def replay(table: Table, ask: Ask, trials: int, conditions: Conditions, seed: int) -> Replayed:
    """Replay a search.

    What counts are the true figures of what was tried; of what fails, none.
    """
    reference = np.full(len(table.objectives), 1.1)
    failing = table.failing | failing_rows(table, conditions.failing, seed)
    whole = hypervolume(table.costs[~failing], reference)
    history = History(conditions.noise)
    draw = np.random.default_rng(seed)
    spent = 0.0
    for _ in range(min(trials + conditions.outstanding - 1, len(table.rows))):
        began = time.process_time()
        row = ask(history)
        spent += time.process_time() - began
        history.asked.append(row)
        ended = len(history.asked) - conditions.outstanding
        if ended >= 0:
            wobble = np.exp(conditions.noise * draw.standard_normal(len(table.objectives)))
            at = history.asked[ended]
            wobble *= draw.choice(table.factors[at])
            history.told[ended] = None if failing[at] else table.figures[at] * wobble
    shares = [
        hypervolume(table.costs[[r for r in history.asked[:count] if not failing[r]]], reference)
        / whole
        for count in range(1, min(trials, len(history.asked)) + 1)
    ]
    return Replayed(
        shares=shares,
        ask_cpu_s=spent / len(history.asked),
        failed=sum(bool(failing[row]) for row in history.asked),
    )


def summary(runs: Sequence[Replayed]) -> dict[str, Any]:
    """Means over seeds."""
    curves = [run.shares for run in runs]
    return {
        "hv": {
            str(at): float(np.mean([curve[min(at, len(curve)) - 1] for curve in curves]))
            for at in AT
        },
        "hv_error": {
            str(at): float(
                np.std([curve[min(at, len(curve)) - 1] for curve in curves], ddof=1)
                / np.sqrt(len(curves))
            )
            if len(curves) > 1
            else 0.0
            for at in AT
        },
        "trials_to": {
            f"{share:.0%}".rstrip("%"): float(np.mean([_first(curve, share) for curve in curves]))
            for share in SHARES
        },
        "ask_cpu_s": float(np.mean([run.ask_cpu_s for run in runs])),
        "failed": float(np.mean([run.failed for run in runs])),
    }


def _first(curve: Sequence[float], share: float) -> int:
    """The trial that reached a share; one more than there were where none did."""
    return next((n + 1 for n, value in enumerate(curve) if value >= share), len(curve) + 1)


def judged(
    own: Sequence[Ours], curves: Sequence[Sequence[float]], least_gain: float | None
) -> dict[str, float]:
    """Return what our sampler expected against what was found, over seeds.

    Returns:
        The share of figures within their 90 % interval; with `least_gain`, the mean number of
        trials after which the search ends, and the mean and smallest share of hypervolume then.
    """
    counts = np.array([one.within(len(curve)) for one, curve in zip(own, curves, strict=True)])
    inside, expected = counts.sum(axis=0)
    found = {"within_interval": float(inside / max(expected, 1))}
    if least_gain is not None:
        ends = [one.end(least_gain, len(curve)) for one, curve in zip(own, curves, strict=True)]
        at_end = [curve[end - 1] for curve, end in zip(curves, ends, strict=True)]
        found |= {
            "ends_after": float(np.mean(ends)),
            "share_at_end": float(np.mean(at_end)),
            "least_share_at_end": float(np.min(at_end)),
        }
    return found


def judgement_text(record: Mapping[str, float], least_gain: float | None) -> str:
    """Return the line that is printed of `judged`."""
    text = f"within the 90 % interval: {record['within_interval']:.0%}"
    if least_gain is None:
        return text
    return (
        f"{text}; least_gain {least_gain} ends after {record['ends_after']:.0f} trials"
        f" at {record['share_at_end']:.3f} (least {record['least_share_at_end']:.3f})"
    )


def main() -> None:
    """Replay and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--samplers", nargs="+", default=["tunefront", *OPTUNA])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=max(AT))
    parser.add_argument("--outstanding", type=int, default=1, help="asks at a time")
    parser.add_argument("--noise", type=float, default=0.0, help="relative, of what is told")
    parser.add_argument("--failing", type=float, default=0.0, help="share of the rows that fail")
    parser.add_argument("--least-gain", type=float, help="budget.least_gain to judge")
    parser.add_argument("--hidden-failures", action="store_true", help="with NAME_failed.csv")
    parser.add_argument("--seed-noise", action="store_true", help="with NAME_seeds.csv")
    parser.add_argument("--only", nargs="+", help="names of tables; all if missing")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    conditions = Conditions(
        outstanding=options.outstanding, noise=options.noise, failing=options.failing
    )
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    facts = json.loads((options.tables / "tables.json").read_text())
    found: dict[str, dict[str, Any]] = {}
    for name in options.only or facts:
        table = read_table(
            options.tables, name, facts[name], options.hidden_failures, options.seed_noise
        )
        print(f"{name}: {len(table.rows)} rows", flush=True)
        found[name] = {}
        for sampler in options.samplers:
            runs, own = [], []
            for seed in range(options.seeds):
                ask: Ask
                if sampler == "tunefront":
                    own.append(Ours(table, seed))
                    ask = own[-1]
                else:
                    ask = optunas(table, OPTUNA[sampler], seed)
                runs.append(replay(table, ask, options.trials, conditions, seed))
            found[name][sampler] = record = summary(runs)
            shares = "  ".join(f"@{at} {value:.3f}" for at, value in record["hv"].items())
            print(
                f"  {sampler:17} {shares}  to 95 %: {record['trials_to']['95']:.0f}"
                f"  {1000 * record['ask_cpu_s']:.0f} ms an ask  {record['failed']:.0f} failed",
                flush=True,
            )
            if own:
                curves = [run.shares for run in runs]
                record |= judged(own, curves, options.least_gain)
                print(f"    {judgement_text(record, options.least_gain)}", flush=True)
    if options.json:
        options.json.write_text(json.dumps({"tables": found}, indent=1))


if __name__ == "__main__":
    main()
