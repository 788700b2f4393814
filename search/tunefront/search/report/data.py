"""The report's data: a result and its metadata as plain JSON values; a pure function.

The page recomputes the picks for other limits (`picks.js`). Every trial therefore carries what
`picks.py` uses: measurements, intervals for ties and for limits, gain over the baseline, whether
it is unconfirmed, and the number of choices that differ from the baseline's. These
numbers are not rounded, so that both find the same ties.
"""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from tunefront.evaluators import Sample
from tunefront.search.experiment.metrics import QUALITY_DROP
from tunefront.search.front.pareto import SMALLEST_DIFFERENCE
from tunefront.search.front.pick_inputs import PickInputs, TrialInputs, pick_inputs
from tunefront.search.results.change import least_of
from tunefront.search.results.result import Result
from tunefront.search.results.view import TrialView
from tunefront.search.text import command_text
from tunefront.spaces import Value, show

from .history import history_of
from .importance import importance_of
from .loads import distribution_charts, load_charts
from .outputs import output_comparison
from .sections import account_of

SCHEMA = 1
DRAWN_LAST = ("baseline", "front", "recommended")
"""Roles whose curves lie above the others."""
LONGEST_MESSAGE_KEPT = 600
"""Maximum number of characters of a message in the page; the record has the whole message."""


