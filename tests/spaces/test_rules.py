"""Combinations that can't run: every rule, every reason, and what passes beside it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.processors import PROCESSORS

from tunefront.evaluators import builtin_catalog
from tunefront.spaces import (
    Choice,
    Configuration,
    Context,
    GenerationMemory,
    Gpu,
    SearchSpace,
    Value,
    number_formats,
)
from tunefront.spaces.machine.control_groups import Limits

ContextOf = Callable[..., Context]
GPU = Gpu(name="Made-up GPU", memory_mb=81_920, capability=(9, 0))
CATALOG = builtin_catalog()
RUNTIMES = CATALOG.names("runtime")
TASKS = ("causal-lm", "text-generation")
"""A task of each interface."""
ALL_LIBRARIES = {
    needed.name: "1"
    for name in RUNTIMES
    for needed in CATALOG.extension(name).requires
    if not needed.when
}
DYNAMIC: dict[str, Value] = {"quantization_bits": 8, "quantization_method": "dynamic"}
STATIC: dict[str, Value] = {"quantization_bits": 8, "quantization_method": "static"}
WITHOUT_TORCHAO = {"libraries": ALL_LIBRARIES}
OLD_CPU = {"isa": frozenset({"avx2"})}


def obstacle(context: Context, **values: Value) -> str | None:
    anything = Choice(name="batch_size", values=(1,), stage="execution", default=1)
    space = SearchSpace(choices=(anything,), context=context, catalog=CATALOG)
    return space.obstacle(Configuration(values))


MEMORY = GenerationMemory(parameters=8 * 2**30, kv_numbers=256 * 2**20, tokens=4096, sequences=16)
"""A model of 8 billion parameters, whose sequences take 512 MB in 16 bits."""


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, "weights of 32,768 MB (32 bits) and a KV cache of 16,384 MB (16 x 4,096 tokens, 32 "
         "bits) do not fit into the 40,000 MB of this machine"),
        ({"max_batch": 7}, None),
        ({"max_batch": 8}, "weights of 32,768 MB (32 bits) and a KV cache of 8,192 MB (8 x 4,096 "
         "tokens, 32 bits) do not fit into the 40,000 MB of this machine"),
        ({"max_batch": 64, "precision": "bf16"}, None),
        ({"kv_cache_bits": 8}, None),
        ({"quantization_bits": 4, "quantization_method": "rtn", "max_batch": 64}, None),
        (
            {"device": "cuda", "precision": "bf16"},
            "weights of 16,384 MB (16 bits) and a KV cache of 8,192 MB (16 x 4,096 tokens, 16 "
            "bits) do not fit into the 20,000 MB of a GPU",
        ),
    ],
)  # fmt: skip
def test_weights_and_kv_cache_must_fit_into_memory(
    values: dict[str, Value], expected: str | None, context: ContextOf
) -> None:
    gpu = replace(GPU, memory_mb=20_000)
    known = context("text-generation", memory_mb=40_000, gpus=(gpu,))
    runtime = "transformers" if values.get("device") or "precision" in values else "openvino-genai"
    given = {"runtime": runtime, **values}
    assert obstacle(known, **given) is None
    assert obstacle(replace(known, memory=MEMORY), **given) == expected


def test_an_open_load_has_as_many_sequences_as_an_engine_takes(context: ContextOf) -> None:
    memory = replace(MEMORY, sequences=None)
    known = replace(context("text-generation", memory_mb=40_000), memory=memory)
    reason = obstacle(known, runtime="openvino-genai", quantization_bits=4, max_batch=64)
    assert reason is not None and "64 x 4,096 tokens" in reason


def test_every_rule_looks_at_known_choices() -> None:
    assert {name for rule in CATALOG.rules for name in rule.choices} <= set(CATALOG.kinds)


def test_what_is_not_chosen_runs(context: ContextOf) -> None:
    assert obstacle(context()) is None


@pytest.mark.parametrize(
    ("runtime", "expected"),
    [
        ("torch", "torch not installed"),
        ("inductor", "torch not installed"),
        (
            "onnxruntime",
            "onnx, onnxscript, onnxruntime not installed; pip install 'tunefront[onnxruntime]'",
        ),
        ("openvino", "openvino, nncf not installed; pip install 'tunefront[openvino]'"),
    ],
)
def test_a_runtime_needs_its_libraries(context: ContextOf, runtime: str, expected: str) -> None:
    assert obstacle(context(libraries={}), runtime=runtime) == expected
    assert obstacle(context(), runtime=runtime) is None


def test_only_what_is_missing_is_named(context: ContextOf) -> None:
    installed = {"onnx": "1", "onnxscript": "1"}
    text = obstacle(context(libraries=installed), runtime="onnxruntime")
    assert text == "onnxruntime not installed; pip install 'tunefront[onnxruntime]'"


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_runtime_for_the_processor_refuses_the_gpu(context: ContextOf, runtime: str) -> None:
    assert obstacle(context(), runtime=runtime, device="cuda") == (
        f"{runtime} does not support device cuda; it supports cpu"
    )


@pytest.mark.parametrize("runtime", ["torch", "inductor"])
def test_the_gpu_must_be_there(context: ContextOf, runtime: str) -> None:
    assert obstacle(context(gpus=()), runtime=runtime, device="cuda") == "no GPU is visible"
    assert obstacle(context(), runtime=runtime, device="cuda") is None
    lost = context(gpus=(), gpu_problems=("GPU-a is left out: GPU is lost",))
    told = "no GPU is visible; GPU-a is left out: GPU is lost"
    assert obstacle(lost, runtime=runtime, device="cuda") == told


@pytest.mark.parametrize("isa", ["avx512_bf16", "amx_bf16", "bf16"])
def test_bf16_runs_on_processors_that_have_it(context: ContextOf, isa: str) -> None:
    assert obstacle(context(isa=frozenset({isa})), precision="bf16") is None


def test_bf16_is_not_emulated(context: ContextOf) -> None:
    text = "this processor has no bf16 instructions: it would be emulated"
    assert obstacle(context(**OLD_CPU), precision="bf16") == text


@pytest.mark.parametrize("isa", ["avx512_fp16", "asimdhp"])
def test_fp16_runs_on_processors_that_have_it(context: ContextOf, isa: str) -> None:
    assert obstacle(context(isa=frozenset({isa})), precision="fp16") is None


def test_fp16_is_not_emulated(context: ContextOf) -> None:
    text = "this processor has no fp16 arithmetic: it would be emulated"
    assert obstacle(context(**OLD_CPU), precision="fp16") == text


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_gpu_computes_in_low_precision_next_to_any_processor(
    context: ContextOf, precision: str
) -> None:
    assert obstacle(context(**OLD_CPU), precision=precision, device="cuda") is None


@pytest.mark.parametrize("runtime", ["torch", "inductor"])
def test_quantization_in_torch_needs_torchao(context: ContextOf, runtime: str) -> None:
    text = "torchao not installed; pip install 'tunefront[quantization]'"
    quantized: dict[str, Value] = {"runtime": runtime, **DYNAMIC}
    assert obstacle(context(**WITHOUT_TORCHAO), **quantized) == text
    assert obstacle(context(), **quantized) is None
    assert obstacle(context(**WITHOUT_TORCHAO), runtime=runtime) is None


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_quantization_elsewhere_does_not_need_torchao(context: ContextOf, runtime: str) -> None:
    quantized: dict[str, Value] = {"runtime": runtime, **DYNAMIC}
    assert obstacle(context(**WITHOUT_TORCHAO), **quantized) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            {"runtime": "onnxruntime", "precision": "bf16"},
            "onnxruntime does not support precision bf16; it supports fp32",
        ),
        (
            {"runtime": "inductor", "quantization_bits": 4},
            "inductor does not support quantization_bits 4; it supports 16, 8",
        ),
        (
            {"runtime": "torch", "precision": "fp16", **DYNAMIC},
            "torch does not quantize in fp16",
        ),
        (
            {"runtime": "torch", "quantization_bits": 4, "quantization_method": "dynamic"},
            "torch quantizes activations with 8-bit weights only",
        ),
        (
            {"runtime": "onnxruntime", **STATIC},
            "onnxruntime does not support quantization_method static; it supports dynamic, rtn",
        ),
        (
            {"runtime": "openvino", "quantization_bits": 8, "sensitive_layers_kept": 0.1},
            "openvino does not support sensitive_layers_kept 0.1; it supports 0",
        ),
    ],
)
def test_a_runtime_runs_what_it_claims_only(
    context: ContextOf, values: dict[str, Value], expected: str
) -> None:
    assert obstacle(context(), **values) == expected


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("processor", PROCESSORS)
def test_on_every_processor_exactly_the_supported_formats_run(
    context: ContextOf, processor: str, runtime: str
) -> None:
    task = next(name for name in TASKS if runtime in CATALOG.runtimes(name))
    here = context(task, isa=PROCESSORS[processor])
    found = list(number_formats(CATALOG, runtime, here.hardware))
    assert any(one.refusal is None for one in found)
    for one in found:
        assert obstacle(here, runtime=runtime, **one.values) == one.refusal, one.values


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            {"batch_size": 8},
            "batch_size applies to the interface tensors, but task text-generation needs "
            "generation",
        ),
        (
            {"pruning_ratio": 0.5},
            "pruning_ratio applies to the interface tensors, but task text-generation needs "
            "generation",
        ),
        ({"batch_size": 1, "max_batch": 8}, None),
    ],
)
def test_choices_of_tensor_requests_are_left_out_where_text_is_generated(
    context: ContextOf, values: dict[str, Value], expected: str | None
) -> None:
    anything = Choice(name="threads", values=(1,), stage="execution", default=1)
    space = SearchSpace(choices=(anything,), context=context("text-generation"), catalog=CATALOG)
    assert space.obstacle(Configuration({"runtime": "transformers", **values})) == expected


def test_a_reason_names_what_the_processor_lacks(context: ContextOf) -> None:
    text = "this processor has no VNNI instructions: openvino would quantize the weights only"
    values: dict[str, Value] = {"runtime": "openvino", **DYNAMIC}
    assert obstacle(context(isa=PROCESSORS["avx2"]), **values) == text
    assert obstacle(context(isa=PROCESSORS["avx2-vnni"]), **values) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"threads": 5}, "5 threads = 5 cores, but this machine offers 4"),
        (
            {"threads": 2, "replicas": 3},
            "2 threads x 3 processes = 6 cores, but this machine offers 4",
        ),
        (
            {"threads": 1, "replicas": 4, "tensor_parallel": 2},
            "1 thread x 8 processes = 8 cores, but this machine offers 4",
        ),
    ],
)
def test_every_thread_needs_a_core(
    context: ContextOf, values: dict[str, Value], expected: str
) -> None:
    assert obstacle(context(cores=4), **values) == expected


def test_a_quota_is_named(context: ContextOf) -> None:
    text = "5 threads = 5 cores, but this machine offers 4 (CPU quota 4.5)"
    assert obstacle(context(cores=4, limits=Limits(cores=4.5)), threads=5) == text
    text = "5 threads = 5 cores, but this machine offers 4"
    assert obstacle(context(cores=4, limits=Limits(cores=8)), threads=5) == text


@pytest.mark.parametrize("values", [{"threads": 4}, {"threads": 2, "replicas": 2}])
def test_as_many_threads_as_cores_run(context: ContextOf, values: dict[str, Value]) -> None:
    assert obstacle(context(cores=4), **values) is None


def test_ranks_need_a_gpu_each(context: ContextOf) -> None:
    ranks: dict[str, Any] = {"tensor_parallel": 2, "device": "cuda"}
    assert obstacle(context(), **ranks) == "2 GPUs needed, but 1 are visible"
    assert obstacle(context(gpus=(GPU, GPU)), **ranks) is None


def test_ranks_need_whole_gpus(context: ContextOf) -> None:
    instances = (replace(GPU, uuid="MIG-1"), replace(GPU, uuid="MIG-2"))
    here = context(gpus=instances)
    text = "NCCL needs whole GPUs, but the visible ones are MIG instances"
    assert obstacle(here, tensor_parallel=2, device="cuda") == text
    assert obstacle(here, replicas=2, device="cuda") is None


def test_replicas_need_a_gpu_each(context: ContextOf) -> None:
    replicas: dict[str, Any] = {"replicas": 2, "device": "cuda"}
    assert obstacle(context(), **replicas) == "2 GPUs needed, but 1 are visible"
    assert obstacle(context(gpus=(GPU, GPU)), **replicas) is None
    assert obstacle(context(gpus=()), replicas=2) is None


def test_ranks_on_the_processor_must_be_allowed(context: ContextOf) -> None:
    text = "needs GPUs; set allow_parallel_on_cpu: true to run the ranks as CPU processes"
    assert obstacle(context(), tensor_parallel=2) == text
    assert obstacle(context(parallel_on_cpu=True), tensor_parallel=2) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            {"runtime": "inductor"},
            "inductor does not support tensor_parallel 2; it supports 1",
        ),
        (DYNAMIC, "sharded weights can't be quantized"),
        ({"replicas": 2}, "replicas of a sharded model are not supported"),
        ({"pruning_ratio": 0.5}, "sharding a pruned model is not supported"),
    ],
)
def test_what_a_sharded_model_can_not_do(
    context: ContextOf, values: dict[str, Value], expected: str
) -> None:
    here = context(parallel_on_cpu=True)
    assert obstacle(here, tensor_parallel=2, **values) == expected
    assert obstacle(here, tensor_parallel=1, **values) is None


def test_only_language_models_are_sharded(context: ContextOf) -> None:
    here = context(task="text-embedding", parallel_on_cpu=True)
    text = "tensor parallelism is supported for causal-lm, not for text-embedding"
    assert obstacle(here, tensor_parallel=2) == text
    assert obstacle(here, tensor_parallel=1) is None


@pytest.mark.parametrize(
    "values", [{}, {"runtime": "openvino"}, {"runtime": "openvino", **DYNAMIC}]
)
def test_single_zeros_gain_nothing_in_dense_matrices(
    context: ContextOf, values: dict[str, Value]
) -> None:
    text = (
        "zeros in dense matrices gain nothing; only openvino stores them packed, with static 8 bits"
    )
    assert obstacle(context(), pruning_ratio=0.5, pruning_method="magnitude", **values) == text


@pytest.mark.parametrize(
    ("ratio", "expected"), [(0.25, "packed weights gain nothing below half zeros"), (0.5, None)]
)
def test_packed_weights_gain_from_half_zeros_on(
    context: ContextOf, ratio: float, expected: str | None
) -> None:
    packed: dict[str, Value] = {"runtime": "openvino", **STATIC}
    values: dict[str, Value] = {"pruning_ratio": ratio, "pruning_method": "magnitude", **packed}
    assert obstacle(context(), **values) == expected


@pytest.mark.parametrize("method", ["ffn-channels", "heads", "layers"])
def test_smaller_matrices_run_everywhere(context: ContextOf, method: str) -> None:
    assert obstacle(context(), pruning_ratio=0.25, pruning_method=method) is None


def test_the_method_does_not_matter_where_nothing_is_cut(context: ContextOf) -> None:
    assert obstacle(context(), pruning_ratio=0.0, pruning_method="magnitude") is None


def test_the_most_telling_reason_comes_first(context: ContextOf) -> None:
    nothing = context(libraries={}, cores=1, **OLD_CPU)
    text = obstacle(nothing, runtime="openvino", precision="bf16", threads=8)
    assert text == "openvino, nncf not installed; pip install 'tunefront[openvino]'"
