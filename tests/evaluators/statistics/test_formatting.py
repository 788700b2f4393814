"""Numbers for people: digits, separators, zeros, intervals, multiples and percentages."""

import math
import re

import pytest

from tunefront.evaluators import Measurement
from tunefront.evaluators.statistics.formatting import (
    interval_text,
    multiple_ends,
    multiple_text,
    number_text,
    percent_text,
    ratio_text,
    spread_text,
    value_text,
    with_interval,
    with_unit,
)


def between(low: float, value: float, high: float, unit: str = "ms") -> Measurement:
    return Measurement(value=value, unit=unit, low=low, high=high, samples=9)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1234.5678, "1,230"),
        (19_640, "19,600"),
        (1.964e4, "19,600"),
        (-20_000.0, "-20,000"),
        (999.6, "1,000"),
        (99_950_000, "100,000,000"),
        (164.4, "164"),
        (4.0, "4"),
        (9.996, "10"),
        (12.25, "12.3"),
        (-1235, "-1,240"),
        (0.0123456, "0.0123"),
        (0.00003125, "0.0000313"),
        (3.125e-7, "3.13e-7"),
        (1e15, "1e15"),
        (0.0, "0"),
        (-0.0, "0"),
        (math.inf, "inf"),
        (math.nan, "nan"),
    ],
)
def test_a_number_has_three_digits(value: float, expected: str) -> None:
    assert number_text(value) == expected


def test_no_number_has_an_exponent_a_negative_zero_or_trailing_zeros() -> None:
    """Over 17 orders of magnitude the text is the number, to half a unit of its third digit."""
    for power in range(-6, 11):
        for mantissa in (1.0, 1.005, 2.5, 3.14159, 9.994, 9.996):
            for sign in (1.0, -1.0):
                value = sign * mantissa * 10.0**power
                text = number_text(value)
                assert re.fullmatch(r"-?(\d{1,3}(,\d{3})*)(\.\d*[1-9])?", text), text
                assert float(text.replace(",", "")) == pytest.approx(value, rel=5.001e-3)


@pytest.mark.parametrize(
    ("share", "sign", "expected"),
    [
        (0.4412, False, "44.1 %"),
        (1.0, False, "100 %"),
        (-0.0004, True, "-0.04 %"),
        (-0.00001, True, "0 %"),
        (-3.125e-08, True, "0 %"),
        (0.041, True, "+4.1 %"),
        (12.34, True, "+1,230 %"),
    ],
)
def test_a_percentage_that_rounds_to_nothing_has_no_sign(
    share: float, sign: bool, expected: str
) -> None:
    assert percent_text(share, sign=sign) == expected


def test_a_percentage_may_have_fewer_decimals() -> None:
    assert percent_text(0.0736, decimals=0) == "7 %"
    assert percent_text(-0.003, decimals=0, sign=True) == "0 %"


def test_a_value_within_its_noise_is_zero() -> None:
    assert with_unit(between(-0.5, -3.125e-06, 0.5, "%")) == "0 %"
    assert with_unit(between(-0.5, -0.001, 0.5, "points")) == "0 points"
    assert with_unit(Measurement.exact(-3.125e-06, "%")) == "0 %"
    assert with_unit(Measurement.exact(0.00003125, "J")) == "0.0000313 J"
    assert with_unit(between(-0.5, 0.25, 1.0, "")) == "0.25"
    assert value_text(between(-0.5, 0.001, 0.5), sign=True) == "0"
    assert value_text(between(-0.5, 0.25, 1.0), sign=True) == "+0.25"


def test_an_interval_that_rounds_to_one_number_is_left_out() -> None:
    assert with_interval(between(160.2, 164.4, 168.4)) == "164 ms (160 to 168)"
    assert with_interval(between(163.9, 164.0, 164.1)) == "164 ms"
    assert interval_text(between(19_400, 19_640, 19_900)) == "19,400 to 19,900"
    assert interval_text(between(12.0, 14.0, math.inf)) == "at least 12"
    assert interval_text(between(-math.inf, 14.0, 16.0)) == "at most 16"
    assert interval_text(between(-math.inf, 14.0, math.inf)) == ""


@pytest.mark.parametrize(
    ("value", "half", "decimals", "expected"),
    [
        (164.4, 3.14, None, " ± 3.1"),
        (164.4, 0.2, None, ""),
        (0.31, 0.001, 2, ""),
        (0.0, 1.9, 2, " ± 1.9"),
        (0.0, 0.0, None, ""),
        (19_640, 400, None, " ± 400"),
        (2.0, math.nan, None, ""),
    ],
)
def test_a_spread_below_the_digits_of_its_value_is_left_out(
    value: float, half: float, decimals: int | None, expected: str
) -> None:
    assert spread_text(value, half, decimals=decimals) == expected


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        (4.12, "4.1x faster"),
        (4.0, "4x faster"),
        (0.83, "1.2x slower"),
        (123.4, "123x faster"),
        (1 / 1234.0, "1,230x slower"),
    ],
)
def test_a_multiple_has_its_direction(ratio: float, expected: str) -> None:
    assert multiple_text(ratio, "faster", "slower") == expected


def test_the_interval_of_a_multiple_has_the_multiple_s_direction() -> None:
    assert multiple_ends(between(2.4, 4.0, 5.94, "x")) == "2.4 to 5.9"
    assert multiple_ends(between(0.25, 0.5, 0.83, "x")) == "1.2 to 4"
    assert multiple_ends(between(-0.1, 0.5, 0.83, "x")) == "at least 1.2"
    assert multiple_ends(between(2.99, 3.0, 3.01, "x")) == ""


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [(4.12, "4.1x higher"), (0.5, "2x lower"), (1.0123, "+1.2 %"), (0.97, "-3 %"), (1.0001, "")],
)
def test_a_ratio_near_one_is_a_percentage(ratio: float, expected: str) -> None:
    assert ratio_text(ratio) == expected


def test_a_value_never_looks_like_the_bound_that_it_breaks() -> None:
    value = Measurement.exact(12.0301, "ms")
    assert value_text(value) == "12"
    assert with_unit(value, apart_from=12.0) == "12.03 ms"
    assert with_unit(Measurement.exact(1.004, "%"), apart_from=1.0) == "1.004 %"
    assert with_unit(value, apart_from=11.0) == "12 ms"
    assert with_unit(value, apart_from=12.0301) == "12 ms"
