"""Warm start: given configurations are proposed before those of another sampler."""

from collections.abc import Collection, Mapping, Sequence

from tunefront.search.study.trial import Trial
from tunefront.spaces import Configuration

from .base import Sampler, untried


class WarmSampler(Sampler):
    """A sampler that proposes given configurations first and then delegates to another sampler.

    Args:
        sampler: Sampler used afterwards.
        first: Configurations to propose first, in this order, each with the reason for it.
    """

    def __init__(self, sampler: Sampler, first: Mapping[Configuration, str]) -> None:
        self._sampler = sampler
        self._first = first
        self._why = ""

    def explain(self) -> str:
        """Return the reason given for the last proposal, or the other sampler's."""
        return self._why or self._sampler.explain()

    def promise(self, count: int = 1) -> float | None:
        """Return the other sampler's expected gain; None after a given configuration."""
        return None if self._why else self._sampler.promise(count)

    def propose(
        self, trials: Sequence[Trial], skipped: Collection[Configuration] = ()
    ) -> Configuration | None:
        """Return the next given configuration, else the other sampler's proposal."""
        left = untried(tuple(self._first), trials, skipped)
        self._why = self._first[left[0]] if left else ""
        return left[0] if left else self._sampler.propose(trials, skipped)
