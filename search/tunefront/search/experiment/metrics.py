"""The metrics of an experiment: measured ones, quality, and those that the search derives."""

from collections.abc import Iterable, Sequence

from tunefront.evaluators import (
    Measure,
    Metric,
    WorkloadSpec,
    catalog_for,
    measured_metrics,
    metrics_left_out,
    quality_metrics,
    workload_metrics,
)
from tunefront.evaluators.measures.builtin import measures_of
from tunefront.spaces import Hardware

QUALITY_DROP = Metric(
    name="quality_drop",
    unit="%",
    direction="minimize",
    summary="loss of the workload's quality metric against the baseline's, in percent of it",
)
SECOND = "/s"
"""End of the unit of a metric that is a rate."""
PER_SECOND = "_per_second"
"""End of the name of a metric that is a rate, after the name of what it counts."""


def cost_metric(rate: Metric) -> Metric:
    """Return the metric of what a million of the things that a rate counts cost."""
    things = rate.unit.removesuffix(SECOND)
    if rate.name.endswith(PER_SECOND):
        things = rate.name.removesuffix(PER_SECOND)
    text = things.replace("_", " ")
    return Metric(
        name=f"cost_per_million_{things}",
        unit="",
        direction="minimize",
        summary=f"price of a million {text} at `price_per_hour`, in its currency",
        kind="cost",
        follows="time",
    )


def rates_of(metrics: Iterable[Metric]) -> list[Metric]:
    """Return the metrics that count things per second."""
    return [m for m in metrics if m.follows == "rate" and m.unit.endswith(SECOND)]


def cost_metrics(metrics: Iterable[Metric]) -> dict[str, Metric]:
    """Return the costs that follow from some metrics and a price, by name."""
    costs = (cost_metric(rate) for rate in rates_of(metrics))
    return {cost.name: cost for cost in costs}


def metrics_of(
    workload: WorkloadSpec,
    hardware: Hardware,
    *,
    priced: bool,
    needed: Iterable[str] = (),
    measures: Sequence[Measure] | None = None,
) -> dict[str, Metric]:
    """Return all metrics that trials of an experiment can have, by name.

    Args:
        workload: The workload.
        hardware: The machine.
        priced: Whether the machine's price is known.
        needed: Metrics that are included even if this machine cannot measure them.
        measures: The measures of the search; those of the workload's catalogue if None.
    """
    wanted = frozenset(needed)
    able = [
        measure
        for measure in _measures(workload, measures)
        if measure.obstacle(hardware, None) is None
        or any(metric.name in wanted for metric in measure.metrics)
    ]
    measured = workload_metrics(workload, able)
    return {
        **measured,
        **quality_metrics(workload),
        QUALITY_DROP.name: QUALITY_DROP,
        **(cost_metrics(measured.values()) if priced else {}),
    }


def why_not_measured(
    name: str,
    hardware: Hardware,
    workload: WorkloadSpec,
    measures: Sequence[Measure] | None = None,
) -> str:
    """Return why a known metric is not measured; empty if there is no such metric."""
    measures = _measures(workload, measures)
    if reason := metrics_left_out(workload).get(name):
        return reason
    if name in cost_metrics(measured_metrics(measures).values()):
        return "it needs the key price_per_hour"
    for measure in measures:
        if any(metric.name == name for metric in measure.metrics):
            return measure.obstacle(hardware, None) or ""
    return ""


def _measures(workload: WorkloadSpec, measures: Sequence[Measure] | None) -> Sequence[Measure]:
    return measures_of(catalog_for(workload)) if measures is None else measures
