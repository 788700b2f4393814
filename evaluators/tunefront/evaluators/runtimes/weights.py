"""Reading back what weights are: mean bits, share of zeros, count. Pure functions over arrays."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightStatistics:
    """One weight tensor, or many.

    Attributes:
        count: Weights.
        bits: Bits that all of them take together.
        zeros: Zeros among them.
    """

    count: int
    bits: int
    zeros: int

    @property
    def weight_bits(self) -> float:
        """Mean bits of a weight."""
        return self.bits / max(self.count, 1)

    @property
    def sparsity(self) -> float:
        """Share of zeros."""
        return self.zeros / max(self.count, 1)


def total(parts: Iterable[WeightStatistics]) -> WeightStatistics:
    """All tensors together."""
    listed = list(parts)
    return WeightStatistics(
        count=sum(part.count for part in listed),
        bits=sum(part.bits for part in listed),
        zeros=sum(part.zeros for part in listed),
    )
