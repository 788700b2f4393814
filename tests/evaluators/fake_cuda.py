"""Fake CUDA tensors: they have a device, a type and a shape, but no values, and need no GPU."""

from collections.abc import Mapping
from typing import Any

import torch
from torch._functorch.aot_autograd import aot_export_module
from torch._subclasses.fake_tensor import FakeTensorMode

from tunefront.evaluators.interfaces.tensors import Inputs
from tunefront.evaluators.runtimes.export_program import on_device

FAKE_GPU = "cuda:0"


def mode_of(program: torch.export.ExportedProgram) -> FakeTensorMode:
    """The mode of a program's own fake tensors, in which real ones become fake."""
    values = (node.meta.get("val") for node in program.graph.nodes)
    mode: FakeTensorMode = next(v.fake_mode for v in values if isinstance(v, torch.Tensor))
    mode.allow_non_fake_inputs = True
    return mode


def devices_of(program: torch.export.ExportedProgram) -> set[str]:
    """The devices of a program: of its weights and constants, of what it computes and creates."""
    tensors = [*program.state_dict.values(), *program.constants.values()]
    tensors += [node.meta.get("val") for node in program.graph.nodes]
    found = {str(one.device) for one in tensors if isinstance(one, torch.Tensor)}
    written = (node.kwargs.get("device") for node in program.graph.nodes)
    return found | {str(device) for device in written if device is not None}


def runs_on_fake_gpu(program: torch.export.ExportedProgram, request: Inputs) -> None:
    """Move a program to a GPU, run it there, and trace it as AOTInductor does; in place."""
    mode = mode_of(program)
    with mode:
        moved = on_device(program, FAKE_GPU)
        assert devices_of(moved) == {FAKE_GPU}
        given = {n: torch.from_numpy(array).to(FAKE_GPU) for n, array in request.items()}
        output = moved.module()(**given)
        assert str(output.device) == FAKE_GPU
        assert _traced_devices(moved, given) == {FAKE_GPU}


def _traced_devices(
    program: torch.export.ExportedProgram, given: Mapping[str, torch.Tensor]
) -> set[str]:
    """The devices of what a program computes when it is traced for compilation."""
    module = program.module(check_guards=False)
    names = [n.target for n in module.graph.nodes if n.op == "placeholder"]  # type: ignore[union-attr]
    inputs: list[Any] = [given[str(name)] for name in names]
    with torch.no_grad():
        graph, _ = aot_export_module(module, inputs, trace_joint=False)
    values = (node.meta.get("val") for node in graph.graph.nodes)
    return {str(one.device) for one in values if isinstance(one, torch.Tensor)}
