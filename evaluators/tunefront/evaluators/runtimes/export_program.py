"""Export of a module by torch.export to a Python-free program, saved without pickle."""

from typing import Any

import torch

from tunefront.evaluators.interfaces.tensors import TensorSpec
from tunefront.evaluators.interfaces.torch_tensors import DTYPES, tensors
from tunefront.spaces import EvaluationError

from .base import Source

_INT4: torch.dtype = vars(torch)["int4"]  # missing in torch's type stubs


def export_program(module: torch.nn.Module, source: Source) -> torch.export.ExportedProgram:
    """Export a module as a program of ATen operators, with dynamic batch size and named dimensions.

    Raises:
        EvaluationError: If torch.export can't trace the module (cause "unsupported").
    """
    shapes = {spec.name: _dynamic(spec) for spec in source.inputs}
    example = tensors({spec.name: source.example[spec.name] for spec in source.inputs})
    try:
        with torch.no_grad():
            program = torch.export.export(module, (), example, dynamic_shapes=shapes)
    except Exception as error:  # export raises many types; all mean: not traceable
        raise EvaluationError(f"torch.export: {error}", cause="unsupported") from error
    return _without_library_operators(program)


def _dynamic(spec: TensorSpec) -> dict[int, Any]:
    dim = torch.export.Dim
    return {
        axis: dim.DYNAMIC if name == "batch" else dim.AUTO
        for axis, name in enumerate(spec.dims)
        if isinstance(name, str)
    }


def _without_library_operators(
    program: torch.export.ExportedProgram,
) -> torch.export.ExportedProgram:
    """Decompose torchao's operators into ATen, so that only torch is needed to run the program."""
    targets = {
        node.target
        for node in program.graph.nodes
        if node.op == "call_function" and str(node.target).startswith("torchao.")
    }
    if not targets:
        return program
    from torch._inductor.decomposition import decompositions

    table = {target: decompositions[target] for target in targets}
    written_out: torch.export.ExportedProgram = program.run_decompositions(table)
    return written_out


def convert(module: torch.nn.Module, precision: str, quantization: str) -> torch.nn.Module:
    """Convert a module to a precision and quantize its linear layers by torchao; in place.

    Raises:
        EvaluationError: If torchao can't quantize the module (cause "unsupported").
    """
    module = module.to(DTYPES[precision])
    if quantization == "none":
        return module
    from torchao.quantization import (
        Int8DynamicActivationInt8WeightConfig,
        Int8WeightOnlyConfig,
        IntxWeightOnlyConfig,
        PerGroup,
        quantize_,
    )
    from torchao.utils import unwrap_tensor_subclass

    configs = {
        "int8-dynamic": Int8DynamicActivationInt8WeightConfig,
        "int8-weight-only": Int8WeightOnlyConfig,
        "int4-weight-only": lambda: IntxWeightOnlyConfig(
            weight_dtype=_INT4, granularity=PerGroup(32)
        ),
    }
    try:
        quantize_(module, configs[quantization]())
    except Exception as error:  # torchao raises many types; all mean: not supported
        raise EvaluationError(f"torchao {quantization}: {error}", cause="unsupported") from error
    # Tensor subclasses would be pickled into the saved program.
    unwrap_tensor_subclass(module)
    return module
