"""A measurement: a value with its unit, its spread and its sample count."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One figure of one trial.

    Attributes:
        value: The figure itself; always finite.
        unit: Its unit, empty for pure numbers.
        low: Lower end of its 95 % interval; `value` itself where there is no spread.
        high: Upper end of its 95 % interval.
        samples: How many observations stand behind it.
    """

    value: float
    unit: str
    low: float
    high: float
    samples: int

    @classmethod
    def exact(cls, value: float, unit: str) -> "Measurement":
        """A figure without spread: a size, a count."""
        return cls(value=value, unit=unit, low=value, high=value, samples=1)

    @classmethod
    def with_error(
        cls, value: float, unit: str, standard_error: float, samples: int
    ) -> "Measurement":
        """A mean with its standard error; the interval is the normal one at 95 %."""
        half = 1.96 * standard_error
        return cls(value=value, unit=unit, low=value - half, high=value + half, samples=samples)

    def to_dict(self) -> dict[str, float | str | int]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, float | str | int]) -> "Measurement":
        """The inverse of `to_dict`."""
        return cls(
            value=float(fields["value"]),
            unit=str(fields["unit"]),
            low=float(fields["low"]),
            high=float(fields["high"]),
            samples=int(fields["samples"]),
        )
