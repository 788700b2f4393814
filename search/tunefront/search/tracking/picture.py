"""The front as a picture: speed against quality and memory, limits shaded."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunefront.search.answer import Answer
from tunefront.search.trial import Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {
    "front": "#d62728",
    "recommended": "#2ca02c",
    "baseline": "#1f77b4",
    "dominated": "#b0b0b0",
}
"""Also the colours of runs in MLflow."""


def role_of(answer: Answer, trial: Trial) -> str:
    """`recommended`, `baseline`, `front` or `dominated`."""
    recommended = answer.front.recommended
    if recommended is not None and trial.number == recommended.number:
        return "recommended"
    if trial.number == 0:
        return "baseline"
    return "front" if trial.number in {t.number for t in answer.front.trials} else "dominated"


def draw_front(answer: Answer, path: Path) -> None:
    """Write a PNG: the first objective against each of the others."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    objectives = [objective.metric for objective in answer.experiment.objectives]
    pairs = [(objectives[0], other) for other in objectives[1:3]] or [(objectives[0],) * 2]
    figure, axes = pyplot.subplots(1, len(pairs), figsize=(5.6 * len(pairs), 4.4), squeeze=False)
    for place, (ax, (x, y)) in enumerate(zip(axes[0], pairs, strict=True)):
        _draw_pair(ax, answer, x, y)
        if place == 0:
            ax.legend(frameon=False, fontsize=9)
    figure.suptitle(answer.experiment.name, fontsize=11, x=0.01, ha="left")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _draw_pair(ax: "Axes", answer: Answer, x: str, y: str) -> None:
    measured = [trial for trial in answer.trials if trial.measured]
    for role in ("dominated", "front", "baseline", "recommended"):
        trials = [trial for trial in measured if role_of(answer, trial) == role]
        if not trials:
            continue
        style: dict[str, Any] = {"color": COLOURS[role], "label": role}
        size = 3.5 if role == "dominated" else 6
        marker = {"baseline": "s", "recommended": "*"}.get(role, "o")
        ax.errorbar(
            [trial.value(x) for trial in trials],
            [trial.value(y) for trial in trials],
            xerr=_errors(trials, x),
            yerr=_errors(trials, y),
            fmt=marker,
            markersize=13 if role == "recommended" else size,
            elinewidth=0.8,
            zorder=3 if role in ("baseline", "recommended") else 2,
            **style,
        )
    _name_points(ax, answer, x, y)
    for limit in answer.experiment.limits:
        for metric, line in ((x, ax.axvline), (y, ax.axhline)):
            if limit.metric == metric:
                line(limit.bound, color="#888888", linestyle="--", linewidth=0.8)
    ax.set_xlabel(_label(answer, x))
    ax.set_ylabel(_label(answer, y))
    if all(trial.value(x) > 0 for trial in measured):
        ax.set_xscale("log")
    ax.grid(alpha=0.25, which="both", linewidth=0.5)
    ax.spines[["top", "right"]].set_visible(False)


def _errors(trials: list[Trial], metric: str) -> list[list[float]]:
    ends = [trial.measurements[metric] for trial in trials]
    return [
        [max(m.value - m.low, 0.0) for m in ends],
        [max(m.high - m.value, 0.0) for m in ends],
    ]


def _name_points(ax: "Axes", answer: Answer, x: str, y: str) -> None:
    named = [t for t in answer.trials if role_of(answer, t) != "dominated" and t.measured]
    for trial in named:
        ax.annotate(
            f"{trial.number:03}",
            (trial.value(x), trial.value(y)),
            textcoords="offset points",
            xytext=(6, 4),
            fontsize=7,
            color="#444444",
        )


def _label(answer: Answer, metric: str) -> str:
    known = answer.experiment.metrics[metric]
    better = "less" if known.direction == "minimize" else "more"
    unit = f", {known.unit}" if known.unit else ""
    return f"{metric}{unit} ({better} is better)"
