"""Structured pruning: remove channels or heads and refit the remaining weights.

Units are removed in the order in which their removal changes the block's output on calibration data
least; the remaining weights are fitted to the original output by least squares (Optimal Brain
Surgeon, Hassibi & Stork 1993, applied to whole units). Blocks are pruned in order; the calibration
data of each passes through the blocks already pruned.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from tunefront.evaluators.interfaces.tensors import Inputs
from tunefront.spaces import EvaluationError

from .base import Plan, Technique

if TYPE_CHECKING:
    import torch

    from .blocks import ModuleBlock

_DAMPING = 0.01
"""Ridge regularization, relative to the mean second moment of a feature."""


class StructuredPruning(Technique):
    """Removal of a share of the units of every block."""

    def __init__(
        self, name: str, blocks: "Callable[[torch.nn.Module], Iterator[ModuleBlock]]"
    ) -> None:
        self.name = name
        self._blocks = blocks

    def plan(self, module: "torch.nn.Module", amount: float, calibration: Sequence[Inputs]) -> Plan:
        """Prune the share `amount` of the units of every block and refit the consumers."""
        blocks = list(self._blocks(module))
        if not blocks:
            raise EvaluationError(
                f"pruning {self.name}: no block of a known shape in {type(module).__name__}",
                cause="unsupported",
            )
        kept: dict[str, list[int]] = {}
        for block in blocks:
            # At least one is pruned and one kept: rounding must not turn a ratio into no pruning.
            count = max(1, min(block.units - 1, round(block.units * (1 - amount))))
            kept[block.name] = _prune(module, block, count, calibration)
        return {"kept": kept}

    def apply(self, module: "torch.nn.Module", plan: Plan) -> None:
        """Prune the planned units; the consumers are not refitted."""
        kept = cast(Mapping[str, list[int]], plan["kept"])
        for block in list(self._blocks(module)):
            block.keep(kept[block.name])


def channels() -> StructuredPruning:
    """Return pruning of the hidden channels of feed-forward blocks."""

    def blocks(module: "torch.nn.Module") -> "Iterator[ModuleBlock]":
        from .blocks import feed_forward_blocks

        return feed_forward_blocks(module)

    return StructuredPruning("ffn-channels", blocks)


def heads() -> StructuredPruning:
    """Return pruning of attention heads."""

    def blocks(module: "torch.nn.Module") -> "Iterator[ModuleBlock]":
        from .blocks import attention_blocks

        return attention_blocks(module)

    return StructuredPruning("heads", blocks)


def _prune(
    module: "torch.nn.Module", block: "ModuleBlock", count: int, calibration: Sequence[Inputs]
) -> list[int]:
    """Prune a block to `count` units, refit its consumer, and return the units kept."""
    import torch

    moments = _second_moments(module, block.consumer, calibration)
    weight = block.consumer.weight.data.double()
    best = _best_units(moments, weight, block.group, count)
    features = block.features(best)
    # min ||W h - V h_kept||^2 over V: V = W M[:, kept] M[kept, kept]^-1
    fitted = torch.linalg.solve(moments[features][:, features], (weight @ moments[:, features]).T).T
    block.keep(best)
    block.consumer.weight.data.copy_(fitted.to(block.consumer.weight.dtype))
    return best


def _best_units(
    moments: "torch.Tensor", weight: "torch.Tensor", group: int, count: int
) -> list[int]:
    """Remove the cheapest unit repeatedly, refitting the others, and return the units kept.

    Args:
        moments: Second moments of the features, `(features, features)`.
        weight: Weights of the consumer, `(outputs, features)`.
        group: Features per unit.
        count: Number of units to keep.
    """
    import torch

    units = moments.shape[0] // group
    inverse, weight = torch.linalg.inv(moments), weight.clone()
    left = torch.ones(units, dtype=torch.bool)
    for _ in range(units - count):
        costs = _costs(inverse, weight, group, left)
        gone = int(torch.where(left, costs, torch.inf).argmin())
        # Hassibi & Stork, equation 5, for all features of the unit at once.
        at = slice(gone * group, (gone + 1) * group)
        gain = torch.linalg.solve(inverse[at, at], inverse[at])
        weight.addmm_(weight[:, at].clone(), gain, alpha=-1)
        inverse.addmm_(inverse[:, at].clone(), gain, alpha=-1)
        left[gone] = False
    return [int(unit) for unit in left.nonzero().flatten()]


def _costs(
    inverse: "torch.Tensor", weight: "torch.Tensor", group: int, left: "torch.Tensor"
) -> "torch.Tensor":
    """Return the output error caused by removing each unit, shape `(units,)`.

    Values of units that are already removed are arbitrary.
    """
    import torch

    if group == 1:
        return (weight**2).sum(0) / torch.where(left, inverse.diagonal(), 1.0)
    costs = torch.zeros(len(left), dtype=weight.dtype)
    for unit in left.nonzero().flatten().tolist():
        at = slice(unit * group, (unit + 1) * group)
        reads = weight[:, at].T
        costs[unit] = (reads * torch.linalg.solve(inverse[at, at], reads)).sum()
    return costs


def _second_moments(
    module: "torch.nn.Module", consumer: "torch.nn.Linear", calibration: Sequence[Inputs]
) -> "torch.Tensor":
    """Return the damped second moments of the consumer's input, float64 `(features, features)`."""
    import torch

    from tunefront.evaluators.interfaces.torch_tensors import tensors

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
