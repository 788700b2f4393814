"""What candidates are measured for: metrics, and one file for every kind of measuring."""

from .energy import energy_is_counted
from .measurement import Measurement
from .metrics import (
    COST_METRICS,
    ENERGY_METRICS,
    GPU_METRICS,
    MEASURED_METRICS,
    QUALITY_DROP,
    Direction,
    Metric,
)
from .speed import Protocol

__all__ = [
    "COST_METRICS",
    "ENERGY_METRICS",
    "GPU_METRICS",
    "MEASURED_METRICS",
    "QUALITY_DROP",
    "Direction",
    "Measurement",
    "Metric",
    "Protocol",
    "energy_is_counted",
]
