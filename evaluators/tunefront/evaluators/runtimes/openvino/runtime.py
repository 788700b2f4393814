"""OpenVINO on the CPU: precision by hint, int8 and int4 by NNCF (`model.xml`, `model.bin`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tunefront.evaluators.interfaces.endpoint import Facts
from tunefront.evaluators.interfaces.tensors import Inputs, TensorEndpoint
from tunefront.evaluators.runtimes.base import Built, Deployment, Runtime, Source
from tunefront.evaluators.runtimes.number_format import NumberFormat, quantization_facts
from tunefront.evaluators.runtimes.weights import WeightStatistics, total
from tunefront.evaluators.statistics.arrays import Array
from tunefront.spaces import Configuration, EvaluationError, Value

from .telemetry import without_telemetry

IR_FILE = "model.xml"
Tensor = tuple[tuple[int, ...], str]
"""Shape and number format."""
DYNAMIC_GROUP = 32
"""Activations that share a scale with dynamic quantization."""
_HINTS = {"fp32": "f32", "bf16": "bf16"}
_PRECISION = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
_BITS = {"u4": 4, "i4": 4, "nf4": 4}


class OpenVino(Runtime):
    """OpenVINO with the CPU plugin."""

    name = "openvino"

    def build(
        self, source: Source, configuration: Configuration, folder: Path
    ) -> Mapping[str, object]:
        """Convert the exported program, once for all builds of the module; quantize and save it.

        Raises:
            EvaluationError: If converting (cause "unsupported") or saving ("disk full") fails.
        """
        without_telemetry()
        import openvino

        converted = source.shared("openvino", lambda folder: _convert(source, folder)) / IR_FILE
        wanted = NumberFormat.of(configuration)
        try:
            model = _quantize(openvino.Core().read_model(converted), source, wanted)
            if wanted.precision == "bf16":
                _guard_gated_mlp(model)
        except Exception as error:  # both tools raise many types; all mean: not convertible
            raise EvaluationError(f"openvino: {error}", cause="unsupported") from error
        _save(model, folder, half=wanted.precision == "bf16")
        return {"options": _options(wanted)}

    def open(self, built: Built, configuration: Configuration) -> TensorEndpoint:
        """Compile for this processor."""
        return OpenVinoEndpoint(built.folder / IR_FILE, _opened_with(built, configuration))

    def deployment(self, built: Built, configuration: Configuration) -> Deployment:
        """Return a script that needs openvino and numpy only."""
        script = _SCRIPT.format(file=IR_FILE, options=_opened_with(built, configuration))
        return Deployment(script=script, requirements=("openvino",))


class OpenVinoEndpoint(TensorEndpoint):
    """A compiled model with one inference request."""

    def __init__(self, path: Path, options: Mapping[str, object]) -> None:
        without_telemetry()
        import openvino

        self._path = path
        self._options = dict(options)
        self._compiled: Any = openvino.Core().compile_model(str(path), "CPU", dict(options))
        self._request: Any = self._compiled.create_infer_request()
        self._inputs = [port.get_any_name() for port in self._compiled.inputs]

    def call(self, inputs: Inputs) -> Sequence[Array]:
        """Run one request."""
        # The graph omits inputs that it does not use.
        result = self._request.infer({name: inputs[name] for name in self._inputs})
        return [np.array(result[port]) for port in self._compiled.outputs]

    def counts(self) -> list["Count"]:
        """Return mean times by node since compilation; requires the option `PERF_COUNT`."""
        return [
            Count(
                name=info.node_name,
                kind=info.node_type,
                kernel=info.exec_type,
                self_ms=info.real_time.total_seconds() * 1e3,
            )
            for info in self._request.profiling_info
        ]

    def shapes(self) -> list[tuple[str, str, list[Tensor], Tensor]]:
        """Return name, type, inputs and first output of every node, as in the last request."""
        found: list[tuple[str, str, list[Tensor], Tensor]] = []
        for op in self._compiled.get_runtime_model().get_ordered_ops():
            if op.get_output_size() > 0:
                kind = op.rt_info["layerType"].astype(str)
                inputs = [_tensor(port.get_source_output()) for port in op.inputs()]
                found.append((op.get_friendly_name(), kind, inputs, _tensor(op.output(0))))
        return found

    def facts(self) -> Facts:
        """Read the properties from the plugin and the graph's constants."""
        import openvino

        model = openvino.Core().read_model(self._path)
        weights = _weights(model)
        hint = str(self._compiled.get_property("INFERENCE_PRECISION_HINT").to_string())
        group = int(self._compiled.get_property("DYNAMIC_QUANTIZATION_GROUP_SIZE"))
        # In bf16 the plugin does not quantize activations in a model, but it does in a graph of one
        # product, so the test of one product would be wrong.
        wanted = group > 0 and hint == "f32"
        dynamic = wanted and _activations_are_quantized(model, self._options)
        names = {"f32": "fp32", "bf16": "bf16", "f16": "fp16", **_PRECISION}
        return {
            "runtime": "openvino",
            "device": str(self._compiled.get_property("EXECUTION_DEVICES")[0]).lower(),
            "precision": names.get(hint, hint),
            **_quantization(model, dynamic=dynamic),
            "tensor_parallel": 1,
            "weight_bits": weights.weight_bits,
            "sparsity": weights.sparsity,
            "parameters": weights.count,
            "threads": int(self._compiled.get_property("INFERENCE_NUM_THREADS")),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """The time of one node.

    Attributes:
        name: Name of the node.
        kind: Type of the node.
        kernel: Kernel that executed it.
        self_ms: Mean time in ms; 0 if it did not run.
    """

    name: str
    kind: str
    kernel: str
    self_ms: float


def _tensor(port: Any) -> Tensor:
    """Return shape and number format of a node's output; shape (0,) if it is unknown."""
    shape = port.get_partial_shape()
    known = tuple(shape.to_shape()) if shape.is_static else (0,)
    formats = port.get_node().rt_info["outputPrecisions"].astype(str).split(",")
    return known, formats[min(port.get_index(), len(formats) - 1)]


def _opened_with(built: Built, configuration: Configuration) -> dict[str, object]:
    """Return the options of the build with the number of threads."""
    options = built.settings["options"]
    assert isinstance(options, dict)
    return {**options, "INFERENCE_NUM_THREADS": configuration.integer("threads")}


def _convert(source: Source, folder: Path) -> None:
    """Save the fp32 graph of a module."""
    import openvino

    from tunefront.evaluators.runtimes.export_program import export_program

    program = export_program(source.module(), source)
    try:
        model = openvino.convert_model(program)
    except Exception as error:  # the converter raises many types; all mean: not convertible
        raise EvaluationError(f"openvino: {error}", cause="unsupported") from error
    _save(model, folder, half=False)


def _save(model: Any, folder: Path, *, half: bool) -> None:
    """Save a graph, with floating-point weights in 16 bits or as they are."""
    import openvino

    try:
        openvino.save_model(model, folder / IR_FILE, compress_to_fp16=half)
    except RuntimeError as error:
        if "iostream error" not in str(error):
            raise
        # OpenVINO deletes the incomplete file, so free space is no evidence afterwards.
        told = f"openvino: {folder / IR_FILE} could not be written, no room left: {error}"
        raise EvaluationError(told, cause="disk full") from error


def _options(wanted: NumberFormat) -> dict[str, str | int | float]:
    """Return the options of the plugin; they are stored in the candidate and its script."""
    dynamic = wanted.quantized and wanted.method == "dynamic"
    options: dict[str, str | int | float] = {
        "INFERENCE_PRECISION_HINT": _HINTS[wanted.precision],
        "PERFORMANCE_HINT": "LATENCY",
        # By default int8 weights make the plugin quantize activations to int8, too.
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": DYNAMIC_GROUP if dynamic else 0,
    }
    return options


def _quantize(model: Any, source: Source, wanted: NumberFormat) -> Any:
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


def _guard_gated_mlp(model: Any) -> None:
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


def _quantization(model: Any, *, dynamic: bool) -> dict[str, Value]:
    """Determine the quantization from the types of the graph's constants and operators."""
    if any(op.get_type_name() == "FakeQuantize" for op in model.get_ops()):
        return quantization_facts(8, "static")
    parts = _constants(model)
    if groups := {part.last for part in parts if part.kind in _BITS}:
        return quantization_facts(4, "rtn", max(groups))
    if {part.kind for part in parts} & {"i8", "u8"}:
        return quantization_facts(8, "dynamic" if dynamic else "rtn")
    return quantization_facts()


def _activations_are_quantized(model: Any, options: Mapping[str, object]) -> bool:
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
    quantized, plain = outputs
    return not np.array_equal(quantized, plain)


def _has_quantized_weights(op: Any) -> bool:
    """Return whether a node multiplies by an 8-bit integer matrix."""
    if op.get_type_name() != "MatMul":
        return False
    source = op.input_value(1).get_node()
    while source.get_type_name() in ("Convert", "Multiply", "Subtract", "Reshape"):
        source = source.input_value(0).get_node()
    matrix = source.get_type_name() == "Constant" and len(op.input_value(1).get_shape()) == 2
    return matrix and source.get_element_type().get_type_name() in ("i8", "u8")


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


def _weights(model: Any) -> WeightStatistics:
    return total(
        WeightStatistics(count=c.count, bits=c.bits, zeros=c.zeros) for c in _constants(model)
    )


_SCRIPT = '''\
"""Runs the exported model on its recorded inputs. Needs openvino and numpy, nothing else."""
import pathlib

import numpy as np
import openvino

HERE = pathlib.Path(__file__).parent


def load():
    """The model, with the options that it was measured with."""
    return openvino.compile_model(HERE / "{file}", "CPU", {options})


def run(model, inputs):
    """One request: arrays by name in, a list of arrays out."""
    used = [port.get_any_name() for port in model.inputs]
    result = model({{name: inputs[name] for name in used}})
    return [np.array(result[port]) for port in model.outputs]
'''
