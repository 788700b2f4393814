"""Runtimes and devices, with the number formats of each and the instruction sets they need."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from .kind import ChoiceKind

Claim = tuple[str, str]
"""A pair of precision and quantization."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instructions:
    """Instruction sets of which a processor needs at least one for a number format.

    Attributes:
        word: The precision or quantization that needs them.
        any_of: Their names, as in `Hardware.isa`.
        lack: The reason to report if the processor has none of them.
    """

    word: str
    any_of: frozenset[str]
    lack: str


BF16 = Instructions(
    word="bf16",
    any_of=frozenset({"avx512_bf16", "amx_bf16", "bf16"}),
    lack="this processor has no bf16 instructions: it would be emulated",
)
FP16 = Instructions(
    word="fp16",
    any_of=frozenset({"avx512_fp16", "asimdhp"}),
    lack="this processor has no fp16 arithmetic: it would be emulated",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeFacts:
    """Requirements and capabilities of a runtime; `claims` returns those that a machine can run.

    Attributes:
        summary: One-line description.
        needs: Distributions that must be installed.
        extra: The extra of this project that installs them; empty if none is needed.
        devices: Devices it runs on.
        formats: Pairs of precision and quantization it runs on a processor with all instruction
            sets.
        instructions: Instruction sets that some of the formats need.
    """

    summary: str
    needs: tuple[str, ...]
    extra: str
    devices: frozenset[str]
    formats: frozenset[Claim]
    instructions: tuple[Instructions, ...] = (BF16, FP16)

    @property
    def precisions(self) -> frozenset[str]:
        """The precisions it runs with at least one quantization."""
        return frozenset(precision for precision, _ in self.formats)

    @property
    def quantizations(self) -> frozenset[str]:
        """The quantizations it runs in at least one precision."""
        return frozenset(quantization for _, quantization in self.formats)


def _pairs(precisions: tuple[str, ...], quantizations: tuple[str, ...]) -> frozenset[Claim]:
    return frozenset((p, q) for p in precisions for q in quantizations)


_TORCHAO = ("none", "int8-dynamic", "int8-weight-only", "int4-weight-only")

RUNTIMES: Mapping[str, RuntimeFacts] = MappingProxyType(
    {
        "torch": RuntimeFacts(
            summary="PyTorch, operator by operator (an exported program, run eagerly)",
            needs=("torch",),
            extra="",
            devices=frozenset({"cpu", "cuda"}),
            formats=_pairs(("fp32", "bf16"), _TORCHAO) | _pairs(("fp16",), ("none",)),
        ),
        "inductor": RuntimeFacts(
            summary="torch.compile's Inductor, compiled ahead of time (AOTInductor)",
            needs=("torch",),
            extra="",
            devices=frozenset({"cpu", "cuda"}),
            formats=_pairs(("fp32", "bf16"), ("none", "int8-dynamic", "int8-weight-only")),
        ),
        "onnxruntime": RuntimeFacts(
            summary="ONNX Runtime, transformer blocks fused",
            needs=("onnx", "onnxscript", "onnxruntime"),
            extra="onnxruntime",
            devices=frozenset({"cpu"}),
            formats=_pairs(("fp32",), _TORCHAO),
        ),
        "openvino": RuntimeFacts(
            summary="OpenVINO, int8 and int4 by NNCF",
            needs=("openvino", "nncf"),
            extra="openvino",
            devices=frozenset({"cpu"}),
            # The plugin quantizes activations dynamically in fp32 only, not in bf16.
            formats=_pairs(("fp32", "bf16"), (*_TORCHAO, "int8-static"))
            - {("bf16", "int8-dynamic")},
            instructions=(
                BF16,
                Instructions(
                    word="bf16",
                    any_of=frozenset({"avx512_bf16", "amx_bf16"}),
                    lack="openvino has no bf16 kernels for this processor: it would compute in "
                    "fp32",
                ),
                # Without VNNI the plugin uses the kernels of int8-weight-only.
                Instructions(
                    word="int8-dynamic",
                    any_of=frozenset({"avx512_vnni", "avx_vnni"}),
                    lack="this processor has no VNNI instructions: openvino would quantize the "
                    "weights only",
                ),
            ),
        ),
    }
)

RUNTIME = ChoiceKind(
    name="runtime",
    stage="runtime",
    default="torch",
    help="What runs the model.",
    words={name: facts.summary for name, facts in RUNTIMES.items()},
)

DEVICE = ChoiceKind(
    name="device",
    stage="runtime",
    default="cpu",
    help="Where the model runs.",
    words={"cpu": "the processor", "cuda": "an NVIDIA GPU"},
)
