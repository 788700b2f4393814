"""Layer dropping: remove the layers that change their input least.

A layer's influence is one minus the mean cosine of its input and its output (ShortGPT, Men et al.
2024, arXiv 2403.03853).
"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, cast

from tunefront.evaluators.interfaces.tensors import Inputs
from tunefront.spaces import EvaluationError

from .base import Plan, Technique

if TYPE_CHECKING:
    import torch


class LayerDropping(Technique):
    """Removal of whole layers from the longest stack."""

    name = "layers"

    def plan(self, module: "torch.nn.Module", amount: float, calibration: Sequence[Inputs]) -> Plan:
        """Drop the share `amount` of the layers; at least one is dropped and one kept."""
        from .blocks import layer_stack

        stack = layer_stack(module)
        if stack is None:
            raise EvaluationError(
                f"pruning layers: no stack of layers in {type(module).__name__}",
                cause="unsupported",
            )
        name, layers = stack
        count = min(max(1, round(len(layers) * amount)), len(layers) - 1)
        influence = _influence(module, layers, calibration)
        dropped = sorted(range(len(layers)), key=lambda place: influence[place])[:count]
        plan = {"stack": name, "kept": [i for i in range(len(layers)) if i not in dropped]}
        self.apply(module, plan)
        return plan

    def apply(self, module: "torch.nn.Module", plan: Plan) -> None:
        """Keep the planned layers only."""
        import torch

        name, kept = str(plan["stack"]), cast(list[int], plan["kept"])
        parent, _, last = name.rpartition(".")
        layers = cast("torch.nn.ModuleList", module.get_submodule(name))
        setattr(module.get_submodule(parent), last, torch.nn.ModuleList([layers[i] for i in kept]))


def _influence(
    module: "torch.nn.Module", layers: "torch.nn.ModuleList", calibration: Sequence[Inputs]
) -> list[float]:
    """Return the influence of every layer, summed over the calibration requests."""
    import torch

    from tunefront.evaluators.interfaces.torch_tensors import tensors

    sums = [0.0] * len(layers)

    def watch(
        place: int, _: torch.nn.Module, arguments: tuple[torch.Tensor, ...], output: object
    ) -> None:
        states = output[0] if isinstance(output, tuple) else output
        assert isinstance(states, torch.Tensor)
        cosine = torch.nn.functional.cosine_similarity(arguments[0], states, dim=-1)
        sums[place] += 1.0 - float(cosine.mean())

    handles = [layer.register_forward_hook(partial(watch, i)) for i, layer in enumerate(layers)]
    try:
        with torch.no_grad():
            for request in calibration:
                module(**tensors(request))
    finally:
        for handle in handles:
            handle.remove()
    return sums
