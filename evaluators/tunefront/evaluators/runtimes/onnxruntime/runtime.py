"""ONNX Runtime on the CPU: transformer blocks are fused, then quantized (`model.onnx`)."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tunefront.evaluators.interfaces.endpoint import Facts
from tunefront.evaluators.interfaces.tensors import Inputs, TensorEndpoint
from tunefront.evaluators.runtimes.base import Built, Deployment, Runtime, Source
from tunefront.evaluators.runtimes.number_format import NumberFormat, quantization_facts
from tunefront.evaluators.runtimes.onnxruntime.telemetry import disable_telemetry
from tunefront.evaluators.runtimes.weights import WeightStatistics, total
from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.workloads.base import Architecture
from tunefront.spaces import Configuration, EvaluationError, Value

ONNX_FILE = "model.onnx"
EIGHT_BIT_GROUP = 32
"""Weights that share a scale at 8 bits, which MatMulNBits has in groups only."""
FUSIONS: Mapping[Architecture, str | None] = {
    "decoder": "gpt2",
    "encoder": "bert",
    "vision": "vit",
    "other": None,
}
"""`model_type` of onnxruntime's transformer optimizer; None: its generic optimizations only."""


class OnnxRuntime(Runtime):
    """ONNX Runtime with the CPU execution provider."""

    name = "onnxruntime"

    def build(
        self, source: Source, configuration: Configuration, folder: Path
    ) -> Mapping[str, object]:
        """Export, fuse and quantize the module."""
        from .graph import onnx_graph

        graph = onnx_graph(source)
        try:
            fused = source.shared(
                "onnx-fused", lambda made: _fuse(graph, source.architecture, made)
            )
            narrow = source.hardware.int8_products_saturate
            wanted = NumberFormat.of(configuration)
            _quantize(fused / ONNX_FILE, folder / ONNX_FILE, wanted, narrow=narrow)
        except EvaluationError:
            raise
        except Exception as error:  # both tools raise many types; all mean: not supported
            raise EvaluationError(f"onnxruntime: {error}", cause="unsupported") from error
        return {}

    def open(self, built: Built, configuration: Configuration) -> TensorEndpoint:
        """Open a session."""
        return OnnxEndpoint(built.folder / ONNX_FILE, configuration.integer("threads"))

    def deployment(self, built: Built, configuration: Configuration) -> Deployment:
        """Return a script that needs onnxruntime and numpy only."""
        script = _SCRIPT.format(file=ONNX_FILE, threads=configuration.integer("threads"))
        return Deployment(script=script, requirements=("onnxruntime",))


class OnnxEndpoint(TensorEndpoint):
    """An inference session.

    Args:
        path: Path of the graph.
        threads: Number of threads per operator.
        trace: Path prefix of the session's own trace; empty for no trace.
    """

    def __init__(self, path: Path, threads: int, trace: str = "") -> None:
        disable_telemetry()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        if trace:
            options.enable_profiling = True
            options.profile_file_prefix = trace
        self._path = path
        self._session: Any = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )

    def call(self, inputs: Inputs) -> Sequence[Array]:
        """Run one request."""
        outputs: Sequence[Array] = self._session.run(None, dict(inputs))
        return outputs

    def end_trace(self) -> str:
        """Write the trace and return its path."""
        return str(self._session.end_profiling())

    def facts(self) -> Facts:
        """Read the properties from the session's options and the graph's weights and operators."""
        import onnx

        model = onnx.load(str(self._path))
        weights = _weights(model)
        on_cpu = self._session.get_providers() == ["CPUExecutionProvider"]
        return {
            "runtime": "onnxruntime",
            "device": "cpu" if on_cpu else "other",
            "precision": "fp32",
            **_quantization(model),
            "tensor_parallel": 1,
            "weight_bits": weights.weight_bits,
            "sparsity": weights.sparsity,
            "parameters": weights.count,
            "threads": int(self._session.get_session_options().intra_op_num_threads),
        }


def _fuse(graph: Path, architecture: Architecture, folder: Path) -> None:
    """Fuse transformer blocks into ONNX Runtime's own operators where its patterns match."""
    from onnxruntime.transformers import optimizer

    fused: Any = _transformed(graph, FUSIONS[architecture])
    if fused is None:
        fused = optimizer.optimize_model(str(graph), opt_level=1, only_onnxruntime=True)
    fused.save_model_to_file(str(folder / ONNX_FILE))


