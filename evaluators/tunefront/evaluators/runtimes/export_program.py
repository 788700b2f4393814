"""Export of a module by torch.export to a Python-free program, saved without pickle."""

import copy
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch

from tunefront.evaluators.interfaces.tensors import TensorSpec
from tunefront.evaluators.interfaces.torch_tensors import DTYPES, tensors
from tunefront.spaces import FP8, EvaluationError

from .base import Source
from .cuda import not_multiplied, not_multiplied_in_fp8, target_device
from .number_format import KEPT_LAYERS, LEFT_OUT_LAYERS, NumberFormat, number_kept

_INT4: torch.dtype = vars(torch)["int4"]  # missing in torch's type stubs


def converted_program(
    source: Source, wanted: NumberFormat, device: str
) -> tuple[torch.export.ExportedProgram, Mapping[str, object]]:
    """Convert a module and export it as a program that runs on a device.

    Int8 products are written for the device on which a module is converted and exported, by torchao
    for the products and by torch for the strides of what is multiplied; other programs are moved.

    Args:
        source: The module and its requests.
        wanted: The number format.
        device: A value of the choice `device`.

    Returns:
        The program, and the settings of the build.

    Raises:
        EvaluationError: If it can't be converted or traced (cause "unsupported"), or CUDA can't be
            used (cause "device").
    """
    target = target_device(device)
    module, left_out, traced_on = source.module(), list[str](), "cpu"
    if wanted.fp8:
        left_out = _left_out_in_fp8(module)
    if device == "cuda" and wanted.dynamic:
        module = _copied(module, wanted, target)
        left_out, traced_on = _left_out_on_cuda(module, source), target
    module, kept = convert(module, wanted, left_out)
    program = export_program(module, source, traced_on)
    check_dynamic(program, source.inputs)
    settings = {KEPT_LAYERS: kept, **({LEFT_OUT_LAYERS: left_out} if left_out else {})}
    return on_device(program, target), settings


def on_device(program: torch.export.ExportedProgram, device: str) -> torch.export.ExportedProgram:
    """Return a program that runs on a torch device, which for a GPU has its index; in place."""
    if device == "cpu":
        return program
    from torch.export.passes import move_to_device_pass

    return move_to_device_pass(program, device)


def _copied(module: torch.nn.Module, wanted: NumberFormat, device: str) -> torch.nn.Module:
    """Return a copy of a module in a precision on a device; the module stays on the CPU."""
    return copy.deepcopy(module).to(DTYPES[wanted.precision]).to(device)


def _left_out_on_cuda(module: torch.nn.Module, source: Source) -> list[str]:
    """Return the linear layers that are not quantized because CUDA can't multiply them.

    Raises:
        EvaluationError: If these are all, or the module does not run on a GPU, for example because
            it creates a tensor on the CPU (cause "unsupported").
    """
    smallest = min(source.calibration, key=lambda one: sum(array.size for array in one.values()))
    request = {spec.name: smallest[spec.name] for spec in source.inputs}
    try:
        left_out = not_multiplied(module, request)
    except Exception as error:  # a user's module raises any type
        text = f"the module does not run on a GPU: {error}"
        raise EvaluationError(text, cause="unsupported") from error
    layers = sum(isinstance(part, torch.nn.Linear) for part in module.modules())
    if len(left_out) == layers:
        raise EvaluationError(
            f"CUDA can multiply none of the {layers} linear layers in int8: it needs dimensions "
            "that are multiples of 8 and at least 17 rows for each item",
            cause="unsupported",
        )
    return left_out


def _left_out_in_fp8(module: torch.nn.Module) -> list[str]:
    """Return the linear layers that are not quantized because fp8 products do not have their size.

    Raises:
        EvaluationError: If these are all (cause "unsupported").
    """
    left_out = not_multiplied_in_fp8(module)
    layers = sum(isinstance(part, torch.nn.Linear) for part in module.modules())
    if len(left_out) == layers:
        raise EvaluationError(
            f"CUDA can multiply none of the {layers} linear layers in fp8: it needs dimensions "
            "that are multiples of 16",
            cause="unsupported",
        )
    return left_out


def export_program(
    module: torch.nn.Module, source: Source, device: str = "cpu"
) -> torch.export.ExportedProgram:
    """Export a module as a program of ATen operators, with dynamic batch size and named dimensions.

    Args:
        module: The module.
        source: Its inputs and an example request.
        device: The torch device of the module.

    Raises:
        EvaluationError: If torch.export can't trace the module (cause "unsupported").
    """
    shapes = {spec.name: _dynamic(spec) for spec in source.inputs}
    example = tensors({spec.name: source.example[spec.name] for spec in source.inputs}, device)
    try:
        with torch.no_grad():
            program = torch.export.export(module, (), example, dynamic_shapes=shapes)
    except Exception as error:  # export raises many types; all mean: not traceable
        raise EvaluationError(f"torch.export: {error}", cause="unsupported") from error
    return _with_int8_products(_without_library_operators(program))


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


def _with_int8_products(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """Write torchao's int8 products for CUDA as the ATen operator that they run; in place."""
    for node in program.graph.nodes:
        if node.op == "call_function" and str(node.target) == "out_dtype":
            operator, dtype, *factors = node.args
            if operator is torch.ops.aten.mm.default and dtype == torch.int32:
                node.target, node.args = torch.ops.aten._int_mm.default, tuple(factors)
    program.graph_module.recompile()
    return program


def convert(
    module: torch.nn.Module, wanted: NumberFormat, left_out: Collection[str] = ()
) -> tuple[torch.nn.Module, list[str]]:
    """Convert a module to a precision and quantize its linear layers by torchao; in place.

    Args:
        module: The module.
        wanted: The number format.
        left_out: Names of linear layers that can't be quantized.

    Returns:
        The module, and the names of the linear layers left unquantized.

    Raises:
        EvaluationError: If torchao can't quantize the module (cause "unsupported").
    """
    module = module.to(DTYPES[wanted.precision])
    if not wanted.quantized:
        return module, []
    from torchao.quantization import (
        Float8DynamicActivationFloat8WeightConfig,
        Int8DynamicActivationInt8WeightConfig,
        Int8WeightOnlyConfig,
        IntxWeightOnlyConfig,
        PerGroup,
        PerRow,
        quantize_,
    )
    from torchao.quantization.quantize_.common import KernelPreference
    from torchao.utils import unwrap_tensor_subclass

    configs = {
        (8, "dynamic"): Int8DynamicActivationInt8WeightConfig,
        (8, FP8): lambda: Float8DynamicActivationFloat8WeightConfig(
            granularity=PerRow(),
            kernel_preference=KernelPreference.TORCH,  # others would be needed to run the program
            set_inductor_config=False,
        ),
        (8, "rtn"): Int8WeightOnlyConfig,
        (4, "rtn"): lambda: IntxWeightOnlyConfig(
            weight_dtype=_INT4, granularity=PerGroup(wanted.group_size)
        ),
    }
    kept = [*dict.fromkeys([*_most_sensitive(module, wanted), *left_out])]

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
