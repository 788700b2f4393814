"""What a choice is worth: workloads, techniques, runtimes, measures, and the path through them.

Imports and works where Ray, Optuna and MLflow are absent; torch is imported when it is needed.
"""

from tunefront.evaluators.benchmark.interleaved import InterleavedRun, take_turns
from tunefront.evaluators.benchmark.outcome import NO_EARLY_STOP, InterimRule, speed_against
from tunefront.evaluators.benchmark.target import Target, TargetResult
from tunefront.evaluators.evaluation.built import CandidateRecord
from tunefront.evaluators.evaluation.evaluation import Evaluation, InterimResult
from tunefront.evaluators.evaluation.metrics import measured_metrics
from tunefront.evaluators.evaluation.protocol import Protocol
from tunefront.evaluators.evaluation.settings import EvaluationSettings, Timeouts
from tunefront.evaluators.exports.open import deployment_of
from tunefront.evaluators.exports.registry import load
from tunefront.evaluators.extensions import builtin_catalog, catalog_of
from tunefront.evaluators.isolation.process import Isolation
from tunefront.evaluators.measures.base import Measure, Reading
from tunefront.evaluators.measures.builtin import BUILTIN_MEASURES
from tunefront.evaluators.measures.energy import energy_is_counted
from tunefront.evaluators.pipelines.inference import target_of
from tunefront.evaluators.pipelines.keys import candidate_key
from tunefront.evaluators.pipelines.profile import profile_candidate
from tunefront.evaluators.pipelines.selection import (
    confirm_round,
    describe_workload,
    evaluate,
    export_candidate,
    is_built,
    metrics_left_out,
    pipeline_of,
    resources_for,
    workload_metrics,
)
from tunefront.evaluators.pipelines.tasks.describe import WorkloadDescription
from tunefront.evaluators.pipelines.workload import (
    build_workload,
    catalog_for,
    load_levels,
    quality_metrics,
)
from tunefront.evaluators.profiling.profile import (
    Part,
    Profile,
    ProfileRow,
    Roofline,
    RooflineBound,
)
from tunefront.evaluators.statistics.intervals import ratio_interval, widened
from tunefront.evaluators.statistics.measurement import Measurement
from tunefront.evaluators.statistics.paired_quality import paired_change
from tunefront.evaluators.statistics.quality_sample import QualitySample, quality_sample
from tunefront.evaluators.statistics.timing import Timing, half_width, kept_turns
from tunefront.evaluators.store.store import Store, cache_folder, prepared_folder, stages_folder
from tunefront.evaluators.workloads.base import Architecture
from tunefront.evaluators.workloads.outputs import Sample
from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces.metric import Direction, Metric, MetricKind, first_of_kind, reference_rate

from .measures.gpu import Gpus

__all__ = [
    "BUILTIN_MEASURES",
    "NO_EARLY_STOP",
    "Architecture",
    "CandidateRecord",
    "Direction",
    "Evaluation",
    "EvaluationSettings",
    "Gpus",
    "InterimResult",
    "InterimRule",
    "InterleavedRun",
    "Isolation",
    "Measure",
    "Measurement",
    "Metric",
    "MetricKind",
    "Part",
    "Profile",
    "ProfileRow",
    "Protocol",
    "QualitySample",
    "Reading",
    "Roofline",
    "RooflineBound",
    "Sample",
    "Store",
    "Target",
    "TargetResult",
    "Timeouts",
    "Timing",
    "WorkloadDescription",
    "WorkloadSpec",
    "build_workload",
    "builtin_catalog",
    "cache_folder",
    "candidate_key",
    "catalog_for",
    "catalog_of",
    "confirm_round",
    "deployment_of",
    "describe_workload",
    "energy_is_counted",
    "evaluate",
    "export_candidate",
    "first_of_kind",
    "half_width",
    "is_built",
    "kept_turns",
    "load",
    "load_levels",
    "measured_metrics",
    "metrics_left_out",
    "paired_change",
    "pipeline_of",
    "prepared_folder",
    "profile_candidate",
    "quality_metrics",
    "quality_sample",
    "ratio_interval",
    "reference_rate",
    "resources_for",
    "speed_against",
    "stages_folder",
    "take_turns",
    "target_of",
    "widened",
    "workload_metrics",
]
