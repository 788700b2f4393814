"""The interface `generation`: the names that engines, workloads and callers use."""

from .endpoint import GenerationEndpoint, Scorer, TokenEvent
from .interface import SAMPLE, Generation
from .load_generator import generate
from .load_spec import DEFAULT_OUTPUT_TOKENS, LoadSpec, check_slo
from .metrics import GENERATION_METRICS, SLO_SAMPLES
from .requests import GenerationRequest, GenerationResponse

__all__ = [
    "DEFAULT_OUTPUT_TOKENS",
    "GENERATION_METRICS",
    "SAMPLE",
    "SLO_SAMPLES",
    "Generation",
    "GenerationEndpoint",
    "GenerationRequest",
    "GenerationResponse",
    "LoadSpec",
    "Scorer",
    "TokenEvent",
    "check_slo",
    "generate",
]
