"""Calibration of the predictions: how often a value lay in the interval expected of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from tunefront.search.study.trial import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The values of trials that were proposed from a prediction.

    Attributes:
        inside: Number of values within their expected interval.
        values: Number of values.
    """

    inside: int
    values: int

    def __str__(self) -> str:
        """Return such as `34 of 40 values lay within the 90 % interval expected of them`."""
        return (
            f"{self.inside} of {self.values} values lay within the 90 % interval expected of them"
        )


def prediction_calibration(trials: Sequence[Trial]) -> Calibration | None:
    """Return the calibration of measured trials; None if none had a prediction."""
    pairs = [
        (ends, trial.value(metric))
        for trial in trials
        if trial.measured
        for metric, ends in trial.expected.items()
        if metric in trial.measurements
    ]
    if not pairs:
        return None
    inside = sum(low <= value <= high for (low, high), value in pairs)
    return Calibration(inside=inside, values=len(pairs))
