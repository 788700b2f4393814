"""Numbers as text for people: three significant digits, one form for one value everywhere.

Tables, sentences, notes and pages use these functions; JSON, CSV and records keep all digits. No
number has an exponent, trailing zeros or a negative zero, except values below 1e-6 or from 1e12
on. The report's page repeats these functions in `numbers.js`.
"""

import math
from decimal import ROUND_HALF_UP, Decimal

from .measurement import Measurement

DIGITS = 3
"""Significant digits of a number."""
PERCENT_DECIMALS = 2
"""Most decimals of a percentage: smaller parts are 0."""
MULTIPLE_DECIMALS = 1
"""Most decimals of a multiple such as `4.1x faster`."""
SAME = 1.05
"""Ratios between 1 / SAME and SAME are reported as the same."""
NOISE = 0.05
"""A value below this part of its interval's half width is printed as 0."""
SHORTEST, LONGEST = 1e-6, 1e12
"""Range of absolute values without an exponent."""


def number_text(
    value: float, *, digits: int = DIGITS, decimals: int | None = None, sign: bool = False
) -> str:
    """Format a number: `19,600`, `164`, `0.0123`, `0`.

    Args:
        value: The number.
        digits: Its significant digits.
        decimals: Its most decimals; values that these round to zero are `0`.
        sign: Whether a positive number has a sign; zero never has one.
    """
    if not math.isfinite(value) or value == 0:
        return "0" if value == 0 else f"{value:+}" if sign else f"{value}"
    places = _places(value, digits)
    if decimals is not None:
        places = min(places, decimals)
    rounded = _rounded(value, places)
    mark = "+" if sign else ""
    if rounded == 0:
        return "0"
    if decimals is None and not SHORTEST <= abs(rounded) < LONGEST:
        mantissa, exponent = f"{rounded:{mark}.{digits - 1}e}".split("e")
        return f"{_trimmed(mantissa)}e{int(exponent)}"
    return _trimmed(f"{rounded:{mark},.{max(0, places)}f}")


def value_text(
    measurement: Measurement, *, apart_from: float | None = None, sign: bool = False
) -> str:
    """Format the value of a measurement without its unit: `164`; noise around zero is `0`.

    Args:
        measurement: The measurement.
        apart_from: A number, such as a bound, that another value must not look like: the value has
            as many digits as that takes.
        sign: Whether a positive value has a sign.
    """
    value, decimals = measurement.value, _decimals(measurement)
    text = "0" if _is_noise(measurement) else number_text(value, decimals=decimals, sign=sign)
    if apart_from is None or value == apart_from:
        return text
    digits = DIGITS
    while text == number_text(apart_from, digits=digits, decimals=decimals) and digits < 17:
        digits += 1
        decimals = None if decimals is None else decimals + 1
        text = number_text(value, digits=digits, decimals=decimals)
    return text


def with_unit(measurement: Measurement, *, apart_from: float | None = None) -> str:
    """Format a measurement with its unit: `164 items/s`, `0.31 %`."""
    return f"{value_text(measurement, apart_from=apart_from)} {measurement.unit}".rstrip()


def interval_text(measurement: Measurement) -> str:
    """Format the 95 % interval: `160 to 168`, `at least 12`; empty if it rounds to one number."""
    return _between(measurement.low, measurement.high, _decimals(measurement))


def with_interval(measurement: Measurement) -> str:
    """Format a measurement with its unit and its interval: `164 items/s (160 to 168)`."""
    ends = interval_text(measurement)
    return f"{with_unit(measurement)} ({ends})" if ends else with_unit(measurement)


def with_spread(measurement: Measurement) -> str:
    """Format a measurement without unit, with half its interval: `164 ± 3.1`."""
    half = (measurement.high - measurement.low) / 2
    spread = spread_text(measurement.value, half, decimals=_decimals(measurement))
    return f"{value_text(measurement)}{spread}"


def spread_text(value: float, half: float, *, decimals: int | None = None) -> str:
    """Format the half width of an interval: ` ± 3.8`; empty if it is below the value's digits."""
    places = _places(value or half or 1.0, DIGITS)
    if decimals is not None:
        places = min(places, decimals)
    if not half > 0 or _rounded(half, places) == 0:
        return ""
    return f" ± {number_text(half, digits=2, decimals=decimals)}"


def percent_text(share: float, *, decimals: int = PERCENT_DECIMALS, sign: bool = False) -> str:
    """Format a share in percent: `44 %`, with a sign `+4.1 %`; zero is `0 %`."""
    return f"{number_text(100 * share, decimals=decimals, sign=sign)} %"


def multiple_text(ratio: float, more: str, less: str, same: str = "") -> str:
    """Format a positive ratio with its direction: `4.1x faster`; below 1 it is `1.2x slower`.

    Args:
        ratio: The ratio.
        more: The direction of a ratio above 1.
        less: The direction of a ratio below 1.
        same: Text for a ratio between 1 / SAME and SAME; if empty, such a ratio has a direction.
    """
    if same and 1 / SAME < ratio < SAME:
        return same
    factor, word = (ratio, more) if ratio >= 1 else (1 / ratio, less)
    return f"{number_text(factor, decimals=MULTIPLE_DECIMALS)}x {word}"


def multiple_ends(ratio: Measurement) -> str:
    """Format the interval of a ratio as its multiple is printed: `2.4 to 5.9`; empty if narrow.

    The interval of a ratio below 1 is that of the inverse.
    """
    low, high = ratio.low, ratio.high
    if ratio.value < 1:
        low, high = 1 / high, 1 / low if low > 0 else math.inf
    return _between(low, high, MULTIPLE_DECIMALS)


def ratio_text(ratio: float) -> str:
    """Format a positive ratio: `4.1x higher`, `2.3x lower`, near 1 `+1.2 %`; empty if it is 1."""
    if not 1 / SAME < ratio < SAME:
        return multiple_text(ratio, "higher", "lower")
    text = percent_text(ratio - 1, decimals=1, sign=True)
    return "" if text == "0 %" else text


def _places(value: float, digits: int) -> int:
    """Return the decimals that leave so many significant digits; negative for large values."""
    return digits - 1 - math.floor(math.log10(abs(value)))


def _rounded(value: float, places: int) -> Decimal:
    """Round to decimals, a half away from zero, as the report's page does."""
    unit = Decimal(1).scaleb(-places)
    return (Decimal(value) / unit).quantize(Decimal(1), ROUND_HALF_UP) * unit


def _trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def _decimals(measurement: Measurement) -> int | None:
    return PERCENT_DECIMALS if measurement.unit == "%" else None


def _is_noise(measurement: Measurement) -> bool:
    half = (measurement.high - measurement.low) / 2
    return math.isfinite(half) and abs(measurement.value) < NOISE * half


def _between(low: float, high: float, decimals: int | None) -> str:
    if math.isinf(low) or math.isinf(high):
        if math.isinf(low) and math.isinf(high):
            return ""
        end, word = (low, "at least") if math.isinf(high) else (high, "at most")
        return f"{word} {number_text(end, decimals=decimals)}"
    ends = [number_text(end, decimals=decimals) for end in (low, high)]
    return "" if ends[0] == ends[1] else " to ".join(ends)
