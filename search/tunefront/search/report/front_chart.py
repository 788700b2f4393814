"""Chart of the front: pairs of objectives, with labelled picks and limits as lines."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from tunefront.evaluators.statistics.formatting import number_text
from tunefront.search.front.pareto import nondominated
from tunefront.search.results.result import Result
from tunefront.search.results.view import TrialRole, TrialView

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROLE_COLOURS: dict[TrialRole, str] = {
    "front": "#d62728",
    "recommended": "#2ca02c",
    "baseline": "#1f77b4",
    "dominated": "#b0b0b0",
    "infeasible": "#b0b0b0",
    "failed": "#b0b0b0",
    "running": "#b0b0b0",
}
"""Colour of each role, also used for runs in MLflow."""
MARKERS: dict[TrialRole, tuple[str, int]] = {
    "infeasible": ("x", 4),
    "dominated": ("o", 4),
    "front": ("o", 7),
    "baseline": ("s", 8),
    "recommended": ("*", 16),
}
"""Marker and size in points of each role, in drawing order."""
LOG_AXIS_FACTOR = 5.0
"""Ratio of the largest to the smallest positive value above which an axis is logarithmic."""
LETTER = (4.9, 11.0)
"""Width and height of one character of a label, in points."""
PLACES = tuple(
    (x, y) for y in (5, -13, 18, -26, 31, -39, 44) for x in (8, -8, 0) if x or abs(y) > 13
)
"""Possible label offsets from the trial, in points; x < 0 aligns right, x = 0 centres."""


def draw_front(result: Result, path: Path) -> None:
    """Write a PNG: the first objective against the next two; a single one against itself."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    objectives = [objective.metric for objective in result.experiment.objectives]
    pairs = [(objectives[0], other) for other in objectives[1:3]] or [(objectives[0],) * 2]
    size = (6.2 * len(pairs), 4.8)
    figure, axes = pyplot.subplots(1, len(pairs), figsize=size, squeeze=False, layout="constrained")
    title = textwrap.fill(result.headline(), width=60 * len(pairs))
    figure.suptitle(title, fontsize=10.5, x=0.01, ha="left", fontweight="bold")
    for ax, (x, y) in zip(axes[0], pairs, strict=True):
        _draw_pair(ax, result, x, y)
    handles = axes[0][0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=5, frameon=False)
    figure.draw_without_rendering()  # computes the layout, which label placement needs
    for ax, (x, y) in zip(axes[0], pairs, strict=True):
        _name_picks(ax, result, x, y)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _draw_pair(ax: "Axes", result: Result, x: str, y: str) -> None:
    views = [view for view in result.views.values() if view.trial.measured]
    for role, (marker, size) in MARKERS.items():
        drawn = [view for view in views if view.role == role]
        if not drawn:
            continue
        whiskers = role not in ("dominated", "infeasible")
        ax.errorbar(
            [view.trial.value(x) for view in drawn],
            [view.trial.value(y) for view in drawn],
            xerr=_error_bars(drawn, x) if whiskers else None,
            yerr=_error_bars(drawn, y) if whiskers else None,
            fmt=marker,
            markersize=size,
            elinewidth=0.8,
            zorder=3 if role in ("baseline", "recommended") else 2,
            color=ROLE_COLOURS[role],
            label=role,
        )
    _draw_limits(ax, result, x, y)
    ax.set_xlabel(_label(result, x))
    ax.set_ylabel(_label(result, y))
    ax.ticklabel_format(useOffset=False)
    if _far_apart([view.trial.value(x) for view in views]):
        _logarithmic(ax)
    ax.margins(x=0.12, y=0.12)
    ax.grid(alpha=0.25, which="both", linewidth=0.5)
    ax.spines[["top", "right"]].set_visible(False)
    _draw_edge(ax, result, x, y)


def _far_apart(values: Sequence[float]) -> bool:
    """Return whether all values are positive and span a factor above `LOG_AXIS_FACTOR`.

    Only such values get a logarithmic axis, because a linear axis always has ticks.
    """
    return bool(values) and min(values) > 0 and max(values) > LOG_AXIS_FACTOR * min(values)


