"""The report's data: a result and its metadata as plain JSON values; a pure function.

The page recomputes the picks for other limits (`picks.js`). Every trial therefore carries what
`picks.py` uses: measurements, interval ends for ties, gain over the baseline, and the number of
choices that differ from the baseline's. These numbers are not rounded, so that both find the same
ties.
"""

import math
import shlex
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from tunefront.evaluators import Sample
from tunefront.search.experiment.metrics import QUALITY_DROP
from tunefront.search.front.pareto import SMALLEST_DIFFERENCE
from tunefront.search.front.picks import SAME_QUALITY, changes, deciding, gain_over, spread_of
from tunefront.search.results.result import Result
from tunefront.search.study.trial import Trial
from tunefront.spaces import Value, show

from .front_chart import errors
from .history import history_of
from .importance import importance_of
from .outputs import answers_of
from .sections import account_of

SCHEMA = 1
LONGEST_MESSAGE_KEPT = 600
"""Maximum number of characters of a message in the page; the record has the whole message."""


def report_data(
    answer: Result,
    record: Mapping[str, Any],
    samples: Mapping[int, Sequence[Sample]] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return all data of the page.

    Args:
        answer: The result of the search.
        record: Metadata of `search.json`: machine, workload, dropped combinations; can be empty.
        samples: Recorded outputs of the baseline and the picks, by trial number.
    """
    experiment = answer.experiment
    return {
        "schema": SCHEMA,
        "name": experiment.name,
        "smoke": experiment.smoke,
        "headline": answer.headline(),
        "baseline": answer.baseline.number if answer.baseline is not None else None,
        "commands": _commands(answer),
        "objectives": [{"metric": o.metric, "sign": o.sign} for o in experiment.objectives],
        "limits": [
            {"metric": limit.metric, "test": limit.test, "bound": limit.bound}
            for limit in experiment.limits
        ],
        "prefer": experiment.prefer,
        "metrics": _metrics(answer),
        "rules": _rules(answer),
        **_choices(answer),
        "picks": [
            {
                "name": pick.name,
                "trial": pick.trial.number,
                "reason": pick.reason,
                "ties": [trial.number for trial in pick.ties],
            }
            for pick in answer.front.picks
        ],
        "trials": _trials(answer),
        "history": [[number, round(share, 5)] for number, share in history_of(answer)],
        "importance": [_importance(answer, place) for place in range(len(experiment.objectives))],
        "answers": answers_of(answer, samples),
        **account_of(answer, record),
    }


def number(value: float) -> float | str:
    """Return a finite number unchanged, others as text that JavaScript's `Number` parses."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _commands(answer: Result) -> dict[str, str]:
    """Return the commands shown in the page; empty for a quick check, which these do not read."""
    if answer.experiment.smoke:
        return {}
    path = shlex.quote(str(answer.experiment.path))
    return {name: f"tunefront {name} {path}" for name in ("pick", "export", "show")}


def _metrics(answer: Result) -> dict[str, Any]:
    """Return the metrics that are objectives, limited, or measured by any trial."""
    experiment = answer.experiment
    named = {limit.metric for limit in experiment.limits}
    named |= {objective.metric for objective in experiment.objectives}
    return {
        name: {
            "unit": metric.unit,
            "sign": 1 if metric.direction == "minimize" else -1,
            "summary": metric.summary,
        }
        for name, metric in experiment.metrics.items()
        if name in named or any(name in trial.measurements for trial in answer.trials)
    }


def _rules(answer: Result) -> dict[str, Any]:
    """Return metrics and tolerances that decide the picks; null if there is no such metric."""
    names = ("speed", "size", "quality")
    found = zip(names, deciding(answer.experiment, answer.trials), strict=True)
    return {
        **{name: None if metric is None else metric.name for name, metric in found},
        "loss": QUALITY_DROP.name,
        "same_quality": SAME_QUALITY,
        "smallest_difference": SMALLEST_DIFFERENCE,
    }


def _choices(answer: Result) -> dict[str, Any]:
    """Return the choices that vary among the trials, and the values of the fixed ones."""
    seen: dict[str, set[Value | None]] = {}
    for trial in answer.trials:
        for name in trial.configuration:
            seen.setdefault(name, set())
    for name, values in seen.items():
        values.update(trial.configuration.get(name) for trial in answer.trials)
    listed = [choice.name for choice in answer.experiment.space.choices if choice.name in seen]
    names = [*listed, *(name for name in seen if name not in listed)]
    fixed = {name: next(iter(seen[name])) for name in names if len(seen[name]) == 1}
    return {
        "choices": [name for name in names if len(seen[name]) > 1],
        "fixed": {name: show(value) for name, value in fixed.items() if value is not None},
    }


def _importance(answer: Result, place: int) -> dict[str, Any]:
    experiment = answer.experiment
    found = importance_of(answer.trials, experiment.space.choices, experiment.objectives[place])
    return {
        "objective": found.objective,
        "told": str(found),
        "shares": [[name, round(share, 4)] for name, share in found.shares.items()],
    }


def _trials(answer: Result) -> list[dict[str, Any]]:
    measured = [trial for trial in answer.trials if trial.measured]
    known = _for_picking(answer, measured) if measured else []
    more = {trial.number: found for trial, found in zip(measured, known, strict=True)}
    return [_trial(answer, trial) | more.get(trial.number, {}) for trial in answer.trials]


def _trial(answer: Result, trial: Trial) -> dict[str, Any]:
    evaluation = trial.evaluation
    return {
        "number": trial.number,
        "name": trial.name(),
        "status": trial.status,
        "configuration": dict(trial.configuration),
        "sentence": answer.sentence(trial)[:LONGEST_MESSAGE_KEPT],
        "trust": answer.trust(trial),
        "why": trial.why[:LONGEST_MESSAGE_KEPT],
        "attempt": trial.attempt,
        "cause": trial.cause,
        "stage": evaluation.stage if evaluation is not None else None,
        "message": evaluation.message[:LONGEST_MESSAGE_KEPT] if evaluation is not None else "",
        "doubts": list(evaluation.doubts) if evaluation is not None else [],
        "seconds": evaluation.seconds.get("total") if evaluation is not None else None,
        "expected_s": trial.expected_s,
    }


def _for_picking(answer: Result, trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """Return for every measured trial its measurements and the values `picks.py` derives."""
    experiment = answer.experiment
    objectives = experiment.objectives
    _, low, high = spread_of(trials, objectives, experiment.primary)
    gain = gain_over(answer.baseline, objectives) if answer.baseline is not None else None
    return [
        {
            "figures": {
                name: [number(m.value), number(m.low), number(m.high), m.samples]
                for name, m in trial.measurements.items()
            },
            "bars": {
                o.metric: [number(ends[0]) for ends in errors(answer, [trial], o.metric)]
                for o in objectives
            },
            "low": [number(float(end)) for end in low[row]],
            "high": [number(float(end)) for end in high[row]],
            "gain": number(gain(trial)) if gain is not None else None,
            "changes": changes(experiment, trial),
        }
        for row, trial in enumerate(trials)
    ]
