"""Built-in metrics by kind: name, unit, direction, summary.

These and the workload's quality metrics are all that an experiment can name.
"""

from collections.abc import Mapping
from types import MappingProxyType

from tunefront.spaces.metric import Metric


def _by_name(*metrics: Metric) -> Mapping[str, Metric]:
    return MappingProxyType({metric.name: metric for metric in metrics})


SPEED_METRICS = _by_name(
    Metric(
        name="latency_ms",
        unit="ms",
        direction="minimize",
        summary="median time of one request (one batch)",
    ),
    Metric(
        name="latency_p90_ms",
        unit="ms",
        direction="minimize",
        summary="time that 90 % of the requests stay under",
    ),
    Metric(
        name="latency_p99_ms",
        unit="ms",
        direction="minimize",
        summary="time that 99 % of the requests stay under",
    ),
    Metric(
        name="throughput",
        unit="items/s",
        direction="maximize",
        summary="items finished in a second, over all replicas",
    ),
    Metric(
        name="tokens_per_second",
        unit="tokens/s",
        direction="maximize",
        summary="tokens read in a second, over all replicas; text tasks only",
    ),
)

MEMORY_METRICS = _by_name(
    Metric(
        name="peak_memory_mb",
        unit="MB",
        direction="minimize",
        summary="peak resident memory of the process that runs the model, libraries included",
    ),
    Metric(
        name="model_memory_mb",
        unit="MB",
        direction="minimize",
        summary="peak resident memory above the idle process with its libraries loaded",
    ),
    Metric(
        name="weights_mb",
        unit="MB",
        direction="minimize",
        summary="size of the built model on disk",
    ),
)

GPU_METRICS = _by_name(
    Metric(
        name="gpu_allocated_mb",
        unit="MB",
        direction="minimize",
        summary="peak of what torch's allocator handed out on the GPUs",
    ),
    Metric(
        name="gpu_device_mb",
        unit="MB",
        direction="minimize",
        summary="peak of what torch's allocator took from the GPUs",
    ),
)

ENERGY_METRICS = _by_name(
    Metric(
        name="energy_per_item",
        unit="J",
        direction="minimize",
        summary="energy of the whole machine's packages and GPUs, an item",
    ),
)

COST_METRICS = _by_name(
    Metric(
        name="cost_per_million_items",
        unit="",
        direction="minimize",
        summary="price of a million items at `price_per_hour`, in its currency",
    ),
    Metric(
        name="cost_per_million_tokens",
        unit="",
        direction="minimize",
        summary="price of a million tokens at `price_per_hour`; text tasks only",
    ),
)

QUALITY_DROP = Metric(
    name="quality_drop",
    unit="%",
    direction="minimize",
    summary="loss of the workload's quality metric against the baseline's, in percent of it",
)

MEASURED_METRICS: Mapping[str, Metric] = MappingProxyType({**SPEED_METRICS, **MEMORY_METRICS})
"""Metrics that are measured for every workload."""
