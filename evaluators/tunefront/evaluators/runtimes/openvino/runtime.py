"""OpenVINO on the CPU: precision by hint, int8 and int4 by NNCF (`model.xml`, `model.bin`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tunefront.evaluators.interfaces.endpoint import Facts
from tunefront.evaluators.interfaces.tensors import Inputs, TensorEndpoint
from tunefront.evaluators.runtimes.base import Built, Deployment, Runtime, Source
from tunefront.evaluators.runtimes.number_format import NumberFormat
from tunefront.evaluators.statistics.arrays import Array
from tunefront.spaces import Configuration, EvaluationError

from .quantization import (
    activations_are_quantized,
    guard_gated_mlp,
    plugin_options,
    quantization_of,
    quantized,
    save_graph,
    weights_of,
)
from .telemetry import without_telemetry

IR_FILE = "model.xml"
Tensor = tuple[tuple[int, ...], str]
"""Shape and number format."""
_PRECISION = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}


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
            model = quantized(openvino.Core().read_model(converted), source, wanted)
            if wanted.precision == "bf16":
                guard_gated_mlp(model)
        except Exception as error:  # both tools raise many types; all mean: not convertible
            raise EvaluationError(f"openvino: {error}", cause="unsupported") from error
        save_graph(model, folder / IR_FILE, half=wanted.precision == "bf16")
        return {"options": plugin_options(wanted)}

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
        weights = weights_of(model)
        hint = str(self._compiled.get_property("INFERENCE_PRECISION_HINT").to_string())
        group = int(self._compiled.get_property("DYNAMIC_QUANTIZATION_GROUP_SIZE"))
        # In bf16 the plugin does not quantize activations in a model, but it does in a graph of one
        # product, so the test of one product would be wrong.
        wanted = group > 0 and hint == "f32"
        dynamic = wanted and activations_are_quantized(model, self._options)
        names = {"f32": "fp32", "bf16": "bf16", "f16": "fp16", **_PRECISION}
        return {
            "runtime": "openvino",
            "device": str(self._compiled.get_property("EXECUTION_DEVICES")[0]).lower(),
            "precision": names.get(hint, hint),
            **quantization_of(model, dynamic=dynamic),
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
    save_graph(model, folder / IR_FILE, half=False)


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
