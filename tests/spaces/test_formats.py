"""The number formats of each runtime on one processor and another, all of them written down."""

from dataclasses import replace

import pytest
from tests.processors import PROCESSORS, hardware_with

from tunefront.evaluators import builtin_catalog
from tunefront.spaces import Gpu, Hardware, number_formats, supported_formats

CATALOG = builtin_catalog()
RUNTIMES = CATALOG.names("runtime")
FOUR = ("none", "w8 dynamic", "w8 rtn", "w4 rtn")
STATIC = (*FOUR, "w8 static")
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
    "bf16": ("none", "w8 rtn", "w4 rtn", "w8 static"),
}
WITHOUT_VNNI = tuple(word for word in STATIC if word != "w8 dynamic")
GENAI: Formats = {"fp32": ("none", "w8 rtn", "w4 rtn")}
GENAI_VNNI: Formats = {"fp32": ("none", "w8 rtn", "w4 rtn", "w8 dynamic", "w4 dynamic")}
GENAI_BF16: Formats = {**GENAI_VNNI, "bf16": GENAI["fp32"]}
ENGINES: dict[str, Formats] = {
    "server": {"fp32": ("none",)},
    "onnxruntime-genai": {"fp32": ("none", "w8 dynamic", "w8 rtn", "w4 dynamic", "w4 rtn")},
}
"""Runtimes that generate text, with the same formats on every processor."""
UNQUANTIZED: dict[str, tuple[str, ...]] = {
    "avx512-bf16": ("fp32", "bf16"),
    "amx": ("fp32", "bf16", "fp16"),
    "arm-bf16": ("fp32", "bf16", "fp16"),
}
"""Precisions of the engine transformers, by processor; elsewhere fp32 only."""
EXPECTED: dict[str, dict[str, Formats]] = {
    "avx2": {
        "torch": {"fp32": FOUR},
        "inductor": {"fp32": FOUR[:3]},
        "onnxruntime": ONNX,
        "openvino": {"fp32": WITHOUT_VNNI},
        "openvino-genai": GENAI,
    },
    "avx2-vnni": {
        "torch": {"fp32": FOUR},
        "inductor": {"fp32": FOUR[:3]},
        "onnxruntime": ONNX,
        "openvino": {"fp32": STATIC},
        "openvino-genai": GENAI_VNNI,
    },
    "avx512": {
        "torch": {"fp32": FOUR},
        "inductor": {"fp32": FOUR[:3]},
        "onnxruntime": ONNX,
        "openvino": {"fp32": WITHOUT_VNNI},
        "openvino-genai": GENAI,
    },
    "avx512-vnni": {
        "torch": {"fp32": FOUR},
        "inductor": {"fp32": FOUR[:3]},
        "onnxruntime": ONNX,
        "openvino": {"fp32": STATIC},
        "openvino-genai": GENAI_VNNI,
    },
    "avx512-bf16": {
        "torch": {"fp32": FOUR, "bf16": FOUR},
        "inductor": INDUCTOR,
        "onnxruntime": ONNX,
        "openvino": OPENVINO,
        "openvino-genai": GENAI_BF16,
    },
    "amx": {
        "torch": TORCH,
        "inductor": INDUCTOR,
        "onnxruntime": ONNX,
        "openvino": OPENVINO,
        "openvino-genai": GENAI_BF16,
    },
    "arm": {
        "torch": {"fp32": FOUR},
        "inductor": {"fp32": FOUR[:3]},
        "onnxruntime": ONNX,
        "openvino": {"fp32": WITHOUT_VNNI},
        "openvino-genai": GENAI,
    },
    "arm-bf16": {
        "torch": TORCH,
        "inductor": INDUCTOR,
        "onnxruntime": ONNX,
        "openvino": {"fp32": WITHOUT_VNNI},
        "openvino-genai": GENAI,
    },
}


def refusals(
    runtime: str, hardware: Hardware, device: str = "cpu"
) -> dict[tuple[str, str], str | None]:
    """The reason by precision and quantization; None for a supported format."""
    return {
        (str(one.values["precision"]), one.quantization): one.refusal
        for one in number_formats(CATALOG, runtime, hardware, device=device)
    }


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("processor", PROCESSORS)
def test_a_runtime_supports_these_formats(processor: str, runtime: str) -> None:
    unquantized: Formats = {one: ("none",) for one in UNQUANTIZED.get(processor, ("fp32",))}
    formats: dict[str, Formats] = {**EXPECTED[processor], **ENGINES, "transformers": unquantized}
    expected = {
        (precision, word) for precision, words in formats[runtime].items() for word in words
    }
    found = refusals(runtime, hardware_with(processor))
    assert {claim for claim, reason in found.items() if reason is None} == expected
    assert len(supported_formats(CATALOG, runtime, hardware_with(processor))) == len(expected)