def _transformed(graph: Path, model_type: str | None) -> Any:
    """Return the graph with the fusions of a model type; None without a type or if fusing fails."""
    from onnxruntime.transformers import optimizer

    if model_type is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # its temporary folder is not cleaned up
        try:
            return optimizer.optimize_model(
                str(graph), model_type=model_type, num_heads=0, hidden_size=0
            )
        except IndexError:
            # onnxruntime 1.32: Gpt2OnnxModel.postprocess reads the bias of a Gemm that has none.
            return None


def _quantize(source: Path, target: Path, wanted: NumberFormat, *, narrow: bool) -> None:
    """Write the graph with quantized weights.

    Args:
        source: Path of the fused graph.
        target: Path of the file to write.
        wanted: The number format.
        narrow: Whether dynamic quantization limits weights to 7 bits, to prevent saturation on
            processors that add two products in 16 bits.
    """
    import onnx

    if not wanted.quantized:
        onnx.save(onnx.load(str(source)), str(target))
    elif wanted.method == "dynamic":
        from onnxruntime.quantization import QuantType, quantize_dynamic

        quantize_dynamic(
            str(source),
            str(target),
            per_channel=True,
            weight_type=QuantType.QInt8,
            reduce_range=narrow,
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
    else:
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
        from onnxruntime.quantization.onnx_model import ONNXModel

        graph = ONNXModel(onnx.load(str(source)))
        graph.replace_gemm_with_matmul()  # linear layers over (batch, features) are Gemm
        quantizer = MatMulNBitsQuantizer(
            graph.model,
            bits=wanted.bits,
            block_size=wanted.group_size if wanted.bits < 8 else EIGHT_BIT_GROUP,
            is_symmetric=True,
            accuracy_level=1,  # fp32 activations: the quantization is weight-only
        )
        quantizer.process()
        quantizer.model.save_model_to_file(str(target))  # pyright: ignore[reportAttributeAccessIssue]


def _quantization(model: Any) -> dict[str, Value]:
    """Return the quantization by the types of the weights, whichever operators use them."""
    bits, groups = _nbits(model, "bits"), _nbits(model, "block_size")
    if bits:
        return quantization_facts(max(bits), "rtn", max(groups))
    if not any(_is_8_bit_matrix(tensor) for tensor in model.graph.initializer):
        return quantization_facts()
    operators = {node.op_type for node in model.graph.node}
    # Ranges of activations that are known before the run are applied by these operators.
    static = any(name == "QuantizeLinear" or name.startswith("QLinear") for name in operators)
    return quantization_facts(8, "static" if static else "dynamic")


def _is_8_bit_matrix(tensor: Any) -> bool:
    from onnx import TensorProto

    return len(tensor.dims) >= 2 and tensor.data_type in (TensorProto.INT8, TensorProto.UINT8)


def _nbits(model: Any, name: str) -> set[int]:
    """Return the values of an attribute of all MatMulNBits operators."""
    return {
        int(attribute.i)
        for node in model.graph.node
        if node.op_type == "MatMulNBits"
        for attribute in node.attribute
        if attribute.name == name
    }


def _weights(model: Any) -> WeightStatistics:
    """Sum initializers of at least two dimensions; packed weights count with their packed bits."""
    from onnx import numpy_helper

    packed = {
        node.input[1]: attribute.i
        for node in model.graph.node
        if node.op_type == "MatMulNBits"
        for attribute in node.attribute
        if attribute.name == "bits"
    }
    parts: list[WeightStatistics] = []
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.ndim < 2 or array.dtype.kind not in "fiu" or array.dtype.itemsize == 8:
            continue
        bits = packed.get(tensor.name, array.dtype.itemsize * 8)
        count = array.nbytes * 8 // bits
        zeros = 0 if tensor.name in packed else int((array == 0).sum())
        parts.append(WeightStatistics(count=count, bits=array.nbytes * 8, zeros=zeros))
    return total(parts)


_SCRIPT = '''\
"""Runs the exported model on its recorded inputs. Needs onnxruntime and numpy, nothing else."""
import os
import pathlib

import numpy as np

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime

HERE = pathlib.Path(__file__).parent


def load():
    """The model, on as many threads as it was measured with."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = {threads}
    options.inter_op_num_threads = 1
    providers = ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(HERE / "{file}", options, providers=providers)


def run(model, inputs):
    """One request: arrays by name in, a list of arrays out."""
    return model.run(None, inputs)
'''
