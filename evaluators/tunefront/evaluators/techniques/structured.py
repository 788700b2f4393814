"""Structured pruning: channels and heads are cut out, and what is left makes up for them.

Units are ranked by the error that their removal causes in the block's output on calibration data
(Optimal Brain Surgeon, Hassibi & Stork 1993, a unit at a time); the reader's weights are then
fitted to its former output by least squares. Blocks are done in order, each on the pruned ones
before it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from tunefront.evaluators.workloads.base import Inputs
from tunefront.spaces import EvaluationError

from .base import Plan, Technique

if TYPE_CHECKING:
    import torch

    from .blocks import Block

_DAMPING = 0.01
"""Ridge, as a share of the mean second moment of a feature."""


class StructuredPruning(Technique):
    """Cuts a share of the units of every block."""

    def __init__(self, name: str, blocks: "Callable[[torch.nn.Module], Iterator[Block]]") -> None:
        self.name = name
        self._blocks = blocks

    def plan(self, module: "torch.nn.Module", amount: float, calibration: Sequence[Inputs]) -> Plan:
        """Cut `amount` of the units of every block and refit the readers."""
        blocks = list(self._blocks(module))
        if not blocks:
            raise EvaluationError(
                f"pruning {self.name}: no block of a known shape in {type(module).__name__}",
                cause="unsupported",
            )
        kept: dict[str, list[int]] = {}
        for block in blocks:
            count = max(1, round(block.units * (1 - amount)))
            kept[block.name] = _prune(module, block, count, calibration)
        return {"kept": kept}

    def apply(self, module: "torch.nn.Module", plan: Plan) -> None:
        """Cut what the plan cut; the readers are not refitted."""
        kept = cast(Mapping[str, list[int]], plan["kept"])
        for block in list(self._blocks(module)):
            block.keep(kept[block.name])


def channels() -> StructuredPruning:
    """Hidden channels of feed-forward blocks."""

    def blocks(module: "torch.nn.Module") -> "Iterator[Block]":
        from .blocks import feed_forward_blocks

        return feed_forward_blocks(module)

    return StructuredPruning("ffn-channels", blocks)


def heads() -> StructuredPruning:
    """Attention heads."""

    def blocks(module: "torch.nn.Module") -> "Iterator[Block]":
        from .blocks import attention_blocks

        return attention_blocks(module)

    return StructuredPruning("heads", blocks)


def _prune(
    module: "torch.nn.Module", block: "Block", count: int, calibration: Sequence[Inputs]
) -> list[int]:
    """Keep `count` units of a block; returns which."""
    import torch

    moments = _second_moments(module, block.consumer, calibration)
    weight = block.consumer.weight.data.double()
    inverse = torch.linalg.inv(moments)
    scores = (weight**2).sum(0) / inverse.diagonal()
    units = scores.view(block.units, block.group).sum(1)
    best = sorted(units.topk(count).indices.tolist())
    features = block.features(best)
    # min ||W h - V h_kept||^2 over V: V = W M[:, kept] M[kept, kept]^-1
    fitted = torch.linalg.solve(moments[features][:, features], (weight @ moments[:, features]).T).T
    block.keep(best)
    block.consumer.weight.data.copy_(fitted.to(block.consumer.weight.dtype))
    return best


def _second_moments(
    module: "torch.nn.Module", consumer: "torch.nn.Linear", calibration: Sequence[Inputs]
) -> "torch.Tensor":
    """Damped second moments of what the consumer reads, float64 `(features, features)`."""
    import torch

    from tunefront.evaluators.runtimes.program import tensors

    size = consumer.in_features
    moments = torch.zeros(size, size, dtype=torch.float64)

    def collect(_: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        rows = arguments[0].reshape(-1, size)
        moments.add_((rows.T @ rows).double())

    handle = consumer.register_forward_pre_hook(collect)
    try:
        with torch.no_grad():
            for request in calibration:
                module(**tensors(request))
    finally:
        handle.remove()
    return moments + torch.eye(size, dtype=torch.float64) * _DAMPING * moments.diagonal().mean()
