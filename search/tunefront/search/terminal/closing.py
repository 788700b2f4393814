"""The end of a search's output, after the table: a plot of the front and its ties."""

from itertools import combinations
from textwrap import wrap

import numpy as np

from tunefront.evaluators import Measurement
from tunefront.evaluators.statistics.formatting import percent_text, with_spread
from tunefront.search.experiment.metrics import QUALITY_DROP
from tunefront.search.experiment.objective import Objective
from tunefront.search.front.pareto import SMALLEST_DIFFERENCE, nondominated
from tunefront.search.results.result import Result
from tunefront.search.results.view import TrialRole
from tunefront.search.study.trial import Trial
from tunefront.search.text import counted

from .plot import Point, plot

ROLE_MARKS: dict[TrialRole, str] = {
    "infeasible": "x",
    "dominated": ".",
    "front": "o",
    "baseline": "B",
    "recommended": "*",
}
"""Plot marks by role, in drawing order: later marks cover earlier ones."""
LINE = 79
CALLS = 5
"""Maximum number of ties that are listed one by one."""


def closing_lines(result: Result) -> list[str]:
    """Format the plot and the ties, each after a blank line; empty without a front."""
    lines: list[str] = []
    for part in (plot_lines(result), close_call_lines(result)):
        lines += ["", *part] if part else []
    return lines


def plot_lines(result: Result) -> list[str]:
    """Plot all measured trials in two objectives; empty without a front or with one objective."""
    pair = pair_of(result)
    if pair is None:
        return []
    x, y = pair
    points: dict[TrialRole, list[Point]] = {role: [] for role in ROLE_MARKS}
    for trial in result.trials:
        if trial.measured:
            view = result.view(trial)
            role = view.role
            name = f"{trial.number:03}" if view.shortlisted else ""
            at = (trial.value(x.metric), trial.value(y.metric))
            points[role].append(Point(x=at[0], y=at[1], mark=ROLE_MARKS[role], name=name))
    drawn = [point for found in points.values() for point in found]
    marks = [f"{found[0].mark} {role}" for role, found in points.items() if found]
    legend = "   ".join(reversed(marks))
    return [*plot(drawn, _title(result, x), _title(result, y)), "", legend]


def _title(result: Result, objective: Objective) -> str:
    unit = result.experiment.metrics[objective.metric].unit
    better = "less" if objective.direction == "minimize" else "more"
    return f"{objective.metric}{f', {unit}' if unit else ''} ({better} is better)"


def pair_of(result: Result) -> tuple[Objective, Objective] | None:
    """Return the pair of objectives with the largest front; the first one of equal pairs.

    Counted are the distinct cost vectors of the front's trials that remain nondominated when only
    these two objectives are compared. None without a front or with a single objective.
    """
    objectives, trials = result.experiment.objectives, result.front.trials
    if len(objectives) < 2 or not trials:
        return None

    def choice(pair: tuple[Objective, Objective]) -> int:
        costs = np.array([[trial.cost(objective) for objective in pair] for trial in trials])
        return len(np.unique(costs[nondominated(costs)], axis=0))

    return max(combinations(objectives, 2), key=choice)


def close_call_lines(result: Result) -> list[str]:
    """Format the pairs of tied trials on the front and the reasons; empty without ties."""
    pairs = _close_pairs(result)
    if not pairs:
        return []
    lines = ["ties on the front, and why they are tied:"]
    for one, other in pairs[:CALLS]:
        text = "; ".join(_why(result, o, one, other) for o in result.experiment.objectives)
        head = f"  {one.number:03} and {other.number:03}: "
        lines += wrap(head + text, LINE, subsequent_indent=" " * len(head), break_on_hyphens=False)
    if len(pairs) > CALLS:
        lines.append(f"  and {counted(len(pairs) - CALLS, 'more pair')}: see `=` in the table")
    return lines


def _close_pairs(result: Result) -> list[tuple[Trial, Trial]]:
    """Return each tied pair with a trial of the front once, the recommended trial's pairs first."""
    on_front = [view for view in result.shortlist if view.on_front]
    pairs: dict[frozenset[int], tuple[Trial, Trial]] = {}
    for view in sorted(on_front, key=lambda view: view.role != "recommended"):
        for other in view.ties:
            pair = (view.trial, result.views[other].trial)
            pairs.setdefault(frozenset((view.number, other)), pair)
    return list(pairs.values())


def _why(result: Result, objective: Objective, one: Trial, other: Trial) -> str:
    """Format both measurements of an objective and the reason why they are tied."""
    name = objective.metric
    drops = [trial.measurements.get(QUALITY_DROP.name) for trial in (one, other)]
    if name == result.experiment.primary.name and all(drops):
        name = QUALITY_DROP.name  # the comparison uses it: it is paired over the same items
    first, second = (trial.measurements[name] for trial in (one, other))
    unit = result.experiment.metrics[name].unit
    unit = f" {unit}" if unit else ""
    values = f"{with_spread(first)} and {with_spread(second)}{unit}"
    return f"{name} {values} ({_reason(first, second)})"


def _reason(first: Measurement, second: Measurement) -> str:
    if first.value == second.value:
        return "the same"
    values = first.value, second.value
    if abs(values[0] - values[1]) <= SMALLEST_DIFFERENCE * max(map(abs, values)):
        return f"less than {percent_text(SMALLEST_DIFFERENCE)} apart"
    return "the worse lies within the interval of the better"
