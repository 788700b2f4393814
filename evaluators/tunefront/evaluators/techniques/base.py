"""The contract of a technique: torch module -> torch module."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tunefront.evaluators.interfaces.tensors import Inputs

if TYPE_CHECKING:
    import torch

Plan = Mapping[str, object]
"""The structure that a technique leaves, as plain JSON values."""


class Technique(ABC):
    """Changes a module in two steps, so that what was costly to find is found once.

    `plan` may change weights (recovery, training); `apply` changes the structure alone. Together
    with the weights that `plan` left, `apply` makes the same module again.
    """

    name: str

    @abstractmethod
    def plan(self, module: "torch.nn.Module", amount: float, calibration: Sequence[Inputs]) -> Plan:
        """Change the module in place and say what its structure has become.

        Args:
            module: fp32, on the CPU, in eval mode.
            amount: How much, in the choice's own unit.
            calibration: Real requests.

        Raises:
            EvaluationError: With the cause "unsupported" where the module has nothing to change.
        """

    @abstractmethod
    def apply(self, module: "torch.nn.Module", plan: Plan) -> None:
        """Give an untouched module the planned structure, in place; its weights come after."""
