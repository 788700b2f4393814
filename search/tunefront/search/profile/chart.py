"""Bar chart of a profile: kinds of work, operators and modules, coloured by roofline bound."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tunefront.evaluators import Part, Profile, RooflineBound
from tunefront.evaluators.statistics.formatting import number_text, percent_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KIND_COLOURS: Mapping[RooflineBound, str] = {
    "compute": "#d62728",
    "memory": "#1f77b4",
    "overhead": "#e0a020",
    "unknown": "#b0b0b0",
}
BOUND_TEXTS: Mapping[RooflineBound, str] = {
    "compute": "bound by arithmetic",
    "memory": "bound by memory",
    "overhead": "overhead: far below both",
    "unknown": "not known",
}
ROWS_DRAWN = 10
"""Maximum number of operators and of modules drawn."""
LONGEST_NAME = 44
"""Maximum number of characters drawn of a name."""


def draw_profile(profile: Profile, title: str, path: Path) -> None:
    """Write a PNG with bars of milliseconds per request."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot
    from matplotlib.patches import Patch

    groups = {
        "by kind": profile.by_kind(),
        "operators": profile.by_operator()[:ROWS_DRAWN],
        "modules": profile.by_module()[:ROWS_DRAWN],
    }
    drawn = {name: parts for name, parts in groups.items() if parts}
    figure, axes = pyplot.subplots(
        1, len(drawn), figsize=(5.6 * len(drawn), 4.6), squeeze=False, layout="constrained"
    )
    roofline = profile.roofline
    gflops, gb_s = number_text(roofline.peak_gflops), number_text(roofline.peak_gb_s)
    peaks = f"peaks here: {gflops} GFLOP/s, {gb_s} GB/s"
    figure.suptitle(
        f"{title}\n{number_text(profile.request_ms)} ms a request; {peaks}", x=0.01, ha="left"
    )
    for ax, (name, parts) in zip(axes[0], drawn.items(), strict=True):
        _draw(ax, name, parts)
    legend = [Patch(color=KIND_COLOURS[bound], label=BOUND_TEXTS[bound]) for bound in KIND_COLOURS]
    figure.legend(handles=legend, loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _draw(ax: "Axes", name: str, parts: Sequence[Part]) -> None:
    places = range(len(parts))
    ax.barh(places, [p.self_ms for p in parts], color=[KIND_COLOURS[p.bound] for p in parts])
    ax.set_yticks(places, [shortened_name(part.name) for part in parts], fontsize=8)
    ax.invert_yaxis()
    for place, part in enumerate(parts):
        ax.annotate(
            percent_text(part.share, decimals=0),
            (part.self_ms, place),
            textcoords="offset points",
            xytext=(3, 0),
            va="center",
            fontsize=8,
        )
    ax.set_title(name, fontsize=10, loc="left")
    ax.set_xlabel("ms a request")
    ax.margins(x=0.14)
    ax.spines[["top", "right"]].set_visible(False)


def shortened_name(name: str) -> str:
    """Shorten a long name to its end, the most specific part of a module's name."""
    return name if len(name) <= LONGEST_NAME else f"…{name[1 - LONGEST_NAME :]}"
