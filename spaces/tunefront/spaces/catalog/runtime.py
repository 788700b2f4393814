"""Runtimes and devices, and what each runtime claims; the conformance suite proves every claim."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from .kind import ChoiceKind

Claim = tuple[str, str]
"""A precision together with a quantization."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeFacts:
    """What a runtime needs and what it can do.

    Attributes:
        summary: One line for people.
        needs: Distributions that must be installed.
        extra: The extra of this project that installs them.
        devices: Where it runs.
        claims: The pairs of precision and quantization it runs, honestly and read back.
    """

    summary: str
    needs: tuple[str, ...]
    extra: str
    devices: frozenset[str]
    claims: frozenset[Claim]

    @property
    def precisions(self) -> frozenset[str]:
        """The precisions it runs with any quantization."""
        return frozenset(precision for precision, _ in self.claims)

    @property
    def quantizations(self) -> frozenset[str]:
        """The quantizations it runs in any precision."""
        return frozenset(quantization for _, quantization in self.claims)


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
            claims=_pairs(("fp32", "bf16"), _TORCHAO) | _pairs(("fp16",), ("none",)),
        ),
        "inductor": RuntimeFacts(
            summary="torch.compile's Inductor, compiled ahead of time (AOTInductor)",
            needs=("torch",),
            extra="",
            devices=frozenset({"cpu", "cuda"}),
            claims=_pairs(("fp32", "bf16"), ("none", "int8-dynamic", "int8-weight-only")),
        ),
        "onnxruntime": RuntimeFacts(
            summary="ONNX Runtime, transformer blocks fused",
            needs=("onnx", "onnxscript", "onnxruntime"),
            extra="onnxruntime",
            devices=frozenset({"cpu"}),
            claims=_pairs(("fp32",), _TORCHAO),
        ),
        "openvino": RuntimeFacts(
            summary="OpenVINO, int8 and int4 by NNCF",
            needs=("openvino", "nncf"),
            extra="openvino",
            devices=frozenset({"cpu"}),
            # Activations become int8 as they come in fp32 only; in bf16 the plugin leaves them.
            claims=_pairs(("fp32", "bf16"), (*_TORCHAO, "int8-static"))
            - {("bf16", "int8-dynamic")},
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
