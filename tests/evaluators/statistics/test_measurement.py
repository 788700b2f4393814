"""A measurement and the ends of its interval."""

import math

import pytest

from tunefront.evaluators import Measurement


def measured(value: float, low: float, high: float) -> Measurement:
    return Measurement(value=value, unit="ms", low=low, high=high, samples=10)


@pytest.mark.parametrize(
    ("found", "ends"),
    [
        (measured(10.0, 9.0, 12.0), (9.0, 12.0)),
        (measured(10.0, 9.0, math.inf), (9.0, 20.0)),
        (measured(10.0, -10.0, math.inf), (-10.0, 30.0)),
        (Measurement.exact(3.0, "MB"), (3.0, 3.0)),
    ],
)
def test_an_open_end_counts_as_far_away(found: Measurement, ends: tuple[float, float]) -> None:
    assert found.ends == ends
