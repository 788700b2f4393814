"""A choice of a user: weights below a threshold become zero; read back from the zeros."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tunefront.evaluators.evaluation.built import CandidateRecord
from tunefront.evaluators.interfaces.endpoint import Facts
from tunefront.evaluators.interfaces.tensors import Inputs
from tunefront.evaluators.techniques.base import Plan, Technique
from tunefront.spaces import ChoiceKind, Configuration, Extension

if TYPE_CHECKING:
    import torch

ZEROED_BELOW = ChoiceKind(
    name="zeroed_below",
    stage="model",
    default=0.0,
    help="Weights with a smaller absolute value become zero.",
    low=0.0,
    high=1.0,
    short="z",
    read_back="own",
)

EXTENSION = Extension(
    name="zeroing",
    choices=(ZEROED_BELOW,),
    provides={"technique": "toy_choice:Zeroing", "read_back": "toy_choice:not_zeroed"},
)


class Zeroing(Technique):
    """Sets small weights to zero."""

    name = "zeroing"

    def plan(self, module: "torch.nn.Module", amount: float, calibration: Sequence[Inputs]) -> Plan:
        """Zero the weights; the structure stays."""
        for weights in module.parameters():
            weights.data[weights.data.abs() < amount] = 0.0
        return {}

    def apply(self, module: "torch.nn.Module", plan: Plan) -> None:
        """Do nothing: the structure is the original one."""


def not_zeroed(configuration: Configuration, facts: Facts, record: CandidateRecord) -> str | None:
    """Return a message if the running candidate has no zeros, or None."""
    if configuration.number("zeroed_below") == 0.0 or float(facts["sparsity"]) > 0.0:
        return None
    return "zeroed_below: no weight of the running candidate is zero"
