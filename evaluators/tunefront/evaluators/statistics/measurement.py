"""A measurement: a value with its unit, interval and sample count."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """The measured value of one metric.

    Attributes:
        value: The value; always finite.
        unit: Its unit, empty for pure numbers.
        low: Lower end of its 95 % interval; equal to `value` if it has no spread.
        high: Upper end of its 95 % interval; equal to `value` if it has no spread, infinite if the
            interval is open.
        samples: Number of observations that it was computed from.
    """

    value: float
    unit: str
    low: float
    high: float
    samples: int

    @property
    def ends(self) -> tuple[float, float]:
        """The ends of the interval for computations; an open one counts as twice the value."""
        open_end = self.value + max(abs(self.value), self.value - self.low)
        return self.low, self.high if math.isfinite(self.high) else open_end

    @classmethod
    def exact(cls, value: float, unit: str) -> "Measurement":
        """Return a measurement without spread, for example a size or a count."""
        return cls(value=value, unit=unit, low=value, high=value, samples=1)

    @classmethod
    def with_error(
        cls, value: float, unit: str, standard_error: float, samples: int
    ) -> "Measurement":
        """Return a measurement with the normal 95 % interval of a standard error."""
        half = 1.96 * standard_error
        return cls(value=value, unit=unit, low=value - half, high=value + half, samples=samples)
