"""What OpenVINO GenAI supports and requires."""

from collections.abc import Mapping

from tunefront.evaluators.isolation.preload import PROGRAMS
from tunefront.evaluators.runtimes.openvino.exclusions import CPU_PLUGIN
from tunefront.spaces import ChoiceKind, Default, Extension, Requirement, Value

_NO_TELEMETRY = "tunefront.evaluators.runtimes.openvino.telemetry:without_telemetry"
_KV_8_BITS: Mapping[str, Value] = {"kv_cache_bits": 8}
_8_BITS: Mapping[str, Value] = {**_KV_8_BITS, "quantization_bits": 8}
DEFAULT_MAX_TOKENS = 256
"""The engine's own default of `scheduler_max_tokens`."""

SCHEDULER_MAX_TOKENS = ChoiceKind(
    name="scheduler_max_tokens",
    stage="execution",
    default=DEFAULT_MAX_TOKENS,
    help="Largest number of tokens, of prompts and responses, that one step of OpenVINO GenAI "
    "computes; longer prompts take several steps.",
    low=16,
    high=65_536,
    whole=True,
    log=True,
    unit="tokens",
    short="mt",
    changes_outputs=False,
)

PREFIX_CACHE = ChoiceKind(
    name="prefix_cache",
    stage="execution",
    default=False,
    help="Whether OpenVINO GenAI keeps the KV cache of prompts for later ones that begin alike.",
    words={False: "nothing of a prompt is kept", True: "blocks of 32 tokens are shared"},
    short="prefix=",
    changes_outputs=False,
)

EXTENSION = Extension(
    name="openvino-genai",
    short="ovg",
    choices=(SCHEDULER_MAX_TOKENS, PREFIX_CACHE),
    values={"runtime": {"openvino-genai": "OpenVINO GenAI, continuous batching"}},
    supports={
        "device": frozenset({"cpu"}),
        "precision": frozenset({"fp32", "bf16"}),
        "quantization_bits": frozenset({16, 8, 4}),
        "quantization_method": frozenset({"dynamic", "rtn"}),
        "group_size": None,
        "kv_cache_bits": frozenset({16, 8, 4}),
        "max_batch": None,
        "prompt_lookup_tokens": None,
        "scheduler_max_tokens": None,
        "prefix_cache": None,
    },
    defaults=(
        Default(alternatives=({**_KV_8_BITS, "precision": "bf16"}, _KV_8_BITS)),
        Default(
            alternatives=(
                {**_8_BITS, "quantization_method": "dynamic"},
                {**_8_BITS, "quantization_method": "rtn", "precision": "bf16"},
                {**_8_BITS, "quantization_method": "rtn"},
            ),
            suffix="with 8-bit weights",
        ),
    ),
    excludes=CPU_PLUGIN,
    requires=(
        Requirement(distribution="openvino-genai", extra="openvino-genai"),
        Requirement(distribution="openvino", extra="openvino-genai"),
        Requirement(distribution="nncf", extra="openvino-genai"),
        Requirement(distribution="transformers", extra="openvino-genai"),
    ),
    interfaces=frozenset({"generation"}),
    imports={"build": PROGRAMS, "open": ("numpy", _NO_TELEMETRY, "openvino_genai")},
    provides={
        "runtime": "tunefront.evaluators.runtimes.openvino_genai.runtime:OpenVinoGenAi",
    },
)
