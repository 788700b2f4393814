"""Words for what is printed."""

import pytest

from tunefront.search.text import counted, listed


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
