"""Tables and lines of `tunefront profile`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tunefront.evaluators import Part, Profile, RooflineBound
from tunefront.evaluators.statistics.formatting import number_text, percent_text
from tunefront.search.profile.advice import Suggestion, option_text
from tunefront.search.profile.chart import shortened_name
from tunefront.search.text import counted
from tunefront.spaces import show

from .tables import table_of

if TYPE_CHECKING:
    from rich.table import Table

ROWS_LISTED = 12
"""Maximum number of operators, and of modules, that are listed."""
LARGE_OVERHEAD = 0.25
"""Relative overhead of the profiler from which on shares of small operators are unreliable."""
SLOW = 1.3
"""Ratio to the trial's latency from which on a request is reported as disturbed."""
BOUND_LABELS: Mapping[RooflineBound, str] = {
    "compute": "compute-bound",
    "memory": "memory-bound",
    "overhead": "overhead",
    "unknown": "not known",
}


def profile_tables(profile: Profile) -> "list[Table]":
    """Build the tables by kind of work, by operator and, if known, by module."""
    operators, modules = profile.by_operator(), profile.by_module()
    tables = [
        _table("kind", profile.by_kind(), profile, "by kind of work"),
        _table("operator", operators[:ROWS_LISTED], profile, _title("operators", operators)),
    ]
    if modules:
        tables.append(_table("module", modules[:ROWS_LISTED], profile, _title("modules", modules)))
    return tables


def _title(what: str, parts: Sequence[Part]) -> str:
    if len(parts) <= ROWS_LISTED:
        return f"by {what}"
    left = percent_text(sum(part.share for part in parts[ROWS_LISTED:]), decimals=0)
    return f"by {what}: the first {ROWS_LISTED} of {len(parts)} (the others: {left})"


def _table(name: str, parts: Sequence[Part], profile: Profile, title: str) -> "Table":
    header = [name, "calls", "self ms", "share", "GFLOP/s", "of peak", "MB moved", "bound"]
    rows = [
        [
            shortened_name(part.name),
            number_text(part.calls),
            number_text(part.self_ms, decimals=3),
            percent_text(part.share, decimals=1),
            "-" if part.gflops is None else number_text(part.gflops, decimals=1),
            "-" if part.gflops is None else _of_peak(part.gflops, profile),
            "-" if part.moved_bytes is None else number_text(part.moved_bytes / 1e6, decimals=2),
            BOUND_LABELS[part.bound],
        ]
        for part in parts
    ]
    return table_of(header, rows, title)


def _of_peak(gflops: float, profile: Profile) -> str:
    return percent_text(gflops / profile.roofline.peak_gflops, decimals=0)


def profile_lines(
    profile: Profile, suggestions: Sequence[Suggestion], measured_ms: float | None = None
) -> list[str]:
    """Format the summary: time with and without the profiler, roofline, suggestions.

    Args:
        profile: The profile.
        suggestions: The choices that could help.
        measured_ms: The latency of the trial in ms; None if it was not measured.
    """
    measured = "" if measured_ms is None else f" (its trial measured {number_text(measured_ms)} ms)"
    lines = [
        f"request: {number_text(profile.request_ms)} ms{measured}; under the profiler "
        f"{number_text(profile.profiled_ms)} ms "
        f"({percent_text(profile.overhead, decimals=0, sign=True)}), which the rows add up to; "
        f"{profile.passes} passes over {profile.requests} requests, the middle half counts"
    ]
    if profile.overhead > LARGE_OVERHEAD:
        lines.append(
            "  the profiler takes much of that: small operators appear larger than they are"
        )
    if measured_ms is not None and profile.request_ms > SLOW * measured_ms:
        lines.append(
            "  slower than in its trial: something else keeps this machine busy, and shares may be "
            "off; profile it again"
        )
    lines += _roofline_lines(profile)
    lines += [f"note: {note}" for note in profile.notes]
    lines += ["", *suggestion_lines(suggestions)]
    return lines


def _roofline_lines(profile: Profile) -> list[str]:
    peaks = profile.roofline
    lines = [
        f"this machine: {number_text(peaks.peak_gflops)} GFLOP/s ({peaks.matmul}), "
        f"{number_text(peaks.peak_gb_s)} GB/s (a copy), "
        f"{counted(profile.facts['threads'], 'thread')}"
    ]
    matmul = next((part for part in profile.by_kind() if part.name == "matmul"), None)
    for name, part in (("matmul", matmul), ("whole", profile.whole())):
        if part is not None and part.gflops is not None:
            share = part.gflops / peaks.peak_gflops
            lines.append(
                f"  {name}: {number_text(part.gflops)} GFLOP/s, "
                f"{_of_peak(part.gflops, profile)} of the peak: "
                f"{BOUND_LABELS[part.bound]}"
            )
            if share > 1:
                lines.append(
                    "  above the peak: faster than the matrix product that was measured here"
                )
    bounds = sorted(profile.bounds().items(), key=lambda item: -item[1])
    shares = ", ".join(
        f"{BOUND_LABELS[bound]} {percent_text(share, decimals=0)}"
        for bound, share in bounds
        if share >= 0.005
    )
    lines.append(f"of the time, row by row: {shares}")
    return lines


def suggestion_lines(suggestions: Sequence[Suggestion]) -> list[str]:
    """Format the choices that could help, with the recorded evidence for each."""
    if not suggestions:
        return ["no choice of the catalogue addresses this"]
    lines = ["what could address it:"]
    for suggestion in suggestions:
        lines.append(f"  {suggestion.choice} (now {show(suggestion.now)})")
        lines += [f"    {reason}" for reason in suggestion.reasons]
        lines += [f"      {option_text(option)}" for option in suggestion.options]
    return lines
