"""Latency under load, of the baseline and the trials of the front.

Against throughput over the load levels, and as the distribution over single requests or tokens.
"""

from typing import Any

from tunefront.evaluators import Metric
from tunefront.evaluators.interfaces.generation import SLO_SAMPLES
from tunefront.search.results.result import Result
from tunefront.search.results.view import TrialView
from tunefront.spaces.metric import reference_rate


def load_charts(result: Result) -> list[dict[str, Any]]:
    """Return a chart for each latency that the SLO limits, or for each one without an SLO.

    A line has a point at each load level. There is no chart if there is only one level.
    """
    metrics, slo = result.experiment.metrics, result.experiment.workload.slo
    levels = [metric.level for metric in metrics.values() if metric.reference_rate]
    if len(levels) < 2:
        return []
    rates = {level: reference_rate(metrics.values(), level) for level in levels}
    drawn = _drawn(result)
    found: list[dict[str, Any]] = []
    for name in slo or SLO_SAMPLES:
        at = {metric.level: metric for metric in metrics.values() if metric.plain_name == name}
        pairs = {level: (rate, at[level]) for level, rate in rates.items() if rate and level in at}
        lines = [line for view in drawn if (line := _line(view, pairs))["points"]]
        if lines:
            rate, latency = next(iter(pairs.values()))
            labels = {"across": _label(rate), "up": _label(latency)}
            found.append({"metric": name, **labels, "bound": slo.get(name), "lines": lines})
    return found


def distribution_charts(result: Result) -> list[dict[str, Any]]:
    """Return a chart for each latency and load level whose distribution was recorded.

    A line has points of a value and the percentage of requests, or of gaps between tokens, that
    are at or below it.
    """
    slo = result.experiment.workload.slo
    found: list[dict[str, Any]] = []
    for metric in result.experiment.metrics.values():
        lines = [line for view in _drawn(result) if (line := _shares(view, metric.name))["points"]]
        if lines:
            labels = {"across": _label(metric), "up": "% at or below"}
            bound = slo.get(metric.plain_name)
            found.append({"metric": metric.name, **labels, "bound": bound, "lines": lines})
    return found


def _drawn(result: Result) -> list[TrialView]:
    """Return the trials that are drawn: the best ones last, above the others."""
    drawn = [v for v in result.views.values() if v.on_front or v.role == "baseline"]
    return sorted(drawn, key=lambda view: view.role == "recommended")


def _shares(view: TrialView, name: str) -> dict[str, Any]:
    """Return the points of a trial's distribution: a value and the percentage up to it."""
    evaluation = view.trial.evaluation
    known = evaluation.distributions.get(name, ()) if evaluation is not None else ()
    points = [[value, percentage] for percentage, value in known]
    return {"trial": view.number, "role": view.role, "points": points}


def _line(view: TrialView, pairs: dict[str, tuple[Metric, Metric]]) -> dict[str, Any]:
    """Return the points of a trial: level, throughput and latency."""
    measured = view.trial.measurements
    points = [
        [level, measured[rate.name].value, measured[latency.name].value]
        for level, (rate, latency) in pairs.items()
        if rate.name in measured and latency.name in measured
    ]
    return {"trial": view.number, "role": view.role, "points": points}


def _label(metric: Metric) -> str:
    better = "less" if metric.direction == "minimize" else "more"
    name = metric.plain_name.removesuffix(f"_{metric.unit}").replace("_", " ")
    return f"{name}, {metric.unit} ({better} is better)"
