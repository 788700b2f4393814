"""What a choice is worth: workloads, techniques, runtimes, measures, and the path through them.

Imports and works where Ray, Optuna and MLflow are absent; torch is imported when it is needed.
"""

from .candidate import CandidateRecord, load, script_of
from .evaluate import (
    Evaluation,
    Setting,
    Timeouts,
    candidate_key,
    describe_workload,
    evaluate,
    export_candidate,
    measure,
)
from .isolation import Isolation
from .measures import MEASURED_METRICS, QUALITY_DROP, Direction, Measurement, Metric, Protocol
from .measures.quality import paired_change
from .store import Store, cache_folder
from .workloads import TASKS, WorkloadSpec, build_workload, quality_metrics

__all__ = [
    "MEASURED_METRICS",
    "QUALITY_DROP",
    "TASKS",
    "CandidateRecord",
    "Direction",
    "Evaluation",
    "Isolation",
    "Measurement",
    "Metric",
    "Protocol",
    "Setting",
    "Store",
    "Timeouts",
    "WorkloadSpec",
    "build_workload",
    "cache_folder",
    "candidate_key",
    "describe_workload",
    "evaluate",
    "export_candidate",
    "load",
    "measure",
    "paired_change",
    "quality_metrics",
    "script_of",
]
