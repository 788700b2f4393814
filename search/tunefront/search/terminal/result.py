"""Output of a search's result: tables, lines of text and JSON values."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tunefront.evaluators import Measurement
from tunefront.evaluators.isolation.codec import to_plain
from tunefront.evaluators.statistics.formatting import (
    interval_text,
    number_text,
    value_text,
    with_unit,
)
from tunefront.search.experiment.objective import Limit
from tunefront.search.front.picks import RECOMMENDED, Pick, nearest_misses
from tunefront.search.front.relaxation import relaxations
from tunefront.search.results.result import Result, choices_of
from tunefront.search.results.sentence import evaluated_items
from tunefront.search.results.view import TrialView
from tunefront.search.study.trial import Trial
from tunefront.search.text import command_text, counted, listed
from tunefront.spaces import show
from tunefront.spaces.metric import LEVEL_SIGN

from .tables import table_of

if TYPE_CHECKING:
    from rich.table import Table

FRONT_TITLE = "the front, the baseline and the defaults"


def front_table(result: Result) -> "Table":
    """Build the table of the shortlist, the front first, its best by the first objective first."""
    trials = [view.trial for view in result.shortlist if view.trial.measured]
    return trials_table(result, trials, FRONT_TITLE)


def trials_table(result: Result, trials: Sequence[Trial], title: str = "") -> "Table":
    """Build the table of trials: role, trust, objectives and the choices that vary."""
    experiment = result.experiment
    objectives = [objective.metric for objective in experiment.objectives]
    varied = [c.name for c in experiment.space.choices if len(c.values) > 1]
    units = [experiment.metrics[name].unit for name in objectives]
    named = [f"{name}\n{unit}" for name, unit in zip(objectives, units, strict=True)]
    rows = [
        [*cells_of(result.view(trial), objectives), *choices_of(trial, varied).values()]
        for trial in trials
    ]
    return table_of(["trial", "role", "trust", *named, *varied], rows, title)


def cells_of(view: TrialView, objectives: Sequence[str], most_ties: int = 3) -> list[str]:
    """Format a trial: number with tied trials, role, trust, and the value of every objective."""
    measurements = view.trial.measurements
    ties = ",".join(str(number) for number in view.ties[:most_ties])
    role = view.picks[0].name if view.picks else view.role
    named = ", ".join(filter(None, [role, view.reference]))
    return [
        f"{view.number:03} ={ties}" if ties else f"{view.number:03}",
        f"failed: {view.trial.cause}" if role == "failed" else named,
        view.trust_text,
        *(value_text(measurements[name]) if name in measurements else "-" for name in objectives),
    ]


def picks_lines(result: Result) -> list[str]:
    """Format each picked trial with the names of its picks, a comparison, its reason and ties."""
    numbers = dict.fromkeys(pick.trial.number for pick in result.front.picks)
    views = [result.views[number] for number in numbers]
    width = max((len(view.role_text) for view in views), default=0)
    lines = []
    for view in views:
        lines.append(f"  {view.role_text:{width}}  {view.name}: {view.sentence}")
        reason = "; ".join(filter(None, [view.picks[0].reason, view.ties_text]))
        lines.append(f"  {'':{width}}  {reason}")
        if view.picks[0].name == RECOMMENDED and result.against_references:
            lines.append(f"  {'':{width}}  {result.against_references}")
    return lines


def failure_lines(result: Result) -> list[str]:
    """Format failed trials by stage and cause, then the inferred failures; empty without any."""
    lines = [
        f"failed at {group.stage} ({group.cause}): {listed([t.number for t in group.trials])}; "
        f"see `{command_text('show', result.experiment.path, str(group.trials[0].number))}`"
        for group in result.failures
    ]
    return lines + [str(failure) for failure in result.inferred_failures]


def ties_line(result: Result) -> str:
    """Explain the mark `=` of tied trials by an example; empty without ties."""
    first = next((view for view in result.shortlist if view.ties), None)
    if first is None:
        return ""
    other = first.ties[0]
    return f"{first.number:03} ={other}: tied with {other:03}"


def relaxation_lines(result: Result, limits: Sequence[Limit], prefer: str | None) -> list[str]:
    """Format what relaxing each limit alone would gain; empty if nothing."""
    found = relaxations(result.experiment, result.trials, limits, prefer, result.unconfirmed)
    views = [result.view(relaxation.trial) for relaxation in found]
    return [f"  {r}  {v.name}: {v.sentence}" for r, v in zip(found, views, strict=True)]


def miss_lines(result: Result) -> list[str]:
    """Format why there is no front: the nearest misses, or the headline if nothing was measured."""
    measured = [trial for trial in result.trials if trial.measured]
    if not measured:
        return [result.headline()]
    lines = ["no trial meets the limits; the nearest:"]
    for trial in nearest_misses(measured, result.limits):
        view = result.view(trial)
        lines.append(f"  {view.name}: {', '.join(miss.text for miss in view.misses)}")
    return lines


def trial_lines(result: Result, trial: Trial) -> list[str]:
    """Format all that is recorded about one trial."""
    view = result.view(trial)
    lines = [f"{view.name}: {trial.status}", "  choices:"]
    if trial.status != "failed":
        lines.insert(1, f"  {view.sentence}")
    lines += [f"    {name}: {show(value)}" for name, value in trial.configuration.items()]
    if trial.reason:
        lines.append(f"  proposed: {trial.reason}")
    if trial.attempt > 1:
        lines.append(f"  started {trial.attempt} times: the worker process died each time before")
    lines += _measurement_lines(trial.measurements, trial.expected)
    evaluated, items = evaluated_items(trial)
    if evaluated < items:
        lines.append(
            f"  quality of {evaluated} of {items} items: {result.experiment.primary.name} is the "
            "baseline's, moved by the change on these items; no other metric of quality is known"
        )
    lines += [f"  beyond limits: {miss.text}" for miss in view.misses]
    evaluation = trial.evaluation
    if evaluation is None:
        return lines
    if evaluation.status == "failed":
        lines.append(f"  failed at {evaluation.stage}: {evaluation.cause}: {evaluation.message}")
        lines += [f"    | {line}" for line in evaluation.log]
    lines += [f"  warning: {warning}" for warning in view.warnings]
    for name, found in (("read-back", evaluation.facts), ("machine", evaluation.machine)):
        if found:
            lines.append(f"  {name}: {_listed(found)}")
    seconds = _listed(evaluation.seconds, decimals=2)
    lines.append(f"  seconds: {seconds}; reused: {', '.join(evaluation.reused) or '-'}")
    return lines


def _measurement_lines(
    measurements: Mapping[str, Measurement], expected: Mapping[str, tuple[float, float]]
) -> list[str]:
    """Format measurements, one on a line; those at several load levels as a table.

    Args:
        measurements: The measurements by metric.
        expected: The expected 90 % interval of some of them.
    """
    lines = ["  measurements (95 % interval):"] if measurements else []
    leveled: dict[str, dict[str, Measurement]] = {}
    for name, m in measurements.items():
        plain, _, level = name.partition(LEVEL_SIGN)
        if level:
            leveled.setdefault(plain, {})[level] = m
            continue
        inside = "; ".join(filter(None, [interval_text(m), counted(m.samples, "sample")]))
        text = f"    {name}: {with_unit(m)} ({inside})"
        if name in expected:
            low, high = expected[name]
            text += f"; expected {number_text(low)} to {number_text(high)}"
        lines.append(text)
    return lines + _level_lines(leveled)


def _level_lines(leveled: Mapping[str, Mapping[str, Measurement]]) -> list[str]:
    """Format metrics at several load levels as a table with a column for each level."""
    if not leveled:
        return []
    levels = sorted({level for found in leveled.values() for level in found}, key=float)
    rows = [["load level", *(LEVEL_SIGN + level for level in levels)]]
    for name, found in leveled.items():
        unit = next(iter(found.values())).unit
        cells = [_with_ends(found[level]) if level in found else "-" for level in levels]
        rows.append([f"{name}, {unit}" if unit else name, *cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = [[cell.ljust(n) for cell, n in zip(row, widths, strict=True)] for row in rows]
    return [f"    {'  '.join(row).rstrip()}" for row in padded]


def _with_ends(measurement: Measurement) -> str:
    ends = interval_text(measurement)
    return f"{value_text(measurement)} ({ends})" if ends else value_text(measurement)


def _listed(values: Mapping[str, Any], decimals: int | None = None) -> str:
    """Format names with their values as one line; decimal numbers with three digits."""
    shown = {
        name: number_text(value, decimals=decimals)
        if isinstance(value, float)
        else value
        if isinstance(value, str)
        else json.dumps(value)
        for name, value in values.items()
    }
    return ", ".join(f"{name} {text}" for name, text in shown.items())


def result_record(result: Result) -> dict[str, Any]:
    """Return the result as plain JSON values."""
    return {
        "schema": 1,
        "experiment": result.experiment.name,
        "headline": result.headline(),
        "against_references": result.against_references,
        "references": _references_record(result),
        "scarcity": None if result.scarcity is None else str(result.scarcity),
        "trials": len(result.trials),
        "failed": sum(trial.status == "failed" for trial in result.trials),
        "skipped": [str(failure) for failure in result.inferred_failures],
        "front": [trial.number for trial in result.front.trials],
        "picks": [_pick_record(pick, result.view(pick.trial)) for pick in result.front.picks],
    }


def _references_record(result: Result) -> dict[str, int | None]:
    """Return the trial of each reference by its name; None if it was not run."""
    numbers = {trial.configuration: trial.number for trial in result.trials}
    references = result.experiment.references
    return {
        one.name: None if one.configuration is None else numbers.get(one.configuration)
        for one in references
    }


def _pick_record(pick: Pick, view: TrialView) -> dict[str, Any]:
    return {
        "name": pick.name,
        "trial": view.number,
        "reason": pick.reason,
        "against_baseline": view.sentence,
        "ties": list(view.ties),
        "trust": view.trust,
        "front_chance": view.chance,
        "configuration": dict(view.trial.configuration),
        "measurements": {n: to_plain(m) for n, m in view.trial.measurements.items()},
    }
