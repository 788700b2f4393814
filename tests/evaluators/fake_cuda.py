"""Fake CUDA tensors: they have a device, a type and a shape, but no values, and need no GPU."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from tunefront.evaluators.interfaces.tensors import Inputs
from tunefront.evaluators.runtimes.export_program import on_device

FAKE_GPU = "cuda:0"


def mode_of(program: torch.export.ExportedProgram) -> FakeTensorMode:
    """The mode of a program's own fake tensors, in which real ones become fake."""
    values = (node.meta.get("val") for node in program.graph.nodes)
    mode = next(value.fake_mode for value in values if isinstance(value, FakeTensor))
    mode.allow_non_fake_inputs = True
    return mode


def devices_of(program: torch.export.ExportedProgram) -> set[str]:
    """The devices of a program: of its weights and constants, of what it computes and creates."""
    tensors = [*program.state_dict.values(), *program.constants.values()]
    tensors += [node.meta.get("val") for node in program.graph.nodes]
    found = {str(one.device) for one in tensors if isinstance(one, torch.Tensor)}
    written = (node.kwargs.get("device") for node in program.graph.nodes)
    return found | {str(device) for device in written if device is not None}


def fake(tensor: torch.Tensor, mode: FakeTensorMode) -> torch.Tensor:
    """A fake tensor on the GPU; a build of torch without CUDA can't make one by `Tensor.to`."""
    empty = torch.empty_strided(
        tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta", requires_grad=False
    )
    return FakeTensor(mode, empty, torch.device(FAKE_GPU))


def runs_on_fake_gpu(program: torch.export.ExportedProgram, request: Inputs) -> None:
    """Move a program to a GPU, in place, and run it there, operator by operator."""
    mode = mode_of(program)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "to", lambda tensor, _: fake(tensor, mode))
        moved = on_device(program, FAKE_GPU)
    assert devices_of(moved) == {FAKE_GPU}
    given = {name: fake(torch.from_numpy(array), mode) for name, array in request.items()}
    seen: set[str] = set()

    class Watching(torch.fx.Interpreter):
        def run_node(self, n: torch.fx.Node) -> object:
            value = super().run_node(n)
            if isinstance(value, torch.Tensor):
                seen.add(str(value.device))
            return value

    module = moved.module(check_guards=False)
    names = [str(n.target) for n in module.graph.nodes if n.op == "placeholder"]
    with mode, torch.no_grad():
        Watching(module).run(*(given[name] for name in names))
    assert seen == {FAKE_GPU}
