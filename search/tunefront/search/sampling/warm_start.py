"""What was good elsewhere is tried before anything is predicted."""

from collections.abc import Collection, Mapping, Sequence

from tunefront.search.study.trial import Trial
from tunefront.spaces import Configuration

from .base import Sampler, untried


class WarmSampler(Sampler):
    """Proposes what is given first, and what another sampler does afterwards.

    Args:
        sampler: Who proposes afterwards.
        first: What is proposed first, in this order, each with where it comes from.
    """

    def __init__(self, sampler: Sampler, first: Mapping[Configuration, str]) -> None:
        self._sampler = sampler
        self._first = first
        self._why = ""

    def explain(self) -> str:
        """Where the last proposal comes from."""
        return self._why or self._sampler.explain()

    def promise(self, count: int = 1) -> float | None:
        """What the other sampler expects of its own proposals."""
        return None if self._why else self._sampler.promise(count)

    def propose(
        self, trials: Sequence[Trial], skipped: Collection[Configuration] = ()
    ) -> Configuration | None:
        """What is left of the first ones, then the other sampler's."""
        left = untried(tuple(self._first), trials, skipped)
        self._why = self._first[left[0]] if left else ""
        return left[0] if left else self._sampler.propose(trials, skipped)
