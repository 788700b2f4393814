"""The search space: choices, the space they span, and the rules that exclude combinations.

Pure Python: no torch, ray, optuna or mlflow.
"""

from .catalog import (
    EXPERIMENT,
    FP8,
    NOT_QUANTIZED,
    PRESETS,
    SHARED,
    TF32,
    Catalog,
    NumberFormatSupport,
    number_formats,
    preset_space,
    supported_formats,
)
from .choice import STAGES, Choice, Condition, Stage, Value
from .choice_kind import ChoiceKind
from .configuration import Configuration, show
from .declared import declared_kind, is_declaration
from .enumeration import Dropped, Enumeration, Region
from .errors import (
    CacheError,
    ClusterError,
    EvaluationError,
    ExperimentError,
    ExportError,
    FailureCause,
    MachineError,
    SpaceError,
    StudyError,
    TrackingError,
    TunefrontError,
    WorkloadError,
    did_you_mean,
    named_error,
    text_of,
)
from .extension import Default, Exclusion, Extension, Requirement
from .hardware import Hardware, detect_hardware
from .machine.gpus import Gpu
from .metric import Direction, Metric, Scale
from .resources import GenerationMemory, Resources, resources_of
from .rules import Context, Rule
from .space import SearchSpace, build_space

__all__ = [
    "EXPERIMENT",
    "FP8",
    "NOT_QUANTIZED",
    "PRESETS",
    "SHARED",
    "STAGES",
    "TF32",
    "CacheError",
    "Catalog",
    "Choice",
    "ChoiceKind",
    "ClusterError",
    "Condition",
    "Configuration",
    "Context",
    "Default",
    "Direction",
    "Dropped",
    "Enumeration",
    "EvaluationError",
    "Exclusion",
    "ExperimentError",
    "ExportError",
    "Extension",
    "FailureCause",
    "GenerationMemory",
    "Gpu",
    "Hardware",
    "MachineError",
    "Metric",
    "NumberFormatSupport",
    "Region",
    "Requirement",
    "Resources",
    "Rule",
    "Scale",
    "SearchSpace",
    "SpaceError",
    "Stage",
    "StudyError",
    "TrackingError",
    "TunefrontError",
    "Value",
    "WorkloadError",
    "build_space",
    "declared_kind",
    "detect_hardware",
    "did_you_mean",
    "is_declaration",
    "named_error",
    "number_formats",
    "preset_space",
    "resources_of",
    "show",
    "supported_formats",
    "text_of",
]
