"""The interface `generation`: the names that engines, workloads and callers use."""

from tunefront.evaluators.interfaces.polled.load_spec import (
    DEFAULT_OUTPUT_TOKENS,
    SLO_PRESETS,
    LoadSpec,
    check_slo,
    slo_of,
)
from tunefront.evaluators.interfaces.polled.metrics import SLO_SAMPLES
from tunefront.evaluators.interfaces.polled.server_spec import PromptForm, ServerApi, ServerSpec

from .endpoint import GenerationEndpoint, Scorer, TokenEvent, generate
from .interface import SAMPLE, Generation
from .limits import ModelLimits, limits_of
from .metrics import GENERATION_METRICS
from .requests import GenerationRequest, GenerationResponse, Message

__all__ = [
    "DEFAULT_OUTPUT_TOKENS",
    "GENERATION_METRICS",
    "SAMPLE",
    "SLO_PRESETS",
    "SLO_SAMPLES",
    "Generation",
    "GenerationEndpoint",
    "GenerationRequest",
    "GenerationResponse",
    "LoadSpec",
    "Message",
    "PromptForm",
    "ModelLimits",
    "Scorer",
    "ServerApi",
    "ServerSpec",
    "TokenEvent",
    "check_slo",
    "generate",
    "limits_of",
    "slo_of",
]
