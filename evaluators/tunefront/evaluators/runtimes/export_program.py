"""Export of a module by torch.export to a Python-free program, saved without pickle."""

from collections.abc import Sequence
from typing import Any

import torch

from tunefront.evaluators.interfaces.tensors import TensorSpec
from tunefront.evaluators.interfaces.torch_tensors import DTYPES, tensors
from tunefront.spaces import EvaluationError

from .base import Source
from .number_format import NumberFormat, number_kept

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


def check_dynamic(program: torch.export.ExportedProgram, inputs: Sequence[TensorSpec]) -> None:
    """Check a program that is run itself; converters can make a fixed dimension vary again.

    Raises:
        EvaluationError: If the traced program fixes a dimension that varies (cause "unsupported").
    """
    shapes = {
        node.name: node.meta["val"].shape
        for node in program.graph.nodes
        if node.op == "placeholder" and isinstance(node.meta.get("val"), torch.Tensor)
    }
    for spec in inputs:
        for axis, name in enumerate(spec.dims):
            size = _number(shapes[spec.name][axis]) if spec.name in shapes else None
            if isinstance(name, str) and size is not None:
                raise EvaluationError(
                    f"the model fixes dimension {axis} of {spec.name!r} to {size}, although it "
                    "varies from request to request: it computes with the size as a number when "
                    "it is traced",
                    cause="unsupported",
                )


def _dynamic(spec: TensorSpec) -> dict[int, Any]:
    dim = torch.export.Dim
    return {
        axis: dim.DYNAMIC if name == "batch" else dim.AUTO
        for axis, name in enumerate(spec.dims)
        if isinstance(name, str)
    }


def _number(size: int | torch.SymInt) -> int | None:
    """Return a traced size that is a number; None for one that varies."""
    known: int | None = size if isinstance(size, int) else size.node.maybe_as_int()
    return known


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


def convert(module: torch.nn.Module, wanted: NumberFormat) -> tuple[torch.nn.Module, list[str]]:
    """Convert a module to a precision and quantize its linear layers by torchao; in place.

    Returns:
        The module, and the names of the linear layers left unquantized.

    Raises:
        EvaluationError: If torchao can't quantize the module (cause "unsupported").
    """
    module = module.to(DTYPES[wanted.precision])
    if not wanted.quantized:
        return module, []
    from torchao.quantization import (
        Int8DynamicActivationInt8WeightConfig,
        Int8WeightOnlyConfig,
        IntxWeightOnlyConfig,
        PerGroup,
        quantize_,
    )
    from torchao.utils import unwrap_tensor_subclass

    configs = {
        (8, "dynamic"): Int8DynamicActivationInt8WeightConfig,
        (8, "rtn"): Int8WeightOnlyConfig,
        (4, "rtn"): lambda: IntxWeightOnlyConfig(
            weight_dtype=_INT4, granularity=PerGroup(wanted.group_size)
        ),
    }
    kept = _most_sensitive(module, wanted)

    def chosen(part: torch.nn.Module, name: str) -> bool:
        return isinstance(part, torch.nn.Linear) and name not in kept

    try:
        quantize_(module, configs[wanted.bits, wanted.method](), filter_fn=chosen)
    except Exception as error:  # torchao raises many types; all mean: not supported
        raise EvaluationError(f"torchao, {wanted}: {error}", cause="unsupported") from error
    # Tensor subclasses would be pickled into the saved program.
    unwrap_tensor_subclass(module)
    return module, kept


def _most_sensitive(module: torch.nn.Module, wanted: NumberFormat) -> list[str]:
    """Return the names of the linear layers to leave unquantized, the most sensitive first.

    Sensitivity is the squared error of rounding a layer's weights to the nearest value, relative to
    their squared norm.
    """
    errors = {
        name: _rounding_error(part.weight.data, wanted)
        for name, part in module.named_modules()
        if isinstance(part, torch.nn.Linear)
    }
    ranked = sorted(errors, key=lambda name: -errors[name])
    return ranked[: number_kept(wanted.kept, len(ranked))]


def _rounding_error(weights: torch.Tensor, wanted: NumberFormat) -> float:
    """Return the relative squared error of symmetric rounding, a scale for each row or group."""
    rows = weights.float()
    if wanted.bits < 8 and rows.shape[1] % wanted.group_size == 0:
        rows = rows.reshape(-1, wanted.group_size)
    largest = 2 ** (wanted.bits - 1) - 1
    scale = rows.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / largest
    rounded = (rows / scale).round() * scale
    return float((rounded - rows).square().sum() / rows.square().sum().clamp(min=1e-12))
