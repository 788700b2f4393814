"""Acquisition function: expected gain x probability of feasibility / expected seconds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tunefront.evaluators.statistics.arrays import Floats
from tunefront.evaluators.statistics.formatting import number_text, percent_text, spread_text
from tunefront.search.experiment.objective import Objective
from tunefront.search.sampling.surrogate.targets import TargetScale

from .improvement import Improvement

INTERVAL = 1.645
"""Half-width of a 90 % interval of a normal distribution, in standard deviations."""
UNLIKELY = 0.2
"""Probability of success below which the acquisition value decreases with its sixth power: where
nothing else is expected to add, values that have only failed would be tried again and again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquisition:
    """Acquisition terms of a list of configurations; arrays have one row for each of them.

    Attributes:
        improvement: Expected hypervolume improvements.
        cautious: The same with larger standard deviations, for the decision to end the search.
        feasibility: Probability that all limits are kept, `(candidates,)`.
        success: Probability that the trial does not fail, `(candidates,)`.
        pending_penalty: Penalty factor for similarity to running trials, 0.2 (equal) to 1,
            `(candidates,)`.
        mean: Predicted means, to be minimised, `(candidates, objectives)`.
        deviation: Predicted standard deviations, `(candidates, objectives)`.
        noise: Standard deviation of a measurement, on the scale of the predictions,
            `(objectives,)`.
        scales: Scale of each objective's predictions, linear or logarithmic.
        seconds: Expected seconds, given what is already built, `(candidates,)`.
    """

    improvement: Improvement
    cautious: Improvement
    feasibility: Floats
    success: Floats
    pending_penalty: Floats
    mean: Floats
    deviation: Floats
    noise: Floats
    scales: Sequence[TargetScale]
    seconds: Floats

    @property
    def value(self) -> Floats:
        """Acquisition value, `(candidates,)`.

        It is the expected improvement times `feasibility`, `success` and `pending_penalty`, per
        expected second, and much smaller if `success` is below `UNLIKELY`. If no improvement is
        expected anywhere, the product of the predictive deviations replaces the improvement.
        """
        likely = np.minimum(1.0, self.success / UNLIKELY) ** 5
        chance: Floats = self.feasibility * self.success * likely * self.pending_penalty
        gain = self.improvement.gain
        if (gain * chance).max() <= 1e-12:
            gain = self.deviation.prod(axis=1)
        value: Floats = gain * chance / self.seconds
        return value

    @property
    def gains(self) -> Floats:
        """Cautious expected gains as shares of the front's hypervolume, in descending order.

        Each gain is multiplied by the probabilities that the trial keeps the limits and does not
        fail.
        """
        shares = self.cautious.gain / max(self.cautious.covered, 1e-300)
        gains = shares * self.feasibility * self.success
        return np.asarray(-np.sort(-gains))

    @property
    def _shares(self) -> Floats:
        """Expected improvements as shares of the front's hypervolume, `(candidates,)`."""
        shares: Floats = self.improvement.gain / max(self.improvement.covered, 1e-300)
        return shares

    def expected(self, row: int, objectives: Sequence[Objective]) -> dict[str, tuple[float, float]]:
        """Return the predicted 90 % interval of each objective's measured value, by metric.

        Args:
            row: Index of the configuration.
            objectives: Objectives in the order of the columns of `mean`.
        """
        found = {}
        for place, objective in enumerate(objectives):
            half = INTERVAL * np.hypot(self.deviation[row, place], self.noise[place])
            value = objective.sign * self.mean[row, place]
            low, high = float(value - half), float(value + half)
            if self.scales[place] == "log":
                low, high = float(np.exp(low)), float(np.exp(high))
            found[objective.metric] = low, high
        return found

    def describe(self, row: int, objectives: Sequence[Objective]) -> str:
        """Describe the prediction for one configuration.

        Args:
            row: Index of the configuration.
            objectives: Objectives in the order of the columns of `mean`.
        """
        samples = self.improvement.samples
        how = f" (hypervolume approximated by {samples:,} samples)" if samples else ""
        parts = [f"{_growth(self._shares[row])}{how}"]
        for place, objective in enumerate(objectives):
            value, spread = objective.sign * self.mean[row, place], self.deviation[row, place]
            if self.scales[place] == "log":
                within = f" ± {percent_text(np.expm1(spread), decimals=0)}"
                parts.append(f"{objective.metric} {number_text(np.exp(value))}{within}")
            else:
                within = spread_text(value, spread)
                parts.append(f"{objective.metric} {number_text(value)}{within}")
        parts.append(f"keeps the limits at {percent_text(self.feasibility[row], decimals=0)}")
        parts.append(f"runs at {percent_text(self.success[row], decimals=0)}")
        if np.ptp(self.seconds) > 0:
            parts.append(f"takes about {number_text(self.seconds[row])} s")
        return ", ".join(parts)


def _growth(share: float) -> str:
    """Describe an expected gain, given as a share of the front's hypervolume."""
    if share < 1.0:
        return f"expected to add {percent_text(share)} to the front"
    return f"expected to make the front {number_text(1.0 + share)} times as large"
