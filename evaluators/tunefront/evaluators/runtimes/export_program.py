"""torch.export: from a module to a program without Python, without pickle. Needs torch."""

from typing import Any

import torch

from tunefront.evaluators.interfaces.tensors import TensorSpec
from tunefront.evaluators.interfaces.torch_tensors import DTYPES, tensors
from tunefront.spaces import EvaluationError

from .base import Source

_INT4: torch.dtype = vars(torch)["int4"]  # missing in torch's own type information


def export_program(module: torch.nn.Module, source: Source) -> torch.export.ExportedProgram:
    """The module as a program of ATen operators, open in batch size and all named dimensions.

    Raises:
        EvaluationError: With the cause "unsupported" where torch.export can't trace the module.
    """
    shapes = {spec.name: _dynamic(spec) for spec in source.inputs}
    example = tensors({spec.name: source.example[spec.name] for spec in source.inputs})
    try:
        with torch.no_grad():
            program = torch.export.export(module, (), example, dynamic_shapes=shapes)
    except Exception as error:  # export raises many kinds; each means: not traceable
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
    """Torchao's own operators written out in ATen, so that running needs torch alone."""
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
    """The module in another precision, its linear layers quantized by torchao; in place.

    Raises:
        EvaluationError: With the cause "unsupported" where torchao can't quantize it.
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
    except Exception as error:  # torchao raises many kinds; each means: not for this module
        raise EvaluationError(f"torchao {quantization}: {error}", cause="unsupported") from error
    # Subclasses would be pickled into the saved program.
    unwrap_tensor_subclass(module)
    return module
