"""Pruning: the method and the share that is pruned."""

from tunefront.spaces.choice import Condition

from .kind import ChoiceKind

PRUNING_RATIO = ChoiceKind(
    name="pruning_ratio",
    stage="model",
    default=0.0,
    help="The share that is cut from what pruning_method names; 0 leaves the model whole.",
    low=0.0,
    high=0.95,
)

PRUNING_METHOD = ChoiceKind(
    name="pruning_method",
    stage="model",
    default="ffn-channels",
    help="What is cut.",
    words={
        "ffn-channels": "hidden channels of the feed-forward blocks: smaller matrices",
        "heads": "attention heads: smaller matrices",
        "layers": "whole layers",
        "magnitude": "single small weights: zeros, for runtimes with sparse kernels",
    },
    when=(Condition(choice="pruning_ratio", test=">", operands=(0.0,)),),
)
