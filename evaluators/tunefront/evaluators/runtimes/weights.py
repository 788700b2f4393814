"""Statistics of weights for the read-back: mean bits, share of zeros, count."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightStatistics:
    """Statistics of one weight tensor, or of several.

    Attributes:
        count: Number of weights.
        bits: Total bits of all weights.
        zeros: Number of weights that are zero.
    """

    count: int
    bits: int
    zeros: int

    @property
    def weight_bits(self) -> float:
        """Mean bits per weight."""
        return self.bits / max(self.count, 1)

    @property
    def sparsity(self) -> float:
        """Share of zeros."""
        return self.zeros / max(self.count, 1)


def total(parts: Iterable[WeightStatistics]) -> WeightStatistics:
    """Sum the statistics of several tensors."""
    listed = list(parts)
    return WeightStatistics(
        count=sum(part.count for part in listed),
        bits=sum(part.bits for part in listed),
        zeros=sum(part.zeros for part in listed),
    )
