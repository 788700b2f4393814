"""The search space: choices, the space they span, and the rules that exclude combinations.

Pure Python: no torch, ray, optuna or mlflow.
"""

from .catalog import (
    CHOICES,
    KNOWN_GOOD,
    PRESETS,
    RUNTIMES,
    STAGE_OF,
    ChoiceKind,
    check_complete,
    choice_kind,
    claims,
    complete,
    refusal,
)
from .choice import STAGES, Choice, Condition, Stage, Value
from .configuration import Configuration, show
from .errors import (
    CacheError,
    ClusterError,
    EvaluationError,
    ExperimentError,
    ExportError,
    FailureCause,
    SpaceError,
    StudyError,
    TrackingError,
    TunefrontError,
    WorkloadError,
    did_you_mean,
)
from .hardware import Gpu, Hardware, detect_hardware
from .resources import Resources, resources_of
from .rules import RULES, Context, Rule
from .space import Dropped, Enumeration, Region, SearchSpace, build_space

__all__ = [
    "CHOICES",
    "KNOWN_GOOD",
    "PRESETS",
    "RULES",
    "RUNTIMES",
    "STAGES",
    "STAGE_OF",
    "CacheError",
    "Choice",
    "ChoiceKind",
    "ClusterError",
    "Condition",
    "Configuration",
    "Context",
    "Dropped",
    "Enumeration",
    "EvaluationError",
    "ExperimentError",
    "ExportError",
    "FailureCause",
    "Gpu",
    "Hardware",
    "Region",
    "Resources",
    "Rule",
    "SearchSpace",
    "SpaceError",
    "Stage",
    "StudyError",
    "TrackingError",
    "TunefrontError",
    "Value",
    "WorkloadError",
    "build_space",
    "check_complete",
    "choice_kind",
    "claims",
    "complete",
    "detect_hardware",
    "did_you_mean",
    "refusal",
    "resources_of",
    "show",
]