def _logarithmic(ax: "Axes") -> None:
    """Make the x axis logarithmic, with ticks as plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number_text(value)))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _error_bars(views: Sequence[TrialView], metric: str) -> list[list[float]]:
    """Return the lengths of the intervals below and above the values, shape `(2, trials)`."""
    ends = [view.error_bars[metric] for view in views]
    return [[below for below, _ in ends], [above for _, above in ends]]


def _draw_limits(ax: "Axes", result: Result, x: str, y: str) -> None:
    for limit in result.experiment.limits:
        for metric, line in ((x, ax.axvline), (y, ax.axhline)):
            if limit.metric == metric:
                line(limit.bound, color="#888888", linestyle="--", linewidth=0.8)


def _draw_edge(ax: "Axes", result: Result, x: str, y: str) -> None:
    """Draw a step line through the front's trials that are nondominated in these two metrics."""
    trials = list(result.front.trials)
    if len(trials) < 2 or x == y:
        return
    signs = [
        1 if result.experiment.metrics[name].direction == "minimize" else -1 for name in (x, y)
    ]
    points = np.array([[trial.value(x), trial.value(y)] for trial in trials])
    edge = points[nondominated(points * signs)]
    edge = edge[np.argsort(edge[:, 0])]
    where: Literal["pre", "post"] = "pre" if signs[0] < 0 else "post"
    ax.step(edge[:, 0], edge[:, 1], where=where, color=ROLE_COLOURS["front"], alpha=0.45, zorder=1)


def _name_picks(ax: "Axes", result: Result, x: str, y: str) -> None:
    """Label the baseline and the picks, each at the offset with the least overlap."""
    shown = [view for view in result.shortlist if view.trial.measured]
    to_points = 72 / ax.figure.dpi
    frame = ax.get_window_extent()
    bounds = Box(frame.x0, frame.y0, frame.x1, frame.y1).scaled(to_points)
    points = {view.number: (view.trial.value(x), view.trial.value(y)) for view in shown}
    spots = {n: ax.transData.transform(point) * to_points for n, point in points.items()}
    taken = [Box(at[0] - 4, at[1] - 4, at[0] + 4, at[1] + 4) for at in spots.values()]
    for view in shown:
        if not view.picks and view.number != 0:
            continue
        name = f"{view.number:03} {view.picks[0].name if view.picks else 'baseline'}"
        boxes = [_box(spots[view.number], offset, name) for offset in PLACES]
        cost = [sum(map(box.overlap, taken)) + box.outside(bounds) for box in boxes]
        place = int(np.argmin(cost))
        taken.append(boxes[place])
        ax.annotate(
            name,
            points[view.number],
            textcoords="offset points",
            xytext=PLACES[place],
            ha=_anchor(PLACES[place][0]),
            fontsize=8.5,
            color="#222222",
            zorder=4,
            arrowprops={"arrowstyle": "-", "color": "#888888", "linewidth": 0.6, "shrinkB": 3},
        )


def _anchor(offset: float) -> Literal["left", "right", "center"]:
    return "left" if offset > 0 else "right" if offset < 0 else "center"


def _box(at: npt.NDArray[np.float64], offset: tuple[float, float], name: str) -> "Box":
    """Return the rectangle of a label at an offset from its trial at `at`, in points."""
    width = LETTER[0] * len(name)
    before = {"left": 0.0, "right": width, "center": width / 2}[_anchor(offset[0])]
    left, bottom = at[0] + offset[0] - before, at[1] + offset[1] - 2
    return Box(left, bottom, left + width, bottom + LETTER[1])


class Box(NamedTuple):
    """A rectangle, in points."""

    left: float
    bottom: float
    right: float
    top: float

    def scaled(self, factor: float) -> "Box":
        """Return the rectangle with every edge multiplied by a factor."""
        return Box(*(factor * edge for edge in self))

    def overlap(self, other: "Box") -> float:
        """Return the area of the intersection."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(width, 0.0) * max(height, 0.0)

    def outside(self, frame: "Box") -> float:
        """Return the area outside a frame."""
        whole = (self.right - self.left) * (self.top - self.bottom)
        return whole - self.overlap(frame)


def _label(result: Result, metric: str) -> str:
    known = result.experiment.metrics[metric]
    better = "less" if known.direction == "minimize" else "more"
    unit = f", {known.unit}" if known.unit else ""
    return f"{metric}{unit} ({better} is better)"
