"""What candidates are measured for: metrics, and one file for every kind of measuring."""

from .measurement import Measurement
from .metrics import MEASURED_METRICS, QUALITY_DROP, Direction, Metric
from .speed import Protocol

__all__ = [
    "MEASURED_METRICS",
    "QUALITY_DROP",
    "Direction",
    "Measurement",
    "Metric",
    "Protocol",
]
