"""The sentence about a trial: directions, intervals, and the warnings of what is not confirmed."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tunefront.evaluators import Evaluation, Measurement
from tunefront.search import Experiment, Result, Trial, result_of
from tunefront.search.results.sentence import comparison_sentence, marked
from tunefront.search.study.confirmation import Confirmation, Round
from tunefront.search.terminal.result import picks_lines, result_record
from tunefront.search.tracking.note import Links, front_page, search_note

TrialOf = Callable[..., Trial]
BUSY = "other processes used the cores in 4 of 6 turns"


def ratio(value: float, low: float, high: float) -> Measurement:
    return Measurement(value=value, unit="x", low=low, high=high, samples=9)


def sentence(trial: Trial, *warnings: str, **ratios: Measurement | None) -> str:
    return comparison_sentence(
        trial,
        speedup=ratios.get("speedup"),
        same_execution=ratios.get("same_execution"),
        saving=ratios.get("saving"),
        warnings=warnings,
    )


def test_speed_and_memory_have_direction_and_interval(trial: TrialOf) -> None:
    text = sentence(
        trial(1, quality_drop=0.0), speedup=ratio(4.12, 3.9, 4.4), saving=ratio(0.5, 0.4, 0.62)
    )
    assert text == "4.1x faster (3.9 to 4.4), 2x more memory (1.6 to 2.5), the same quality"


def test_an_interval_that_rounds_to_nothing_is_left_out(trial: TrialOf) -> None:
    text = sentence(trial(1), speedup=ratio(4.12, 4.11, 4.13), saving=ratio(1.0, 0.99, 1.01))
    assert text == "4.1x faster, the same memory"


def test_the_same_speed_has_an_interval_that_reaches_further(trial: TrialOf) -> None:
    assert sentence(trial(1), speedup=ratio(1.0, 0.7, 1.4)) == "the same speed (0.7 to 1.4)"


def test_a_value_that_is_not_confirmed_is_about_and_names_the_warnings(trial: TrialOf) -> None:
    own = trial(1, quality_drop=0.0)
    text = sentence(own, BUSY, speedup=ratio(4.0, 2.4, 5.9))
    assert text == f"about 4x faster (2.4 to 5.9; unconfirmed: {BUSY}), the same quality"


def test_equal_settings_stand_between_interval_and_warnings(trial: TrialOf) -> None:
    text = sentence(
        trial(1), "one", "two", speedup=ratio(4, 2.4, 5.9), same_execution=ratio(1.41, 1.3, 1.5)
    )
    assert text == (
        "about 4x faster (2.4 to 5.9; 1.4x faster at the same batch size and threads; "
        "unconfirmed: one, two)"
    )


def test_a_trial_without_a_speed_has_its_warnings_at_the_end(trial: TrialOf) -> None:
    own = trial(1, quality_drop=2.0)
    assert sentence(own, "one") == "quality -2 % (unconfirmed: one)"
    assert sentence(trial(1), "one") == "(unconfirmed: one)"
    assert sentence(trial(1)) == ""


def test_a_text_is_marked_only_where_there_are_warnings() -> None:
    assert marked("the baseline", ()) == "the baseline"
    assert marked("the baseline", ["one", "two"]) == "the baseline (unconfirmed: one, two)"


@pytest.fixture
def doubted(
    load: Callable[..., Experiment], trial: TrialOf, evaluation: Callable[..., Evaluation]
) -> Result:
    """The recommended trial is four times as fast, but other processes used the cores."""
    figures = {"peak_memory_mb": 500.0, "perplexity": 10.0, "quality_drop": 0.0}
    busy = replace(evaluation(), warnings=(BUSY,))
    wide = Measurement(value=400.0, unit="items/s", low=240.0, high=590.0, samples=6)
    own = trial(1, throughput=400.0, evaluation=busy, **figures)
    own = replace(own, measurements={**own.measurements, "throughput": wide})
    return result_of(load(), [trial(0, throughput=100.0, **figures), own], Confirmation())


SENTENCE = f"about 4x faster (2.4 to 5.9; unconfirmed: {BUSY}), the same memory, the same quality"


def test_headline_picks_and_records_have_the_warnings(doubted: Result) -> None:
    assert doubted.headline() == f"001 t2: {SENTENCE}"
    assert SENTENCE in picks_lines(doubted)[0]
    record = result_record(doubted)
    assert record["headline"] == doubted.headline()
    assert record["picks"][0]["against_baseline"] == SENTENCE
    speed = record["picks"][0]["measurements"]["throughput"]
    assert (speed["value"], speed["low"]) == (400.0, 240.0)


def test_the_notes_in_mlflow_have_the_warnings_once(doubted: Result) -> None:
    page = front_page(doubted, Links(runs={}, views={}, picture="p", report="r"))
    assert f"**{doubted.headline()}**" in page
    assert "| trial | trust |" in page
    note = search_note(doubted.views[1], doubted)
    assert note.startswith(SENTENCE)
    assert note.count(BUSY) == 1


def test_a_confirmation_replaces_the_warnings_of_the_trial(
    doubted: Result, load: Callable[..., Experiment]
) -> None:
    quiet = Round(ratios=(3.0, 3.0, 3.0), values={"throughput": 300.0, "peak_memory_mb": 500.0})
    base = Round(ratios=(1.0, 1.0, 1.0), values={"throughput": 100.0, "peak_memory_mb": 500.0})
    confirmation = Confirmation(rounds={0: [base], 1: [quiet]})
    view = result_of(doubted.experiment, doubted.trials, confirmation).views[1]
    assert view.trust == "confirmed"
    assert view.sentence == "3x faster, the same memory, the same quality"
    assert view.remarks == (f"warnings: {BUSY}",)
    noisy = replace(confirmation, rounds={0: [base], 1: [replace(quiet, undisturbed=False)]})
    view = result_of(doubted.experiment, doubted.trials, noisy).views[1]
    assert "unconfirmed: other processes used the cores in 1 of 1 rounds" in view.sentence
    assert view.remarks == (f"warnings: {BUSY}",)


def test_a_baseline_that_was_disturbed_is_marked(doubted: Result) -> None:
    base, own = doubted.trials
    assert own.evaluation is not None
    trials = [replace(base, evaluation=own.evaluation), own]
    view = result_of(doubted.experiment, trials, Confirmation()).views[0]
    assert view.sentence == f"the baseline (unconfirmed: {BUSY})"
