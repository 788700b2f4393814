"""Words for what is printed."""

import shlex
from pathlib import Path

import pytest

from tunefront.search.text import command_text, counted, duration_text, listed


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
    ("path", "expected"),
    [
        ("experiments/minilm", "tunefront run experiments/minilm --smoke"),
        ("my search/a.yaml", "tunefront run 'my search/a.yaml' --smoke"),
        ("it's;rm -rf", """tunefront run 'it'"'"'s;rm -rf' --smoke"""),
        ("$(id)\n", "tunefront run '$(id)\n' --smoke"),
        ("-f.yaml", "tunefront run ./-f.yaml --smoke"),
    ],
)
def test_a_command_can_be_copied(path: str, expected: str) -> None:
    command = command_text("run", Path(path), "--smoke")
    assert command == expected
    program, verb, named, option = shlex.split(command)
    assert (program, verb, Path(named), option) == ("tunefront", "run", Path(path), "--smoke")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(-1, "0 s"), (59.4, "59 s"), (59.7, "1 min"), (60, "1 min"), (3540, "59 min"),
     (3599, "1 h 00 min"), (4320, "1 h 12 min")],
)  # fmt: skip
def test_a_duration_has_a_unit_that_suits_it(seconds: float, expected: str) -> None:
    assert duration_text(seconds) == expected
