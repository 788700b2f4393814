"""What runtimes claim on one processor and another, every pair written down."""

import pytest
from tests.processors import PROCESSORS, hardware_with

from tunefront.spaces import RUNTIMES, claims, refusal

FOUR = ("none", "int8-dynamic", "int8-weight-only", "int4-weight-only")
STATIC = (*FOUR, "int8-static")
NO_BF16 = "this processor has no bf16 instructions: it would be emulated"
NO_BF16_KERNELS = "openvino has no bf16 kernels for this processor: it would compute in fp32"
NO_FP16 = "this processor has no fp16 arithmetic: it would be emulated"
NO_VNNI = "this processor has no VNNI instructions: openvino would quantize the weights only"
Formats = dict[str, tuple[str, ...]]
TORCH: Formats = {"fp32": FOUR, "bf16": FOUR, "fp16": ("none",)}
INDUCTOR: Formats = {"fp32": FOUR[:3], "bf16": FOUR[:3]}
ONNX: Formats = {"fp32": FOUR}
OPENVINO: Formats = {
    "fp32": STATIC,
    "bf16": ("none", "int8-weight-only", "int4-weight-only", "int8-static"),
}
WITHOUT_VNNI = tuple(word for word in STATIC if word != "int8-dynamic")
EXPECTED: dict[str, dict[str, Formats]] = {
    "avx2": {
        "torch": {"fp32": FOUR},
        "inductor": {"fp32": FOUR[:3]},
        "onnxruntime": ONNX,
        "openvino": {"fp32": WITHOUT_VNNI},
    },
    "avx2-vnni": {
        "torch": {"fp32": FOUR},
        "inductor": {"fp32": FOUR[:3]},
        "onnxruntime": ONNX,
        "openvino": {"fp32": STATIC},
    },
    "avx512": {
        "torch": {"fp32": FOUR},
        "inductor": {"fp32": FOUR[:3]},
        "onnxruntime": ONNX,
        "openvino": {"fp32": WITHOUT_VNNI},
    },
    "avx512-vnni": {
        "torch": {"fp32": FOUR},
        "inductor": {"fp32": FOUR[:3]},
        "onnxruntime": ONNX,
        "openvino": {"fp32": STATIC},
    },
    "avx512-bf16": {
        "torch": {"fp32": FOUR, "bf16": FOUR},
        "inductor": INDUCTOR,
        "onnxruntime": ONNX,
        "openvino": OPENVINO,
    },
    "amx": {"torch": TORCH, "inductor": INDUCTOR, "onnxruntime": ONNX, "openvino": OPENVINO},
    "arm": {
        "torch": {"fp32": FOUR},
        "inductor": {"fp32": FOUR[:3]},
        "onnxruntime": ONNX,
        "openvino": {"fp32": WITHOUT_VNNI},
    },
    "arm-bf16": {
        "torch": TORCH,
        "inductor": INDUCTOR,
        "onnxruntime": ONNX,
        "openvino": {"fp32": WITHOUT_VNNI},
    },
}


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("processor", PROCESSORS)
def test_a_runtime_claims_these_pairs(processor: str, runtime: str) -> None:
    formats = EXPECTED[processor][runtime]
    expected = {(precision, word) for precision, words in formats.items() for word in words}
    assert claims(runtime, hardware_with(processor)) == expected


@pytest.mark.parametrize(
    ("processor", "runtime", "claim", "reason"),
    [
        ("avx2", "torch", ("bf16", "none"), NO_BF16),
        ("avx512-vnni", "inductor", ("bf16", "int8-dynamic"), NO_BF16),
        ("avx2", "openvino", ("bf16", "none"), NO_BF16),
        ("arm-bf16", "openvino", ("bf16", "none"), NO_BF16_KERNELS),
        ("avx512-bf16", "torch", ("fp16", "none"), NO_FP16),
        ("arm", "torch", ("fp16", "none"), NO_FP16),
        ("avx2", "openvino", ("fp32", "int8-dynamic"), NO_VNNI),
        ("avx512", "openvino", ("fp32", "int8-dynamic"), NO_VNNI),
        ("arm-bf16", "openvino", ("fp32", "int8-dynamic"), NO_VNNI),
    ],
)
def test_what_the_processor_lacks_is_the_reason(
    processor: str, runtime: str, claim: tuple[str, str], reason: str
) -> None:
    assert refusal(runtime, claim, hardware_with(processor)) == reason
    assert refusal(runtime, claim, hardware_with("amx")) is None


@pytest.mark.parametrize("processor", PROCESSORS)
@pytest.mark.parametrize(
    ("runtime", "claim", "reason"),
    [
        ("onnxruntime", ("bf16", "none"), "onnxruntime does not compute in bf16"),
        ("torch", ("fp32", "int8-static"), "torch has no int8-static quantization"),
        (
            "openvino",
            ("bf16", "int8-dynamic"),
            "openvino has no int8-dynamic quantization in bf16",
        ),
    ],
)
def test_what_a_runtime_never_does_is_the_same_reason_on_every_processor(
    processor: str, runtime: str, claim: tuple[str, str], reason: str
) -> None:
    assert refusal(runtime, claim, hardware_with(processor)) == reason


def test_instruction_sets_do_not_count_on_a_gpu() -> None:
    old = hardware_with("avx2")
    assert refusal("torch", ("bf16", "none"), old) == NO_BF16
    assert refusal("torch", ("bf16", "none"), old, device="cuda") is None
    assert claims("torch", old, device="cuda") == claims("torch", hardware_with("amx"))


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("processor", PROCESSORS)
def test_a_claim_is_what_is_not_refused(processor: str, runtime: str) -> None:
    hardware = hardware_with(processor)
    precisions, quantizations = ("fp32", "bf16", "fp16"), STATIC
    for claim in ((p, q) for p in precisions for q in quantizations):
        claimed = claim in claims(runtime, hardware)
        assert claimed == (refusal(runtime, claim, hardware) is None), claim


@pytest.mark.parametrize("processor", PROCESSORS)
def test_sums_of_int8_products_saturate_on_x86_without_vnni(processor: str) -> None:
    saturating = {"avx2", "avx512"}
    assert hardware_with(processor).int8_products_saturate == (processor in saturating)
