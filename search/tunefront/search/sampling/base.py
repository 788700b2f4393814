"""The contract of a sampler: what to try next, among what can run."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence

from tunefront.search.study.trial import Trial
from tunefront.spaces import Configuration


class Sampler(ABC):
    """Proposes configurations of a listed space, none of them twice."""

    def explain(self) -> str:
        """Why the last proposal was made, in one sentence; empty where nothing is known."""
        return ""

    def promise(self, count: int = 1) -> float | None:
        """What so many trials may be expected to add, as a share of the front's hypervolume.

        Seen at the last proposal; what they add to one another is left out, so it is the most. None
        where nothing is expected: a sampler that does not predict, or that only covers.
        """
        return None

    @abstractmethod
    def propose(
        self, trials: Sequence[Trial], skipped: Collection[Configuration] = ()
    ) -> Configuration | None:
        """The next configuration to evaluate, or None where nothing is left.

        Args:
            trials: The record so far, trials under way included.
            skipped: What failures have ruled out (lessons.py).
        """


def untried(
    runnable: Sequence[Configuration],
    trials: Sequence[Trial],
    skipped: Collection[Configuration] = (),
) -> list[Configuration]:
    """What can run, is not ruled out and has not been tried, in the order of the list."""
    tried = {trial.configuration for trial in trials}
    return [c for c in runnable if c not in tried and c not in skipped]
