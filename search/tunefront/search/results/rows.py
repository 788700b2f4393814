"""Trials as JSON, table rows and CSV."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from tunefront.evaluators.isolation.codec import to_plain
from tunefront.search.study.trial import Trial
from tunefront.spaces import show

from .result import Result


def trial_record(trial: Trial, warnings: Sequence[str] | None = None) -> dict[str, Any]:
    """Return everything recorded about a trial as plain JSON values.

    Args:
        trial: The trial.
        warnings: Those of its view, with what the search adds; those of the evaluation if None.
    """
    evaluation = trial.evaluation
    interim = evaluation.interim if evaluation else None
    own = evaluation.warnings if evaluation else ()
    return {
        "number": trial.number,
        "status": trial.status,
        "reason": trial.reason,
        "attempt": trial.attempt,
        "expected_s": trial.expected_s,
        "expected": {name: list(ends) for name, ends in trial.expected.items()},
        "configuration": dict(trial.configuration),
        "measurements": {n: to_plain(m) for n, m in trial.measurements.items()},
        "broken_limits": [str(limit) for limit in trial.broken],
        "cause": evaluation.cause if evaluation else None,
        "stage": evaluation.stage if evaluation else None,
        "message": evaluation.message if evaluation else "",
        "log": list(evaluation.log) if evaluation else [],
        "warnings": list(own if warnings is None else warnings),
        "interim": asdict(interim) if interim else None,
        "facts": dict(evaluation.facts) if evaluation else {},
        "machine": dict(evaluation.machine) if evaluation else {},
        "seconds": dict(evaluation.seconds) if evaluation else {},
        "reused": list(evaluation.reused) if evaluation else [],
        "started": trial.started.isoformat() if trial.started else None,
        "ended": trial.ended.isoformat() if trial.ended else None,
    }


def trials_json(result: Result, trials: Sequence[Trial] | None = None) -> str:
    """Return trials as a JSON array; all trials of the result if None."""
    chosen = result.trials if trials is None else trials
    records = [trial_record(trial, result.view(trial).warnings) for trial in chosen]
    return json.dumps(records, indent=1)


def rows(result: Result, trials: Sequence[Trial]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows: number, status, choices, metrics with interval ends, cause."""
    choices = [choice.name for choice in result.experiment.space.choices]
    metrics = [n for n in result.experiment.metrics if any(n in t.measurements for t in trials)]
    ends = [f"{name}{end}" for name in metrics for end in ("", "_low", "_high")]
    header = ["number", "status", *choices, *ends, "cause"]
    table: list[list[str]] = []
    for trial in trials:
        row = [str(trial.number), trial.status]
        row += [show(trial.configuration[n]) if n in trial.configuration else "" for n in choices]
        for name in metrics:
            found = trial.measurements.get(name)
            row += [repr(v) for v in (found.value, found.low, found.high)] if found else [""] * 3
        table.append([*row, trial.cause])
    return header, table


def trials_csv(result: Result, trials: Sequence[Trial] | None = None) -> str:
    """Return trials as CSV; all trials of the result if None."""
    header, table = rows(result, result.trials if trials is None else trials)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(table)
    return text.getvalue()
