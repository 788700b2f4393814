"""Words for what is printed."""

import pytest

from tunefront.search.text import counted, listed


@pytest.mark.parametrize(
    ("count", "told"), [(0, "0 trials"), (1, "1 trial"), (2, "2 trials"), (1234, "1,234 trials")]
)
def test_things_are_counted(count: int, told: str) -> None:
    assert counted(count, "trial") == told


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ([], ""),
        ([7], "007"),
        (range(5), "000, 001, 002, 003, 004"),
        (range(40), "000, 001, 002, 003, ..., 039"),
    ],
)
def test_of_many_numbers_the_first_and_the_last_are_named(numbers: list[int], told: str) -> None:
    assert listed(numbers) == told
