"""Warm start: given configurations are proposed before those of another sampler."""

from collections.abc import Collection, Mapping, Sequence

from tunefront.search.study.trial import Trial
from tunefront.spaces import Configuration

from .base import Proposal, Sampler, untried


class WarmSampler(Sampler):
    """A sampler that proposes given configurations first and then delegates to another sampler.

    Args:
        sampler: Sampler used afterwards.
        first: Configurations to propose first, in this order, each with the reason for it.
    """

    def __init__(self, sampler: Sampler, first: Mapping[Configuration, str]) -> None:
        self._sampler = sampler
        self._first = first

    def propose(
        self, trials: Sequence[Trial], excluded: Collection[Configuration] = ()
    ) -> Proposal | None:
        """Return the next given configuration, else the other sampler's proposal."""
        left = untried(tuple(self._first), trials, excluded)
        if left:
            return Proposal(configuration=left[0], reason=self._first[left[0]])
        return self._sampler.propose(trials, excluded)
