"""Pruning: the method and the share that is pruned; techniques add the methods."""

from tunefront.spaces.choice import Condition
from tunefront.spaces.choice_kind import ChoiceKind
from tunefront.spaces.extension import Extension

PRUNING_RATIO = ChoiceKind(
    name="pruning_ratio",
    stage="model",
    default=0.0,
    help="Share of the parts named by pruning_method that is pruned; 0 prunes nothing.",
    low=0.0,
    high=0.95,
    short="p",
    read_back="own",
    interfaces=frozenset({"tensors"}),
)

PRUNING_METHOD = ChoiceKind(
    name="pruning_method",
    stage="model",
    default="ffn-channels",
    help="The parts of the model that are pruned.",
    words={},
    when=(Condition(choice="pruning_ratio", test=">", operands=(0.0,)),),
    label_default=True,
    read_back="own",
)

EXTENSION = Extension(
    name="pruning",
    choices=(PRUNING_RATIO, PRUNING_METHOD),
    provides={"read_back": "tunefront.evaluators.techniques.pruning:pruning_not_applied"},
)
