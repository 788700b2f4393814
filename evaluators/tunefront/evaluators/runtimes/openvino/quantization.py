"""Number formats of OpenVINO graphs: plugin options, quantization by NNCF, and the read-back."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tunefront.evaluators.runtimes.base import Source
from tunefront.evaluators.runtimes.number_format import NumberFormat, quantization_facts
from tunefront.evaluators.runtimes.weights import WeightStatistics, total
from tunefront.evaluators.statistics.arrays import Array
from tunefront.spaces import EvaluationError, Value

DYNAMIC_GROUP = 32
"""Activations that share a scale with dynamic quantization."""
PRECISION_HINTS = {"fp32": "f32", "bf16": "bf16"}
"""Value of the option `INFERENCE_PRECISION_HINT` by value of the choice `precision`."""
_BITS = {"u4": 4, "i4": 4, "nf4": 4}


def plugin_options(wanted: NumberFormat) -> dict[str, str | int | float]:
    """Return the options of the plugin; they are stored in the candidate and its script."""
    dynamic = wanted.quantized and wanted.method == "dynamic"
    options: dict[str, str | int | float] = {
        "INFERENCE_PRECISION_HINT": PRECISION_HINTS[wanted.precision],
        "PERFORMANCE_HINT": "LATENCY",
        # By default int8 weights make the plugin quantize activations to int8, too.
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": DYNAMIC_GROUP if dynamic else 0,
    }
    return options


def quantized(model: Any, source: Source, wanted: NumberFormat) -> Any:
    """Return a graph with its weights, and with some methods its activations, quantized by NNCF."""
    if not wanted.quantized:
        return model
    import logging

    import nncf

    nncf.set_log_level(logging.ERROR)
    if wanted.method == "static":
        names = [port.get_any_name() for port in model.inputs]
        dataset = nncf.Dataset(
            list(source.calibration), lambda request: {name: request[name] for name in names}
        )
        return nncf.quantize(
            model,
            dataset,
            model_type=nncf.ModelType.TRANSFORMER if _attention(model) else None,
            subset_size=len(source.calibration),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                # Limit weights to 7 bits in every layer, so that no sum of two products saturates.
                overflow_fix=nncf.OverflowFix.ENABLE
                if source.hardware.int8_products_saturate
                else None
            ),
        )
    if wanted.bits == 4:
        return nncf.compress_weights(
            model, mode=nncf.CompressWeightsMode.INT4_SYM, group_size=wanted.group_size, ratio=1.0
        )
    return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM)


def _attention(model: Any) -> bool:
    """Return whether the graph contains attention, which determines NNCF's `model_type`."""
    kinds = {op.get_type_name() for op in model.get_ops()}
    return bool(kinds & {"ScaledDotProductAttention", "Softmax"}) and "MatMul" in kinds


def guard_gated_mlp(model: Any) -> None:
    """Prevent the plugin from fusing gated MLPs in bf16: the kernel divides by zero at one thread.

    Observed with OpenVINO 2026.4 (SIGFPE in compile_model for Llama with INFERENCE_NUM_THREADS=1).
    A clamp at the limits of the format breaks the fusion pattern and changes no value; with two
    threads the fused kernel was not faster (32 ms against 30 ms).
    """
    from openvino import opset13

    limit = 3e38
    for op in model.get_ops():
        if op.get_type_name() == "Swish":
            readers = list(op.output(0).get_target_inputs())
            clamp = opset13.clamp(op.output(0), -limit, limit)
            for reader in readers:
                reader.replace_source_output(clamp.output(0))


def save_graph(model: Any, path: Path, *, half: bool) -> None:
    """Save a graph, with floating-point weights in 16 bits or as they are.

    Args:
        model: The graph.
        path: Its `.xml` file; the weights are written next to it.
        half: Whether floating-point weights are saved in 16 bits.

    Raises:
        EvaluationError: If the disk is full (cause "disk full").
    """
    import openvino

    try:
        openvino.save_model(model, path, compress_to_fp16=half)
    except RuntimeError as error:
        if "iostream error" not in str(error):
            raise
        # OpenVINO deletes the incomplete file, so free space is no evidence afterwards.
        told = f"openvino: {path} could not be written, no room left: {error}"
        raise EvaluationError(told, cause="disk full") from error


