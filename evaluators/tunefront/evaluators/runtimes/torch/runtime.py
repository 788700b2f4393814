"""PyTorch eager: an exported program (`model.pt2`), run operator by operator."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunefront.evaluators.interfaces.endpoint import COPY_SHARE, Facts
from tunefront.evaluators.interfaces.tensors import Inputs, TensorEndpoint
from tunefront.evaluators.runtimes.base import Built, Deployment, Runtime, Source
from tunefront.evaluators.runtimes.number_format import (
    NumberFormat,
    layer_facts,
    quantization_facts,
)
from tunefront.evaluators.runtimes.run_script import (
    answer_lines,
    opened_by,
    tf32_lines,
    with_graphs,
)
from tunefront.evaluators.runtimes.weights import WeightStatistics, total
from tunefront.evaluators.statistics.arrays import Array
from tunefront.spaces import FP8, Configuration, Value

if TYPE_CHECKING:
    import torch

PROGRAM_FILE = "model.pt2"
_INT8_PRODUCTS = frozenset({"aten._int_mm.default", "out_dtype"})
"""Operators of int8 activations and weights: on the CPU, and as torchao writes it for CUDA."""


_FP8_PRODUCT = "aten._scaled_mm.default"
"""Operator of fp8 activations and weights."""


class TorchEager(Runtime):
    """PyTorch eager on a program of torch.export, so that an export runs what was measured."""

    name = "torch"

    def build(
        self, source: Source, configuration: Configuration, folder: Path
    ) -> Mapping[str, object]:
        """Convert, export and save the module."""
        import torch

        if configuration.integer("tensor_parallel") > 1:
            from .tensor_parallel import save_shardable

            return save_shardable(source, folder)
        from tunefront.evaluators.interfaces.torch_tensors import switch_tf32
        from tunefront.evaluators.runtimes.export_program import converted_program

        wanted, device = NumberFormat.of(configuration), configuration.text("device")
        switch_tf32(wanted.precision, device)
        program, settings = converted_program(source, wanted, device)
        # Example inputs would be saved as a pickle.
        program._example_inputs = None
        torch.export.save(program, folder / PROGRAM_FILE)
        return settings

    def open(self, built: Built, configuration: Configuration) -> TensorEndpoint:
        """Open the program, or start the ranks that share the model."""
        import torch

        if configuration.integer("tensor_parallel") > 1:
            from .tensor_parallel import ShardedEndpoint

            return ShardedEndpoint(built.folder, configuration)
        from tunefront.evaluators.interfaces.torch_tensors import switch_tf32
        from tunefront.evaluators.runtimes.cuda import check_cuda

        switch_tf32(configuration.text("precision"), configuration.text("device"))
        torch.set_num_threads(configuration.integer("threads"))
        if configuration.text("device") == "cuda":
            check_cuda()
        program = torch.export.load(built.folder / PROGRAM_FILE)
        return TorchEndpoint(program, configuration, built.settings)

    def deployment(self, built: Built, configuration: Configuration) -> Deployment:
        """Return a script that needs torch and numpy (transformers for tensor parallelism)."""
        if configuration.integer("tensor_parallel") > 1:
            from .tensor_parallel import sharded_deployment

            return sharded_deployment(configuration)
        script = _SCRIPT.format(
            opened=opened_by(configuration, f'torch.export.load(HERE / "{PROGRAM_FILE}").module()'),
            device=configuration.text("device"),
            threads=configuration.integer("threads"),
            tf32=tf32_lines(configuration),
            answer=answer_lines(configuration),
        )
        script = with_graphs(configuration, script)
        return Deployment(script=script, requirements=("torch",))


class TorchEndpoint(TensorEndpoint):
    """An exported program, run eagerly."""

    def __init__(
        self,
        program: "torch.export.ExportedProgram",
        configuration: Configuration,
        settings: Mapping[str, object],
    ) -> None:
        from tunefront.evaluators.runtimes.cuda_graphs import model_by
        from tunefront.evaluators.runtimes.device_copies import call_on

        self._call_on = call_on
        self._settings = settings
        self._program = program
        self._module = program.module()
        self._model = model_by(configuration, self._module)
        self._device = configuration.text("device")
        self._last: Inputs | None = None

    @property
    def graph(self) -> "torch.fx.Graph":
        """Operators in execution order, each with the module it came from."""
        return self._module.graph

    def call(self, inputs: Inputs) -> Sequence[Array]:
        """Run one request; on a GPU the copies to and from it are included, as in production."""
        self._last = inputs
        return self._call_on(self._device, self._run, inputs)

    def _run(self, given: "Mapping[str, torch.Tensor]") -> Any:
        return self._model(**given)

    def facts(self) -> Facts:
        """Read the properties from the program's weights and operators."""
        import torch

        from tunefront.evaluators.interfaces.torch_tensors import switched_precision
        from tunefront.evaluators.runtimes.cuda import gpu_facts
        from tunefront.evaluators.runtimes.cuda_graphs import replayed

        state = self._program.state_dict
        matrices = {name: t for name, t in state.items() if t.ndim >= 2}
        operators = {str(node.target) for node in self._program.graph.nodes}
        statistics = total(_statistics(tensor) for tensor in matrices.values())
        floats = {n: t for n, t in state.items() if t.is_floating_point() and not _is_fp8(t)}
        quantized = _quantized(matrices)
        device = next((str(t.device.type) for t in floats.values()), self._device)
        return {
            "runtime": "torch",
            "device": device,
            "precision": switched_precision(_precision(list(floats.values())), device),
            **_quantization(quantized, state, operators),
            **layer_facts(self._settings, floats, len(quantized)),
            "tensor_parallel": 1,
            "weight_bits": statistics.weight_bits,
            "sparsity": statistics.sparsity,
            "parameters": statistics.count,
            "threads": torch.get_num_threads(),
            "cuda_graphs": replayed(self._model),
            **gpu_facts(tensor.device for tensor in floats.values()),
            **self._copy_facts(),
        }

    def _copy_facts(self) -> dict[str, Value]:
        """Return the share of the copies in the last request, run again; empty on a processor."""
        if self._device != "cuda" or self._last is None:
            return {}
        from tunefront.evaluators.runtimes.device_copies import copy_share

        return {COPY_SHARE: round(copy_share(self._device, self._run, self._last), 4)}


