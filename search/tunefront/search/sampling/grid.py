"""Grid search: every configuration in list order."""

from collections.abc import Collection, Sequence

from tunefront.search.study.trial import Trial
from tunefront.spaces import Configuration

from .base import Proposal, Sampler, untried


class GridSampler(Sampler):
    """A sampler that goes through the list in order.

    Args:
        runnable: The configurations that can run; those of one candidate stand together, so that
            few candidates are built twice.
    """

    def __init__(self, runnable: Sequence[Configuration]) -> None:
        self._runnable = runnable

    def propose(
        self, trials: Sequence[Trial], excluded: Collection[Configuration] = ()
    ) -> Proposal | None:
        """Return the first configuration that is neither tried nor excluded; None if none is."""
        left = untried(self._runnable, trials, excluded)
        return Proposal(configuration=left[0], reason="the next of the list") if left else None