def quantization_of(model: Any, *, dynamic: bool) -> dict[str, Value]:
    """Determine the quantization from the types of the graph's constants and operators.

    Args:
        model: The graph.
        dynamic: Whether the plugin quantizes activations at run time.
    """
    if any(op.get_type_name() == "FakeQuantize" for op in model.get_ops()):
        return quantization_facts(8, "static")
    parts = _constants(model)
    if groups := {part.last for part in parts if part.kind in _BITS}:
        return quantization_facts(4, "dynamic" if dynamic else "rtn", max(groups))
    if {part.kind for part in parts} & {"i8", "u8"}:
        return quantization_facts(8, "dynamic" if dynamic else "rtn")
    return quantization_facts()


def activations_are_quantized(model: Any, options: Mapping[str, object]) -> bool:
    """Test whether the plugin quantizes activations in fp32, on one product of the graph.

    The group size is no evidence: the plugin reports it on processors without VNNI, where it does
    not quantize activations, and its kernels have the same names (OpenVINO 2026.4). Without
    quantization of activations the outputs with both settings are bitwise equal.
    """
    import openvino
    from openvino import opset13

    product = next(filter(_has_quantized_weights, model.get_ordered_ops()), None)
    if product is None:
        return False
    transposed = bool(product.get_attributes()["transpose_b"])
    weights = product.input_value(1)
    features = int(weights.get_shape()[1 if transposed else 0])
    given = opset13.parameter([-1, features], np.float32)
    model_of: Any = openvino.Model  # the stubs declare a wrong class of `self`
    alone = model_of([opset13.matmul(given, weights, False, transposed)], [given], "one product")
    activations = np.random.default_rng(0).normal(size=(8, features)).astype(np.float32)
    outputs: list[Array] = []
    for some in (options, {**options, "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}):
        compiled: Any = openvino.Core().compile_model(alone, "CPU", dict(some))
        outputs.append(np.array(compiled([activations])[0]))
    with_groups, plain = outputs
    return not np.array_equal(with_groups, plain)


def _has_quantized_weights(op: Any) -> bool:
    """Return whether a node multiplies by a matrix of integers."""
    if op.get_type_name() != "MatMul":
        return False
    source = op.input_value(1).get_node()
    while source.get_type_name() in ("Convert", "Multiply", "Subtract", "Reshape"):
        source = source.input_value(0).get_node()
    matrix = source.get_type_name() == "Constant" and len(op.input_value(1).get_shape()) == 2
    return matrix and source.get_element_type().get_type_name() in ("i8", "u8", "i4", "u4")


class _Constant:
    """A weight constant of a graph."""

    def __init__(self, node: Any) -> None:
        self.kind: str = node.get_element_type().get_type_name()
        shape = list(node.get_output_shape(0))
        self.count = int(np.prod(shape))
        self.last = int(shape[-1])
        self.bits = self.count * int(node.get_element_type().bitwidth)
        known = self.kind not in _BITS and self.kind != "bf16"
        self.zeros = int((node.data == 0).sum()) if known else 0


def _constants(model: Any) -> list[_Constant]:
    """Return the constants with at least two dimensions above 1, without index types."""
    return [
        _Constant(op)
        for op in model.get_ops()
        if op.get_type_name() == "Constant"
        and sum(size > 1 for size in op.get_output_shape(0)) >= 2
        and op.get_element_type().get_type_name() not in ("i64", "i32", "boolean")
    ]


def weights_of(model: Any) -> WeightStatistics:
    """Return the statistics of the weights in a graph."""
    return total(
        WeightStatistics(count=c.count, bits=c.bits, zeros=c.zeros) for c in _constants(model)
    )
