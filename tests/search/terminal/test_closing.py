"""The end of a night: which objectives are drawn, what the marks mean, what is a close call."""

from collections.abc import Callable

import pytest

from tunefront.search import Experiment, Result, Trial, result_of
from tunefront.search.study.confirmation import Confirmation
from tunefront.search.terminal.closing import (
    CALLS,
    close_call_lines,
    closing_lines,
    pair_of,
    plot_lines,
)

Load = Callable[..., Experiment]
TrialOf = Callable[..., Trial]
THREE = "objectives={throughput: maximize, peak_memory_mb: minimize, perplexity: minimize}"


@pytest.fixture
def answered(load: Load, trial: TrialOf) -> Callable[..., Result]:
    """A result from rows of throughput, peak memory and perplexity."""

    def make(
        *rows: tuple[float, float, float], overrides: tuple[str, ...] = (), spread: float = 0.0
    ) -> Result:
        trials = [
            trial(n, spread=spread, throughput=t, peak_memory_mb=m, perplexity=p, quality_drop=0.0)
            for n, (t, m, p) in enumerate(rows)
        ]
        return result_of(load(*overrides), trials, Confirmation(rounds={}))

    return make


def test_the_front_is_drawn_with_roles_names_and_units(answered: Callable[..., Result]) -> None:
    result = answered((100, 500, 10), (400, 300, 10), (50, 250, 10), (90, 600, 10))
    assert result.front.recommended is result.trials[1]
    lines = plot_lines(result)
    assert lines[0] == "peak_memory_mb, MB (less is better)"
    assert lines[-3].endswith("throughput, items/s (more is better), log scale")
    assert lines[-1] == "* recommended   B baseline   o front   . dominated"
    assert lines[1].split() == ["600", "+", "."]
    assert lines[15].split() == ["250", "+o002"]
    assert [line.split("|")[-1].strip() for line in lines if "*" in line][0] == "001*"
    assert any("B000" in line for line in lines)


@pytest.mark.parametrize(
    ("rows", "drawn"),
    [
        ([(100, 500, 10), (200, 600, 10), (300, 700, 10)], ("throughput", "peak_memory_mb")),
        # Who is fast is small, too: the choice is between speed and quality.
        ([(100, 500, 10), (200, 400, 11), (300, 300, 12)], ("throughput", "perplexity")),
        # One constant objective, and two that go together.
        ([(100, 500, 12), (100, 400, 13), (100, 300, 14)], ("peak_memory_mb", "perplexity")),
    ],
)
def test_of_three_objectives_those_are_drawn_between_which_there_is_most_to_choose(
    answered: Callable[..., Result], rows: list[tuple[float, float, float]], drawn: tuple[str, str]
) -> None:
    result = answered(*rows, overrides=(THREE,))
    assert len(result.front.trials) == 3
    pair = pair_of(result)
    assert pair is not None
    assert tuple(objective.metric for objective in pair) == drawn


def test_nothing_is_drawn_where_there_is_nothing_to_choose(
    answered: Callable[..., Result], load: Load
) -> None:
    assert (
        closing_lines(answered((1, 1, 1), overrides=("objectives={throughput: maximize}",))) == []
    )
    nothing = result_of(load(), (), Confirmation(rounds={}))
    assert closing_lines(nothing) == []


def test_one_trial_is_a_plot_too(answered: Callable[..., Result]) -> None:
    lines = plot_lines(answered((100, 500, 10)))
    assert lines[-1] == "* recommended"
    assert sum("*" in line for line in lines[:-1]) == 1


def test_a_tie_names_both_trials_and_the_reason(answered: Callable[..., Result]) -> None:
    result = answered((100, 500, 10), (102, 502, 10), (300, 900, 10), spread=0.03)
    lines = close_call_lines(result)
    assert lines[0] == "ties on the front, and why they are tied:"
    assert lines[1].startswith(("  000 and 001: throughput ", "  001 and 000: throughput "))
    assert all(line.startswith(" " * 15) for line in lines[2:])
    text = " ".join(" ".join(lines).split())
    assert "100 ± 3" in text and "items/s" in text
    assert "the worse lies within the interval of the better" in text
    assert "less than 1 % apart" in text
    assert "002" not in text


def test_quality_is_compared_as_the_ties_are(answered: Callable[..., Result]) -> None:
    """On the same items: two perplexities that differ are one quality where the drop is one."""
    result = answered((100, 500, 10.0), (100, 500, 10.5), overrides=(THREE,))
    text = " ".join(close_call_lines(result))
    assert "quality_drop 0 and 0 % (the same)" in text
    assert "perplexity" not in text


def test_many_close_calls_are_counted(answered: Callable[..., Result]) -> None:
    result = answered(*[(100, 500, 10)] * 5)
    lines = close_call_lines(result)
    assert sum(" and 0" in line for line in lines) == CALLS
    assert lines[-1] == "  and 5 more pairs: see `=` in the table"
    assert all(len(line) <= 80 for line in closing_lines(result))
