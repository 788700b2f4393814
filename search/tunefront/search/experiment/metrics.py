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
from tunefront.evaluators.interfaces.polled.capacity import (
    CAPACITY,
    CapacityKind,
    capacity_metric,
)
from tunefront.evaluators.measures.builtin import measures_of
from tunefront.spaces import Hardware
from tunefront.spaces.metric import LEVEL_SIGN, at_level

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
    if rate.plain_name.endswith(PER_SECOND):
        things = rate.plain_name.removesuffix(PER_SECOND)
    text = things.replace("_", " ")
    cost = Metric(
        name=f"cost_per_million_{things}",
        unit="",
        direction="minimize",
        summary=f"price of a million {text} at `price_per_hour`, in its currency",
        kind="cost",
        follows="time",
    )
    return at_level(cost, rate.level)


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
    capacity: CapacityKind | None = None,
) -> dict[str, Metric]:
    """Return all metrics that trials of an experiment can have, by name.

    Args:
        workload: The workload.
        hardware: The machine.
        priced: Whether the machine's price is known.
        needed: Metrics that are included even if this machine cannot measure them.
        measures: The measures of the search; those of the workload's catalogue if None.
        capacity: What the capacity of finalists counts; None if it is not measured.
    """
    wanted = frozenset(needed)
    able = [
        measure
        for measure in _measures(workload, measures)
        if _obstacle(measure, hardware, workload) is None
        or any(metric.name in wanted for metric in measure.metrics)
    ]
    measured = workload_metrics(workload, able)
    return {
        **measured,
        **quality_metrics(workload),
        QUALITY_DROP.name: QUALITY_DROP,
        **(cost_metrics(measured.values()) if priced else {}),
        **({CAPACITY.name: capacity_metric(capacity)} if capacity is not None else {}),
    }


def why_not_measured(
    name: str,
    hardware: Hardware,
    workload: WorkloadSpec,
    measures: Sequence[Measure] | None = None,
) -> str:
    """Return why a known metric is not measured; empty if there is no such metric."""
    measures = _measures(workload, measures)
    plain, sign, _ = name.partition(LEVEL_SIGN)
    if reason := metrics_left_out(workload).get(plain):
        return reason
    if reason := _wrong_level(plain, sign, workload, measures):
        return reason
    if name in cost_metrics(measured_metrics(measures).values()):
        return "it needs the key price_per_hour"
    for measure in measures:
        if any(metric.name == name for metric in measure.metrics):
            return _obstacle(measure, hardware, workload) or ""
    return ""


def _obstacle(measure: Measure, hardware: Hardware, workload: WorkloadSpec) -> str | None:
    """Return why a measure can't read the processes of a workload's candidates, or None."""
    if workload.server is not None and workload.server.url:
        return "the server of workload.server.url runs elsewhere, so its processes can't be watched"
    return measure.obstacle(hardware, None)


def _wrong_level(plain: str, sign: str, workload: WorkloadSpec, measures: Sequence[Measure]) -> str:
    """Return which names a measured metric has at the load levels; empty if it is not measured.

    Args:
        plain: The name without a level.
        sign: `LEVEL_SIGN` if a level was named; else empty.
        workload: The workload.
        measures: The measures of the search.
    """
    measured = workload_metrics(workload, measures)
    costs = cost_metrics(measured.values())
    names = [n for n, m in {**measured, **costs}.items() if m.plain_name == plain]
    if not names:
        return ""
    if names == [plain]:
        return f"it has no load level, or there is a single one; write {plain}" if sign else ""
    return f"it is measured at several load levels; write {' or '.join(names)}"


def _measures(workload: WorkloadSpec, measures: Sequence[Measure] | None) -> Sequence[Measure]:
    return measures_of(catalog_for(workload)) if measures is None else measures
