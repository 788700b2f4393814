"""Contract of a sampler, which proposes the next configuration to evaluate."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from tunefront.search.study.trial import Trial
from tunefront.spaces import Configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """The next configuration to evaluate.

    Attributes:
        configuration: The configuration.
        reason: Text: why it is proposed.
        expected_gains: Expected gains of the untried configurations in descending order, as shares
            of the front's hypervolume; estimated cautiously, since they decide when a search ends.
            Empty if the proposal is not based on a prediction.
        expected: Predicted 90 % interval of each objective's metric, in its unit; empty without a
            prediction.
    """

    configuration: Configuration
    reason: str
    expected_gains: tuple[float, ...] = ()
    expected: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def expected_gain(self) -> float | None:
        """Largest expected gain of one further trial; None without a prediction."""
        return self.gain_of(1)

    def gain_of(self, count: int) -> float | None:
        """Return an upper bound on the expected gain of further trials; None without a prediction.

        It is an upper bound because overlap between the trials is ignored.

        Args:
            count: Number of further trials.
        """
        return sum(self.expected_gains[:count]) if self.expected_gains else None


class Sampler(ABC):
    """A sampler over a finite list of configurations; it proposes none of them twice."""

    @abstractmethod
    def propose(
        self, trials: Sequence[Trial], excluded: Collection[Configuration] = ()
    ) -> Proposal | None:
        """Return the next configuration to evaluate, or None if none is left.

        Args:
            trials: All trials so far, including running ones.
            excluded: Configurations excluded after failures (study/inferred_failures.py).
        """


def untried(
    runnable: Sequence[Configuration],
    trials: Sequence[Trial],
    excluded: Collection[Configuration] = (),
) -> list[Configuration]:
    """Return the runnable configurations that are neither tried nor excluded, in list order."""
    tried = {trial.configuration for trial in trials}
    return [c for c in runnable if c not in tried and c not in excluded]
