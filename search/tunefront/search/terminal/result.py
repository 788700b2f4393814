"""Output of a search's result: tables, lines of text and JSON values."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tunefront.evaluators.isolation.codec import to_plain
from tunefront.search.experiment.experiment import bound
from tunefront.search.experiment.objective import Limit
from tunefront.search.front.picks import Pick, nearest_misses
from tunefront.search.front.relaxation import relaxations
from tunefront.search.results.result import Result, choices_of, figure
from tunefront.search.study.trial import Trial
from tunefront.search.text import listed
from tunefront.spaces import show

from .tables import table_of

if TYPE_CHECKING:
    from rich.table import Table


def front_table(answer: Result) -> "Table":
    """Build the table of the front and the baseline, the best by the first objective first."""
    trials = list(answer.front.trials)
    baseline = answer.baseline
    if baseline is not None and baseline.number not in {trial.number for trial in trials}:
        trials.append(baseline)
    return trials_table(answer, trials, "the front, and the baseline")


def trials_table(answer: Result, trials: Sequence[Trial], title: str = "") -> "Table":
    """Build the table of trials: role, trust, objectives and the choices that vary."""
    experiment = answer.experiment
    objectives = [objective.metric for objective in experiment.objectives]
    varied = [c.name for c in experiment.space.choices if len(c.values) > 1]
    units = [experiment.metrics[name].unit for name in objectives]
    named = [f"{name}\n{unit}" for name, unit in zip(objectives, units, strict=True)]
    picks = {pick.trial.number: pick.name for pick in reversed(answer.front.picks)}
    on_front = {trial.number for trial in answer.front.trials}
    rows = []
    for trial in trials:
        figures = [
            figure(trial.measurements[name]) if name in trial.measurements else "-"
            for name in objectives
        ]
        ties = answer.front.ties.get(trial.number, ())
        role = "front" if trial.number in on_front else trial.status
        told = picks.get(trial.number, "baseline" if trial.number == 0 else role)
        tied = " =" + ",".join(str(t.number) for t in ties[:3]) if ties else ""
        rows.append(
            [
                f"{trial.number:03}{tied}",
                told if trial.measured else f"failed: {trial.cause}",
                answer.trust(trial),
                *figures,
                *choices_of(trial, varied).values(),
            ]
        )
    return table_of(["trial", "role", "trust", *named, *varied], rows, title)


def picks_lines(answer: Result) -> list[str]:
    """Format each picked trial with the names of its picks, a comparison, its reason and ties."""
    by_trial: dict[int, list[Pick]] = {}
    for pick in answer.front.picks:
        by_trial.setdefault(pick.trial.number, []).append(pick)
    named = [(", ".join(pick.name for pick in picks), picks[0]) for picks in by_trial.values()]
    width = max((len(names) for names, _ in named), default=0)
    lines = []
    for names, pick in named:
        lines.append(f"  {names:{width}}  {pick.trial.name()}: {answer.sentence(pick.trial)}")
        ties = f"; can't be told apart from {_numbers(pick.ties)}" if pick.ties else ""
        lines.append(f"  {'':{width}}  {pick.reason}{ties}")
    return lines


def failure_lines(answer: Result) -> list[str]:
    """Format failed trials by cause, then the inferred failures; empty without any."""
    by_cause: dict[str, list[int]] = {}
    for trial in answer.trials:
        if trial.status == "failed":
            by_cause.setdefault(trial.cause, []).append(trial.number)
    lines = [
        f"failed ({cause}): {listed(numbers)}; see `tunefront show {answer.experiment.path} "
        f"{numbers[0]}`"
        for cause, numbers in by_cause.items()
    ]
    return lines + [str(lesson) for lesson in answer.lessons]


def ties_line(answer: Result) -> str:
    """Explain the mark `=` of tied trials by an example; empty without ties."""
    tied = [t for t in answer.front.trials if answer.front.ties.get(t.number)]
    if not tied:
        return ""
    first = answer.front.ties[tied[0].number][0]
    return f"{tied[0].number:03} ={first.number}: can't be told apart from {first.number:03}"


def relaxation_lines(answer: Result, limits: Sequence[Limit], prefer: str | None) -> list[str]:
    """Format what relaxing each limit alone would gain; empty if nothing."""
    found = relaxations(answer.experiment, answer.trials, limits, prefer)
    return [f"  {r}  {r.trial.name()}: {answer.sentence(r.trial)}" for r in found]


def miss_lines(answer: Result, limits: Sequence[Limit]) -> list[str]:
    """Format why there is no front: the nearest misses, or the headline if nothing was measured."""
    measured = [trial for trial in answer.trials if trial.measured]
    if not measured:
        return [answer.headline()]
    lines = ["nothing keeps the limits; the nearest:"]
    for trial in nearest_misses(measured, limits):
        told = ", ".join(
            _miss(answer, trial, limit)
            for limit in limits
            if not limit.kept(trial.value(limit.metric))
        )
        lines.append(f"  {trial.name()}: {told}")
    return lines


def _miss(answer: Result, trial: Trial, limit: Limit) -> str:
    unit = answer.experiment.metrics[limit.metric].unit
    found = f"{limit.metric} {trial.value(limit.metric):.4g}{f' {unit}' if unit else ''}"
    return f"{found} (limit {bound(answer.experiment, limit)})"


def _numbers(trials: Sequence[Trial]) -> str:
    return ", ".join(f"{trial.number:03}" for trial in trials[:5])


def trial_lines(answer: Result, trial: Trial) -> list[str]:
    """Format all that is recorded about one trial."""
    lines = [f"{trial.name()}: {trial.status}", "  choices:"]
    if trial.status != "failed":
        lines.insert(1, f"  {answer.sentence(trial)}")
    lines += [f"    {name}: {show(value)}" for name, value in trial.configuration.items()]
    if trial.why:
        lines.append(f"  proposed: {trial.why}")
    if trial.attempt > 1:
        lines.append(f"  started {trial.attempt} times: the worker process died each time before")
    if trial.measurements:
        lines.append("  figures (95 % interval, samples):")
    for name, m in trial.measurements.items():
        lines.append(f"    {name}: {figure(m)} {m.unit} ({m.low:.4g} to {m.high:.4g}, {m.samples})")
    for limit in trial.broken:
        lines.append(f"  breaks {limit}")
    evaluation = trial.evaluation
    if evaluation is None:
        return lines
    if evaluation.status == "failed":
        lines.append(f"  failed at {evaluation.stage}: {evaluation.cause}: {evaluation.message}")
        lines += [f"    | {line}" for line in evaluation.log]
    lines += [f"  doubt: {doubt}" for doubt in evaluation.doubts]
    for name, found in (("really ran", evaluation.facts), ("machine", evaluation.machine)):
        if found:
            lines.append(f"  {name}: {json.dumps(dict(found))}")
    seconds = {name: round(value, 2) for name, value in evaluation.seconds.items()}
    lines.append(f"  seconds: {json.dumps(seconds)}; reused: {', '.join(evaluation.reused) or '-'}")
    return lines


def answer_record(answer: Result) -> dict[str, Any]:
    """Return the result as plain JSON values."""
    return {
        "schema": 1,
        "experiment": answer.experiment.name,
        "headline": answer.headline(),
        "trials": len(answer.trials),
        "failed": sum(trial.status == "failed" for trial in answer.trials),
        "skipped": [str(lesson) for lesson in answer.lessons],
        "front": [trial.number for trial in answer.front.trials],
        "picks": [
            {
                "name": pick.name,
                "trial": pick.trial.number,
                "why": pick.reason,
                "against_baseline": answer.sentence(pick.trial),
                "ties": [trial.number for trial in pick.ties],
                "front_chance": answer.front.chances.get(pick.trial.number),
                "configuration": dict(pick.trial.configuration),
                "measurements": {n: to_plain(m) for n, m in pick.trial.measurements.items()},
            }
            for pick in answer.front.picks
        ],
    }
