"""What OpenVINO GenAI supports and requires."""

from tunefront.evaluators.isolation.preload import PROGRAMS
from tunefront.evaluators.runtimes.instructions import BF16
from tunefront.spaces import ChoiceKind, Condition, Exclusion, Extension, Requirement

_NO_TELEMETRY = "tunefront.evaluators.runtimes.openvino.telemetry:without_telemetry"
_BF16 = Condition(choice="precision", test="==", operands=("bf16",))
_DYNAMIC = Condition(choice="quantization_method", test="==", operands=("dynamic",))
_QUANTIZED = Condition(choice="quantization_bits", test="<", operands=(16,))
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

EXTENSION = Extension(
    name="openvino-genai",
    short="ovg",
    choices=(SCHEDULER_MAX_TOKENS,),
    values={"runtime": {"openvino-genai": "OpenVINO GenAI, continuous batching"}},
    supports={
        "device": frozenset({"cpu"}),
        "precision": frozenset({"fp32", "bf16"}),
        "quantization_bits": frozenset({16, 8, 4}),
        "quantization_method": frozenset({"dynamic", "rtn"}),
        "group_size": None,
        "kv_cache_bits": frozenset({16, 8, 4}),
        "max_batch": None,
        "scheduler_max_tokens": None,
    },
    excludes=(
        Exclusion(
            when=(_BF16, _QUANTIZED, _DYNAMIC),
            reason="openvino quantizes activations dynamically in fp32 only",
        ),
        BF16,
        Exclusion(
            when=(_BF16,),
            unless_isa=frozenset({"avx512_bf16", "amx_bf16"}),
            reason="openvino has no bf16 kernels for this processor: it would compute in fp32",
        ),
        # Without VNNI the plugin uses the kernels of weight-only quantization.
        Exclusion(
            when=(_QUANTIZED, _DYNAMIC),
            unless_isa=frozenset({"avx512_vnni", "avx_vnni"}),
            reason="this processor has no VNNI instructions: openvino would quantize the weights "
            "only",
        ),
    ),
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
