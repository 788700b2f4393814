"""Words for what is printed."""

import pytest

from tunefront.search.text import counted, duration_text, listed


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "0 trials"), (1, "1 trial"), (2, "2 trials"), (1234, "1,234 trials")],
)
def test_things_are_counted(count: int, expected: str) -> None:
    assert counted(count, "trial") == expected


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([], ""),
        ([7], "007"),
        (range(5), "000, 001, 002, 003, 004"),
        (range(40), "000, 001, 002, 003, ..., 039"),
    ],
)
def test_of_many_numbers_the_first_and_the_last_are_named(
    numbers: list[int], expected: str
) -> None:
    assert listed(numbers) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(-1, "0 s"), (59.4, "59 s"), (59.7, "1 min"), (60, "1 min"), (3540, "59 min"),
     (3599, "1 h 00 min"), (4320, "1 h 12 min")],
)  # fmt: skip
def test_a_duration_has_a_unit_that_suits_it(seconds: float, expected: str) -> None:
    assert duration_text(seconds) == expected