def _statistics(tensor: "torch.Tensor") -> WeightStatistics:
    return WeightStatistics(
        count=tensor.numel(),
        bits=tensor.numel() * _bits(tensor),
        zeros=int((_comparable(tensor) == 0).sum()),
    )


def _is_fp8(tensor: "torch.Tensor") -> bool:
    import torch

    return tensor.dtype == torch.float8_e4m3fn


def _comparable(tensor: "torch.Tensor") -> "torch.Tensor":
    """Return a tensor as torch can compare it: fp8 as fp32."""
    return tensor.float() if _is_fp8(tensor) else tensor


def _bits(tensor: "torch.Tensor") -> int:
    """Return the bits that a value needs: torchao stores int4 in int8 tensors on the CPU."""
    import torch

    if tensor.dtype == torch.int8 and tensor.numel() and int(tensor.abs().max()) <= 8:
        return 4
    return tensor.element_size() * 8


def _precision(floats: Sequence["torch.Tensor"]) -> str:
    """Return the floating-point type of most weights."""
    from tunefront.evaluators.interfaces.torch_tensors import NAME_OF

    sizes: dict[str, int] = {}
    for tensor in floats:
        name = NAME_OF.get(tensor.dtype, str(tensor.dtype))
        sizes[name] = sizes.get(name, 0) + tensor.numel()
    return max(sizes, key=lambda name: sizes[name], default="fp32")


def _quantized(matrices: Mapping[str, "torch.Tensor"]) -> dict[str, "torch.Tensor"]:
    """Return the quantized weights; zero points are excluded: one column, or all zeros."""
    import torch

    return {
        name: tensor
        for name, tensor in matrices.items()
        if min(tensor.shape) > 1
        and (_is_fp8(tensor) or (tensor.dtype == torch.int8 and int(tensor.abs().max()) > 0))
    }


def _quantization(
    weights: Mapping[str, "torch.Tensor"],
    state: Mapping[str, "torch.Tensor"],
    operators: set[str],
) -> dict[str, Value]:
    if not weights:
        return quantization_facts()
    if all(map(_is_fp8, weights.values())):
        return quantization_facts(8, FP8 if _FP8_PRODUCT in operators else "rtn")
    if operators & _INT8_PRODUCTS:
        return quantization_facts(8, "dynamic")
    if not all(_bits(t) == 4 for t in weights.values()):
        return quantization_facts(8, "rtn")
    name, matrix = next(iter(weights.items()))
    # torchao names the parts of a quantized weight original0 (values) and original1 (scales).
    scales = state[name.removesuffix("original0") + "original1"]
    return quantization_facts(4, "rtn", matrix.shape[1] // scales.shape[1])


_SCRIPT = '''\
"""Runs the exported model on its recorded inputs. Needs torch and numpy, nothing else."""
import pathlib

import numpy as np
import torch

HERE = pathlib.Path(__file__).parent


def load():
    """The model, on as many threads as it was measured with."""
    torch.set_num_threads({threads})
{tf32}    return {opened}


def run(model, inputs):
    """One request: arrays by name in, a list of arrays out."""
    with torch.inference_mode():
        given = {{name: torch.from_numpy(a).to("{device}") for name, a in inputs.items()}}
{answer}'''
