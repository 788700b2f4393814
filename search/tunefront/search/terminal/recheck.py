"""Output of a recheck: a table of recorded and current measurements, or one line."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tunefront.evaluators import Measurement
from tunefront.evaluators.statistics.formatting import (
    number_text,
    percent_text,
    with_interval,
    with_unit,
)
from tunefront.search.deploy.drift import Finding
from tunefront.search.deploy.recheck import Recheck

from .tables import table_of

if TYPE_CHECKING:
    from rich.table import Table

VERDICT_TEXTS = {"holds": "holds", "drifted": "DRIFTED", "not compared": "not compared"}


def recheck_table(found: Recheck) -> "Table":
    """Build the table of a recheck, one row per finding."""
    rows = [
        [
            f.metric,
            _cell(f.recorded),
            _cell(f.now),
            _drift(f.drift),
            VERDICT_TEXTS[f.verdict],
            f.detail,
        ]
        for f in found.findings
    ]
    return table_of(["metric", "recorded", "now", "drift", "", "why"], rows)


def recheck_lines(found: Recheck) -> list[str]:
    """Format the load of the machine, changed libraries and the verdict."""
    lines: list[str] = []
    if found.machine:
        lines.append(
            f"machine: load {number_text(found.machine['load'], decimals=1)}, "
            f"others {percent_text(found.machine['foreign'], decimals=0)}, "
            f"steal {percent_text(found.machine['steal'], decimals=0)}"
        )
    if found.libraries:
        lines.append(f"other libraries than recorded: {', '.join(found.libraries)}")
    return [*lines, f"{VERDICT_TEXTS[found.verdict]}: {found.folder}"]


def recheck_line(found: Recheck) -> str:
    """Format a recheck as one line: `14:05:10 holds: latency_ms 2.1 ms (+1.2 %), ...`."""
    parts = [_short(f) for f in found.findings if f.now is not None or f.verdict == "drifted"]
    skipped = [f.metric for f in found.findings if f.verdict == "not compared"]
    text = f"; not compared: {', '.join(skipped)}" if skipped else ""
    return f"{found.at:%H:%M:%S} {VERDICT_TEXTS[found.verdict]}: {', '.join(parts)}{text}"


def history_table(rechecks: Sequence[Mapping[str, Any]]) -> "Table":
    """Build the table of rechecks in the given order, with the drift of each metric."""
    names = list(
        dict.fromkeys(
            f["metric"] for one in rechecks for f in one["findings"] if f["drift"] is not None
        )
    )
    rows: list[list[str]] = []
    for one in rechecks:
        drifts = {f["metric"]: f["drift"] for f in one["findings"]}
        wrong = [f["metric"] for f in one["findings"] if f["verdict"] == "drifted"]
        text = f"{VERDICT_TEXTS[one['verdict']]}{': ' if wrong else ''}{', '.join(wrong)}"
        rows.append([one["at"].replace("T", " "), *(_drift(drifts.get(n)) for n in names), text])
    return table_of(["rechecked", *names, ""], rows)


def _short(finding: Finding) -> str:
    if finding.now is None:
        return f"{finding.metric} {VERDICT_TEXTS[finding.verdict]}: {finding.detail}"
    drifted = f" {VERDICT_TEXTS[finding.verdict]}" if finding.verdict == "drifted" else ""
    return f"{finding.metric} {with_unit(finding.now)} ({_drift(finding.drift)}){drifted}"


def _cell(measurement: Measurement | None) -> str:
    return "-" if measurement is None else with_interval(measurement)


def _drift(share: float | None) -> str:
    return "-" if share is None else percent_text(share, decimals=1, sign=True)
