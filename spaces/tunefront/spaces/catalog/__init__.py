"""The catalogue of choices: its value, and the choices that all workloads and runtimes share."""

from tunefront.spaces.extension import Extension

from .catalog import EXPERIMENT, Catalog
from .execution import EXTENSION as _EXECUTION
from .formats import NumberFormatSupport, number_formats, preset_space, supported_formats
from .generation import EXTENSION as _GENERATION
from .numerics import EXTENSION as _NUMERICS
from .numerics import FP8, NOT_QUANTIZED, TF32
from .presets import PRESETS
from .pruning import EXTENSION as _PRUNING
from .runtime import EXTENSION as _RUNTIME

SHARED: tuple[Extension, ...] = (_PRUNING, _RUNTIME, _NUMERICS, _EXECUTION, _GENERATION)
"""The choices that all workloads and runtimes share, in the order in which they are written."""

__all__ = [
    "FP8",
    "NOT_QUANTIZED",
    "PRESETS",
    "EXPERIMENT",
    "SHARED",
    "TF32",
    "Catalog",
    "NumberFormatSupport",
    "number_formats",
    "preset_space",
    "supported_formats",
]