def report_data(
    result: Result,
    record: Mapping[str, Any],
    samples: Mapping[int, Sequence[Sample]] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return all data of the page.

    Args:
        result: The result of the search.
        record: Metadata of `search.json`: machine, workload, dropped combinations; can be empty.
        samples: Recorded outputs of the baseline and the picks, by trial number.
    """
    experiment = result.experiment
    inputs = pick_inputs(experiment, result.trials, result.unconfirmed)
    return {
        "schema": SCHEMA,
        "name": experiment.name,
        "smoke": experiment.smoke,
        "headline": result.headline(),
        "baseline": result.baseline.number if result.baseline is not None else None,
        "commands": _commands(result),
        "objectives": [{"metric": o.metric, "sign": o.sign} for o in experiment.objectives],
        "limits": [
            {"metric": limit.metric, "test": limit.test, "bound": limit.bound}
            for limit in experiment.limits
        ],
        "prefer": experiment.prefer,
        "metrics": _metrics(result),
        "rules": _rules(inputs),
        **_choices(result),
        "picks": [
            {
                "name": pick.name,
                "trial": pick.trial.number,
                "reason": pick.reason,
                "ties": [trial.number for trial in pick.ties],
            }
            for pick in result.front.picks
        ],
        "trials": [_trial(view, inputs) for view in result.views.values()],
        "history": [[number, round(share, 5)] for number, share in history_of(result)],
        "importance": [_importance(result, place) for place in range(len(experiment.objectives))],
        "curves": _curves(result),
        "loads": load_charts(result),
        "distributions": distribution_charts(result),
        "outputs": output_comparison(result, samples),
        **account_of(result, record),
    }


def number(value: float) -> float | str:
    """Return a finite number unchanged, others as text that JavaScript's `Number` parses."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _commands(result: Result) -> dict[str, str]:
    """Return the commands shown in the page; empty for a quick check, which these do not read."""
    if result.experiment.smoke:
        return {}
    path = result.experiment.path
    return {name: command_text(name, path) for name in ("pick", "export", "show")}


def _metrics(result: Result) -> dict[str, Any]:
    """Return the metrics that are objectives, limited, or measured by any trial."""
    experiment = result.experiment
    named = {limit.metric for limit in experiment.limits}
    named |= {objective.metric for objective in experiment.objectives}
    return {
        name: {
            "unit": metric.unit,
            "sign": 1 if metric.direction == "minimize" else -1,
            "summary": metric.summary,
        }
        for name, metric in experiment.metrics.items()
        if name in named or any(name in trial.measurements for trial in result.trials)
    }


def _rules(inputs: PickInputs) -> dict[str, Any]:
    """Return the metrics and tolerances that decide the picks; null if there is no such metric."""
    named = {"speed": inputs.speed, "size": inputs.size, "quality": inputs.quality}
    return {
        **{name: None if metric is None else metric.name for name, metric in named.items()},
        "loss": QUALITY_DROP.name,
        "least": {m.name: least_of(m) for m in named.values() if m is not None},
        "smallest_difference": SMALLEST_DIFFERENCE,
    }


def _choices(result: Result) -> dict[str, Any]:
    """Return the choices that vary among the trials, and the values of the fixed ones."""
    used: dict[str, set[Value | None]] = {}
    for trial in result.trials:
        for name in trial.configuration:
            used.setdefault(name, set())
    for name, values in used.items():
        values.update(trial.configuration.get(name) for trial in result.trials)
    listed = [choice.name for choice in result.experiment.space.choices if choice.name in used]
    names = [*listed, *(name for name in used if name not in listed)]
    fixed = {name: next(iter(used[name])) for name in names if len(used[name]) == 1}
    return {
        "choices": [name for name in names if len(used[name]) > 1],
        "fixed": {name: show(value) for name, value in fixed.items() if value is not None},
    }


def _importance(result: Result, place: int) -> dict[str, Any]:
    experiment = result.experiment
    found = importance_of(result.trials, experiment.space.choices, experiment.objectives[place])
    return {
        "objective": found.objective,
        "text": str(found),
        "shares": [[name, round(share, 4)] for name, share in found.shares.items()],
    }


def _trial(view: TrialView, inputs: PickInputs) -> dict[str, Any]:
    trial, evaluation = view.trial, view.trial.evaluation
    found = {
        "number": trial.number,
        "name": view.name,
        "status": trial.status,
        "configuration": dict(trial.configuration),
        "sentence": view.sentence[:LONGEST_MESSAGE_KEPT],
        "trust": view.trust,
        "chance": view.chance,
        "reference": view.reference,
        "reason": trial.reason[:LONGEST_MESSAGE_KEPT],
        "attempt": trial.attempt,
        "cause": trial.cause,
        "stage": evaluation.stage if evaluation is not None else None,
        "message": evaluation.message[:LONGEST_MESSAGE_KEPT] if evaluation is not None else "",
        "warnings": list(view.warnings),
        "seconds": evaluation.seconds.get("total") if evaluation is not None else None,
        "expected_s": trial.expected_s,
    }
    known = inputs.trials.get(trial.number)
    return found if known is None else found | _measured(view, known)


def _curves(result: Result) -> list[dict[str, Any]]:
    """Return by metric the values that trials reported by step; the best trials are drawn last."""
    found: dict[str, list[dict[str, Any]]] = {}
    for view in sorted(result.views.values(), key=lambda view: view.role in DRAWN_LAST):
        curves = view.trial.evaluation.curves if view.trial.evaluation is not None else {}
        for metric, points in curves.items():
            shown = [[step, value] for step, value in points if math.isfinite(value)]
            line = {"trial": view.trial.number, "role": view.role, "points": shown}
            if shown:
                found.setdefault(metric, []).append(line)
    return [{"metric": metric, "lines": lines} for metric, lines in found.items()]


def _measured(view: TrialView, known: TrialInputs) -> dict[str, Any]:
    """Return a trial's measurements, its error bars, and the values that decide the picks."""
    return {
        "measurements": {
            name: [number(m.value), number(m.low), number(m.high), m.samples]
            for name, m in view.trial.measurements.items()
        },
        "bars": {name: list(map(number, ends)) for name, ends in view.error_bars.items()},
        "objectives": [list(map(number, ends)) for ends in known.objectives],
        "deciding": {name: list(map(number, ends)) for name, ends in known.deciding.items()},
        "absolute": {name: list(map(number, ends)) for name, ends in known.absolute.items()},
        "gain": number(known.gain) if known.gain is not None else None,
        "changes": known.changes,
        "unconfirmed": known.unconfirmed,
    }
