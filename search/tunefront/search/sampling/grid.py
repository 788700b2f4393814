"""Grid search: every configuration in list order."""

from collections.abc import Collection, Sequence

from tunefront.search.study.trial import Trial
from tunefront.spaces import Configuration

from .base import Sampler, untried


class GridSampler(Sampler):
    """A sampler that goes through the list in order.

    Args:
        runnable: The configurations that can run; those of one candidate stand together, so that
            few candidates are built twice.
    """

    def __init__(self, runnable: Sequence[Configuration]) -> None:
        self._runnable = runnable

    def explain(self) -> str:
        """Return the fixed reason of a grid search."""
        return "the next of the list"

    def propose(
        self, trials: Sequence[Trial], skipped: Collection[Configuration] = ()
    ) -> Configuration | None:
        """Return the first configuration that is neither tried nor excluded; None if none is."""
        return next(iter(untried(self._runnable, trials, skipped)), None)
