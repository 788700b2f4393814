"""Every configuration, in the order of the list."""

from collections.abc import Collection, Sequence

from tunefront.search.study.trial import Trial
from tunefront.spaces import Configuration

from .base import Sampler, untried


class GridSampler(Sampler):
    """Enumerates; alike candidates come together, so that little is built twice.

    Args:
        runnable: The configurations that can run.
    """

    def __init__(self, runnable: Sequence[Configuration]) -> None:
        self._runnable = runnable

    def explain(self) -> str:
        """Its place is its reason."""
        return "the next of the list"

    def propose(
        self, trials: Sequence[Trial], skipped: Collection[Configuration] = ()
    ) -> Configuration | None:
        """The first that has not been tried."""
        return next(iter(untried(self._runnable, trials, skipped)), None)