@pytest.mark.parametrize(
    ("processor", "runtime", "claim", "reason"),
    [
        ("avx2", "torch", ("bf16", "none"), NO_BF16),
        ("avx512-vnni", "inductor", ("bf16", "w8 dynamic"), NO_BF16),
        ("avx2", "openvino", ("bf16", "none"), NO_BF16),
        ("arm-bf16", "openvino", ("bf16", "none"), NO_BF16_KERNELS),
        ("avx512-bf16", "torch", ("fp16", "none"), NO_FP16),
        ("arm", "torch", ("fp16", "none"), NO_FP16),
        ("avx2", "openvino", ("fp32", "w8 dynamic"), NO_VNNI),
        ("avx512", "openvino", ("fp32", "w8 dynamic"), NO_VNNI),
        ("arm-bf16", "openvino", ("fp32", "w8 dynamic"), NO_VNNI),
    ],
)
def test_what_the_processor_lacks_is_the_reason(
    processor: str, runtime: str, claim: tuple[str, str], reason: str
) -> None:
    assert refusals(runtime, hardware_with(processor))[claim] == reason
    assert refusals(runtime, hardware_with("amx"))[claim] is None
    lacking = {
        (one.values["precision"], one.quantization)
        for one in number_formats(CATALOG, runtime, hardware_with(processor))
        if one.lacking
    }
    assert claim in lacking


@pytest.mark.parametrize("processor", PROCESSORS)
@pytest.mark.parametrize(
    ("runtime", "claim", "reason"),
    [
        (
            "onnxruntime",
            ("bf16", "none"),
            "onnxruntime does not support precision bf16; it supports fp32",
        ),
        (
            "torch",
            ("fp32", "w8 static"),
            "torch does not support quantization_method static; it supports dynamic, fp8, rtn",
        ),
        (
            "openvino",
            ("bf16", "w8 dynamic"),
            "openvino quantizes activations dynamically in fp32 only",
        ),
    ],
)
def test_what_a_runtime_never_does_is_the_same_reason_on_every_processor(
    processor: str, runtime: str, claim: tuple[str, str], reason: str
) -> None:
    assert refusals(runtime, hardware_with(processor))[claim] == reason
    assert not any(
        one.lacking
        for one in number_formats(CATALOG, runtime, hardware_with(processor))
        if (one.values["precision"], one.quantization) == claim
    )


def test_instruction_sets_do_not_count_on_a_gpu() -> None:
    old = hardware_with("avx2")
    assert refusals("torch", old)["bf16", "none"] == NO_BF16
    on_gpu = refusals("torch", old, device="cuda")
    assert on_gpu["bf16", "none"] is None
    assert on_gpu == refusals("torch", hardware_with("amx"), device="cuda")


@pytest.mark.parametrize("runtime", ["torch", "inductor"])
def test_bf16_needs_a_gpu_that_has_it(runtime: str) -> None:
    """The least capable GPU counts; a processor without bf16 does not."""
    turing = Gpu(name="Turing", memory_mb=1, capability=(7, 5))
    ada = Gpu(name="Ada", memory_mb=1, capability=(8, 9))
    text = "this GPU has no bf16 arithmetic (compute capability below 8.0): it would be emulated"
    for gpus, expected in (((ada,), None), ((turing,), text), ((ada, turing), text)):
        here = replace(hardware_with("avx2"), gpus=gpus)
        found = refusals(runtime, here, device="cuda")
        assert found["bf16", "none"] == expected
        assert found["fp32", "none"] is None
        lacking = [one.lacking for one in number_formats(CATALOG, runtime, here, device="cuda")]
        assert any(lacking) == (expected is not None)
    here = replace(hardware_with("amx"), gpus=(turing,))
    assert refusals(runtime, here)["bf16", "none"] is None


@pytest.mark.parametrize("runtime", ["torch", "inductor"])
def test_fp8_is_for_gpus_that_multiply_it(runtime: str) -> None:
    """In 8 bits, with bf16."""

    def found(capability: tuple[int, int], device: str = "cuda") -> dict[str, str | None]:
        gpu = Gpu(name="A", memory_mb=1, capability=capability)
        here = replace(hardware_with("amx"), gpus=(gpu,))
        wanted = ("bf16", "w8 fp8"), ("fp32", "w8 fp8"), ("bf16", "w4 fp8")
        reasons = refusals(runtime, here, device=device)
        return {f"{precision} {word}": reasons[precision, word] for precision, word in wanted}

    in_bf16 = "fp8 products have results in bf16: choose the precision bf16"
    on_ada = found((8, 9))
    assert on_ada["bf16 w8 fp8"] is None
    assert on_ada["fp32 w8 fp8"] == in_bf16
    assert on_ada["bf16 w4 fp8"] is not None
    assert found((8, 6))["bf16 w8 fp8"] == (
        "this GPU has no fp8 matrix products (compute capability below 8.9)"
    )
    assert found((8, 9), "cpu")["bf16 w8 fp8"] == (
        "fp8 products are arithmetic of NVIDIA GPUs; on a processor choose another method"
    )


@pytest.mark.parametrize("processor", PROCESSORS)
def test_sums_of_int8_products_saturate_on_x86_without_vnni(processor: str) -> None:
    saturating = {"avx2", "avx512"}
    assert hardware_with(processor).int8_products_saturate == (processor in saturating)
