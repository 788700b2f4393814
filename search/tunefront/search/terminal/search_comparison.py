"""Output of a comparison of two searches: differences, then fronts, then measurements."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunefront.evaluators import Measurement
from tunefront.evaluators.isolation.codec import to_plain
from tunefront.evaluators.statistics.formatting import (
    PERCENT_DECIMALS,
    number_text,
    percent_text,
    ratio_text,
    value_text,
)
from tunefront.search.results.archive import RecordedSearch
from tunefront.search.results.change import TIED, Change
from tunefront.search.results.search_comparison import SearchComparison, SearchRow
from tunefront.search.results.standing import Standing
from tunefront.search.study.trial import Trial
from tunefront.search.text import counted

from .tables import print_table, table_of

if TYPE_CHECKING:
    from rich.table import Table

BY_CHANCE = 0.05
"""Share of unchanged measurements that fall outside a 95 % interval by chance."""


def print_search_comparison(comparison: SearchComparison) -> None:
    """Print the whole comparison as tables and text."""
    print("\n".join(_head(comparison)))
    if comparison.differences:
        print_table(_differences_table(comparison))
    print("\n".join(_bases(comparison)))
    if any(row.on_front for row in comparison.rows):
        print_table(_fronts_table(comparison))
    shown = [row for row in comparison.rows if row.common and (row.on_front or _baseline(row))]
    if shown and (comparison.same_hardware or comparison.same_baseline):
        print_table(_changes_table(comparison, shown))
    print("\n".join([*_counts(comparison), *_recommended(comparison), *_shares(comparison)]))


def _head(comparison: SearchComparison) -> list[str]:
    sides = (("before", comparison.before), ("after ", comparison.after))
    return [f"{name}  {_search_line(search)}" for name, search in sides]


def _search_line(search: RecordedSearch) -> str:
    result = search.result
    folder = search.folder
    shown = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    text = f"{search.experiment.name} ({shown}): {result.counts()}"
    if search.started is not None and search.ended is not None:
        text += f", {search.started:%Y-%m-%d %H:%M} to {search.ended:%Y-%m-%d %H:%M}"
    return text


def _differences_table(comparison: SearchComparison) -> "Table":
    rows = [[d.name, d.before, d.after] for d in comparison.differences]
    return table_of(["what differs", "before", "after"], rows)


def _bases(comparison: SearchComparison) -> list[str]:
    lines = [f"the same: {', '.join(comparison.same) or 'nothing'}"]
    if comparison.same_hardware and comparison.same_baseline:
        text = "values are compared directly, and as multiples of each search's own baseline"
    elif comparison.same_hardware:
        text = "the baselines differ: values are compared directly, not as multiples of them"
    elif comparison.same_baseline:
        text = "other hardware: only multiples are compared, those of each search's own baseline"
    else:
        text = (
            "other hardware, and baselines that differ or failed: no values can be compared, only "
            "which configurations are on the fronts"
        )
    return [*lines, text]


def _fronts_table(comparison: SearchComparison) -> "Table":
    rows = [
        [_label(row), _place(row.before), _place(row.after), _why(row)]
        for row in comparison.rows
        if row.on_front
    ]
    return table_of(["on a front", "before", "after", "why"], rows)


def _label(row: SearchRow) -> str:
    """Format the configuration as in its trials' names."""
    trial = row.after.trial or row.before.trial
    return row.configuration.label() if trial is None else trial.catalog.label(trial.configuration)


def _place(standing: Standing) -> str:
    number = "" if standing.trial is None else f" ({standing.trial.number:03})"
    return f"{standing.place}{number}"


def _why(row: SearchRow) -> str:
    """Return why the configuration is missing on one front; empty if it is on both."""
    return row.before.reason or row.after.reason


def _changes_table(comparison: SearchComparison, shown: Sequence[SearchRow]) -> "Table":
    header = ["measured in both", "objective"]
    if comparison.same_hardware:
        header += ["before", "after", "change", ""]
    if comparison.same_baseline:
        header += ["to baseline\nbefore", "to baseline\nafter", "change", ""]
    rows: list[list[str]] = []
    for row in shown:
        for place, objective in enumerate(comparison.objectives):
            name = objective.metric
            cells = [_label(row) if place == 0 else "", name]
            if comparison.same_hardware:
                cells += _cells(row.values.get(name))
            if comparison.same_baseline:
                cells += _cells(row.multiples.get(name))
            rows.append(cells)
    return table_of(header, rows)


def _cells(change: Change | None) -> list[str]:
    if change is None:
        return ["-", "-", "-", "-"]
    return [
        _side(change.before),
        _side(change.after),
        change_text(change),
        change.verdict,
    ]


def _side(found: Measurement) -> str:
    """Format a value of one search; a multiple of its baseline with the direction."""
    return ratio_text(found.value) or "the same" if found.unit == "x" else value_text(found)


def change_text(change: Change) -> str:
    """Format a change with its interval: `+4.1 % (+1.2 to +7)`; absolute changes have a unit."""
    scale, unit = (100.0, " %") if change.relative else (1.0, f" {change.after.unit}".rstrip())
    decimals = PERCENT_DECIMALS if unit == " %" else None
    value, low, high = (
        number_text(scale * end, decimals=decimals, sign=True)
        for end in (change.change, change.low, change.high)
    )
    return f"{value}{unit} ({low} to {high})" if low != high else f"{value}{unit}"


def _baseline(row: SearchRow) -> bool:
    return any(s.trial is not None and s.trial.number == 0 for s in (row.before, row.after))


