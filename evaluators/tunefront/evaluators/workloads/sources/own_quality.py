"""Quality by the user's own function or command: its metric, and its scores."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.statistics.estimates import mean_of
from tunefront.evaluators.statistics.measurement import Measurement
from tunefront.evaluators.workloads.quality import Quality
from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import WorkloadError
from tunefront.spaces.metric import Metric


def own_metric(spec: WorkloadSpec, others: Sequence[Metric]) -> Metric:
    """Return the metric of the user's quality function.

    Args:
        spec: The workload.
        others: The task's own metrics.

    Raises:
        WorkloadError: If one of them has its name.
    """
    if spec.metric in [metric.name for metric in others]:
        raise WorkloadError(
            f"metric: {spec.metric} is a metric of task {spec.task}; name what {spec.own_quality} "
            "returns otherwise"
        )
    return Metric(
        name=spec.metric,
        unit="",
        direction=spec.direction,
        summary=f"what {spec.own_quality} returns",
    )


def with_scores(quality: Quality, metric: str, items: Array) -> Quality:
    """Return the quality with own scores as the primary metric.

    Args:
        quality: The quality over the rows of the data.
        metric: Name of the metric.
        items: The scores, shape `(items,)`; a single one is exact.
    """
    single = Measurement.exact(float(items[0]), "")
    found = mean_of(items) if len(items) > 1 else single
    return replace(
        quality,
        metrics={metric: found, **quality.metrics},
        items=items,
        weights=np.ones_like(items),
    )
