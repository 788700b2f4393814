"""The contract of a technique: torch module -> torch module."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tunefront.evaluators.interfaces.tensors import Inputs

if TYPE_CHECKING:
    import torch

Plan = Mapping[str, object]
"""The resulting structure of a module, as plain JSON values."""


class Technique(ABC):
    """A transformation of a module in two steps, so that the costly search is done only once.

    `plan` decides the structure and can change weights (recovery, training); `apply` changes the
    structure only. `apply` plus the weights that `plan` left reproduce the same module.
    """

    name: str

    @abstractmethod
    def plan(self, module: "torch.nn.Module", amount: float, calibration: Sequence[Inputs]) -> Plan:
        """Transform the module in place and return its new structure.

        Args:
            module: fp32, on the CPU, in eval mode.
            amount: Strength of the transformation, in the unit of its choice.
            calibration: Real requests.

        Raises:
            EvaluationError: If the module has nothing to transform (cause "unsupported").
        """

    @abstractmethod
    def apply(self, module: "torch.nn.Module", plan: Plan) -> None:
        """Give the original module the planned structure, in place; weights are loaded later."""
