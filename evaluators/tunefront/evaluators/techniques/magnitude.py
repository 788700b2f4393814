"""Unstructured pruning: set the smallest weights of every linear layer to zero."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tunefront.evaluators.interfaces.tensors import Inputs

from .base import Plan, Technique

if TYPE_CHECKING:
    import torch


class MagnitudePruning(Technique):
    """Magnitude pruning of dense matrices; only runtimes that pack sparse weights benefit."""

    name = "magnitude"

    def plan(self, module: "torch.nn.Module", amount: float, calibration: Sequence[Inputs]) -> Plan:
        """Set the share `amount` of smallest weights of every linear layer to zero."""
        import torch

        with torch.no_grad():
            for layer in module.modules():
                if isinstance(layer, torch.nn.Linear):
                    weight = layer.weight
                    count = int(weight.numel() * amount)
                    if count:
                        threshold = weight.abs().flatten().kthvalue(count).values
                        weight[weight.abs() <= threshold] = 0.0
        return {"zeros": amount}

    def apply(self, module: "torch.nn.Module", plan: Plan) -> None:
        """Do nothing: the structure does not change."""