def _counts(comparison: SearchComparison) -> list[str]:
    """Format how many common configurations changed by each objective, and how many by chance."""
    common = [row for row in comparison.rows if row.common]
    if not (common and (comparison.same_hardware or comparison.same_baseline)):
        return []
    basis = "as multiples of the baseline" if comparison.same_baseline else "as they are"
    lines = [f"{counted(len(common), 'configuration')} measured in both, {basis}:"]
    for objective in comparison.objectives:
        name = objective.metric
        maps = [row.multiples if comparison.same_baseline else row.values for row in common]
        found = [changes[name].verdict for changes in maps if name in changes]
        if found:
            lines.append(
                f"  {name}: {found.count('better')} better, {found.count('worse')} worse, "
                f"{found.count(TIED)} tied (by chance about "
                f"{number_text(BY_CHANCE * len(found), decimals=1)} would be)"
            )
    return [*lines, *_level(comparison, common)]


def _level(comparison: SearchComparison, common: Sequence[SearchRow]) -> list[str]:
    """Format the changes of the baseline, which show a change of the machine or its libraries."""
    if not (comparison.same_hardware and comparison.same_baseline):
        return []
    base = next(row for row in common if _baseline(row))
    moved = [f"{n} {change_text(c)}" for n, c in base.values.items() if c.verdict != TIED]
    if not moved:
        return []
    return [f"the baseline itself changed, and with it all direct comparisons: {', '.join(moved)}"]


def _recommended(comparison: SearchComparison) -> list[str]:
    lines: list[str] = []
    for name, search in (("before", comparison.before), ("after ", comparison.after)):
        lines.append(f"recommended {name}  {search.result.headline()}")
    trials = [s.result.front.recommended for s in (comparison.before, comparison.after)]
    if trials[0] is None or trials[1] is None:
        return lines
    rows = [comparison.row_of(trials[0]), comparison.row_of(trials[1])]
    if rows[0] is rows[1]:
        return [*lines, "  the same configuration"]
    return [
        *lines,
        f"  recommended before; its place after: {_standing_text(rows[0].after)}",
        f"  recommended after; its place before: {_standing_text(rows[1].before)}",
    ]


def _standing_text(standing: Standing) -> str:
    why = f": {standing.reason}" if standing.reason else ""
    return f"{_place(standing)}{why}"


def _shares(comparison: SearchComparison) -> list[str]:
    if comparison.shares is None:
        return []
    before, after = comparison.shares
    return [
        f"of what both fronts dominate together, the one before dominates "
        f"{percent_text(before, decimals=1)}, the one after {percent_text(after, decimals=1)}"
    ]


def search_comparison_record(comparison: SearchComparison) -> dict[str, Any]:
    """Return the whole comparison as plain JSON values."""
    shares = comparison.shares
    return {
        "schema": 1,
        "before": _search_record(comparison.before),
        "after": _search_record(comparison.after),
        "differences": {
            d.name: {"before": d.before, "after": d.after} for d in comparison.differences
        },
        "same": list(comparison.same),
        "objectives": {o.metric: o.direction for o in comparison.objectives},
        "same_hardware": comparison.same_hardware,
        "same_baseline": comparison.same_baseline,
        "hypervolume_share": None if shares is None else {"before": shares[0], "after": shares[1]},
        "configurations": [_row_record(row) for row in comparison.rows],
    }


def _search_record(search: RecordedSearch) -> dict[str, Any]:
    recommended = search.result.front.recommended
    return {
        "name": search.experiment.name,
        "folder": str(search.folder),
        "trials": len(search.result.trials),
        "started": search.started.isoformat() if search.started else None,
        "ended": search.ended.isoformat() if search.ended else None,
        "front": [trial.number for trial in search.result.front.trials],
        "recommended": recommended.number if recommended is not None else None,
        "headline": search.result.headline(),
    }


def _row_record(row: SearchRow) -> dict[str, Any]:
    return {
        "configuration": dict(row.configuration),
        "before": _standing_record(row.before),
        "after": _standing_record(row.after),
        "values": _changes_record(row.values),
        "multiples": _changes_record(row.multiples),
    }


def _standing_record(standing: Standing) -> dict[str, Any]:
    trial: Trial | None = standing.trial
    number = trial.number if trial is not None else None
    return {"trial": number, "place": standing.place, "reason": standing.reason}


def _changes_record(changes: Mapping[str, Change]) -> dict[str, Any]:
    return {name: to_plain(change) for name, change in changes.items()}


def search_comparison_csv(comparison: SearchComparison) -> str:
    """Format the comparison as CSV, one row per configuration and objective."""
    header = [
        "configuration",
        "trial_before",
        "place_before",
        "trial_after",
        "place_after",
        "reason",
        "objective",
    ]
    parts = ("before", "after", "change", "low", "high", "verdict")
    for basis in ("value", "multiple"):
        header += [f"{basis}_{part}" for part in parts]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for row in comparison.rows:
        sides = [cell for s in (row.before, row.after) for cell in (_number(s), s.place)]
        for objective in comparison.objectives:
            cells = [_label(row), *sides, _why(row), objective.metric]
            for changes in (row.values, row.multiples):
                cells += _parts(changes.get(objective.metric))
            writer.writerow(cells)
    return text.getvalue()


def _number(standing: Standing) -> str:
    return "" if standing.trial is None else str(standing.trial.number)


def _parts(change: Change | None) -> list[str]:
    if change is None:
        return [""] * 6
    numbers = (change.before.value, change.after.value, change.change, change.low, change.high)
    return [*map(repr, numbers), change.verdict]
