"""Metrics that an evaluation measures, in addition to the workload's quality."""

from collections.abc import Mapping, Sequence

from tunefront.evaluators.interfaces.builtin import INTERFACE_METRICS
from tunefront.evaluators.measures.base import Measure
from tunefront.evaluators.measures.builtin import BUILTIN_MEASURES
from tunefront.spaces.metric import Metric

from .built import BUILT_METRICS


def measured_metrics(
    measures: Sequence[Measure] = BUILTIN_MEASURES,
    interface: Sequence[Metric] = INTERFACE_METRICS,
) -> Mapping[str, Metric]:
    """Return the metrics of interfaces, of some measures and of built candidates, by name.

    Args:
        measures: The measures of a search: the built-in ones, and those of extensions.
        interface: The metrics of the workload's interface; of all interfaces if not given.
    """
    watched = (metric for measure in measures for metric in measure.metrics)
    return {metric.name: metric for metric in (*interface, *watched, *BUILT_METRICS)}
