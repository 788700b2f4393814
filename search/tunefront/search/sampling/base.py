"""Contract of a sampler, which proposes the next configuration to evaluate."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence

from tunefront.search.study.trial import Trial
from tunefront.spaces import Configuration


class Sampler(ABC):
    """A sampler over a finite list of configurations; it proposes none of them twice."""

    def explain(self) -> str:
        """Return the reason for the last proposal; empty if there is none."""
        return ""

    def promise(self, count: int = 1) -> float | None:
        """Return an upper bound on the expected gain of further trials.

        The gain is a share of the front's hypervolume, predicted at the last proposal. It is an
        upper bound because overlap between the trials is ignored. None if the sampler makes no
        predictions, or the last proposal was not based on one.

        Args:
            count: Number of further trials.
        """
        return None

    @abstractmethod
    def propose(
        self, trials: Sequence[Trial], skipped: Collection[Configuration] = ()
    ) -> Configuration | None:
        """Return the next configuration to evaluate, or None if none is left.

        Args:
            trials: All trials so far, including running ones.
            skipped: Configurations excluded after failures (study/inferred_failures.py).
        """


def untried(
    runnable: Sequence[Configuration],
    trials: Sequence[Trial],
    skipped: Collection[Configuration] = (),
) -> list[Configuration]:
    """Return the runnable configurations that are neither tried nor excluded, in list order."""
    tried = {trial.configuration for trial in trials}
    return [c for c in runnable if c not in tried and c not in skipped]
