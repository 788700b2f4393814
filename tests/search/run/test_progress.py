"""How far a night is, in figures and words; pure values at made-up moments."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from tunefront.evaluators import Evaluation
from tunefront.search import Experiment, Trial, result_of
from tunefront.search.run.progress import (
    Progress,
    RunningTrial,
    Snapshot,
    snapshot_of,
)
from tunefront.search.study.confirmation import Confirmation
from tunefront.search.study.live_stage import LiveStage

NOON = datetime(2026, 1, 1, 12, 0)
ProgressOf = Callable[..., Progress]


@pytest.fixture
def progress(
    load: Callable[..., Experiment],
    trial: Callable[..., Trial],
    evaluation: Callable[..., Evaluation],
    failure: Callable[..., Evaluation],
) -> ProgressOf:
    """After five trials of 10 s each, one of them failed; the sixth runs, for 4 s."""

    def make(*overrides: str, **changes: Any) -> Progress:
        ended = replace(evaluation(), seconds={"total": 10.0, "waiting": 0.0})
        figures = {"throughput": 100.0, "peak_memory_mb": 500.0, "perplexity": 9.0}
        figures["quality_drop"] = 0.0
        trials = [trial(n, evaluation=ended, **figures) for n in range(3)]
        trials.append(
            trial(3, status="infeasible", evaluation=ended, **{**figures, "quality_drop": 9.0})
        )
        trials.append(trial(4, status="failed", evaluation=failure()))
        running = trial(5, status="running", started=NOON - timedelta(seconds=4))
        running = replace(running, expected_s=8.0)
        experiment = load(*overrides)
        fields: dict[str, Any] = {
            "experiment": experiment,
            "phase": "",
            "result": result_of(experiment, [*trials, running], Confirmation(rounds={})),
            "running": (running,),
            "left": 6,
            "at": NOON,
            "elapsed_s": 55.0,
            "trials_s": None,
            "all_s": None,
        }
        return Progress(**{**fields, **changes})

    return make


ALONE = "concurrent_trials=1"
UNCONFIRMED = "confirmation.finalists=0"


def at(progress: Progress, seconds: float = 0.0, **stages: Any) -> Snapshot:
    return snapshot_of(progress, stages.get("stages", {}), NOON + timedelta(seconds=seconds))


def test_trials_are_counted_by_how_they_ended(progress: ProgressOf) -> None:
    picture = at(progress())
    assert picture.counts_text() == "5 of 12 trials: 3 ok, 1 beyond limits, 1 failed, 1 running"
    assert (picture.done, picture.planned) == (5, 12)
    nothing = at(progress(result=None, running=()))
    assert nothing.counts_text() == "0 of 6 trials"
    assert (nothing.best, nothing.front, nothing.left_s) == ("", 0, None)


def test_the_best_so_far_and_ties_are_those_of_the_result(progress: ProgressOf) -> None:
    picture = at(progress())
    result = progress().result
    assert result is not None
    assert picture.best == result.headline()
    assert (picture.front, picture.ties) == (3, 3)


def test_time_passes_between_two_changes(progress: ProgressOf) -> None:
    assert at(progress()).elapsed_s == 55
    assert at(progress(), 3).elapsed_s == 58


def test_what_a_trial_is_at_is_what_its_worker_said(progress: ProgressOf) -> None:
    silent = at(progress(), 2)
    assert silent.now == (
        RunningTrial(trial="005 t6", stage="starting", seconds=6.0, expected_s=8.0),
    )
    stages = {5: LiveStage(stage="quality", since=(NOON - timedelta(seconds=1)).timestamp())}
    text = at(progress(), 2, stages=stages).now[0]
    assert (text.stage, text.seconds) == ("evaluating quality", 3.0)
    ahead = {5: LiveStage(stage="build", since=(NOON + timedelta(seconds=9)).timestamp())}
    assert at(progress(), 2, stages=ahead).now[0].seconds == 0, "another machine's clock"


def test_where_trials_end_it_their_pace_tells_when(progress: ProgressOf) -> None:
    """Six more of 10 s, and 4 s of the one that runs."""
    picture = at(progress(ALONE, UNCONFIRMED))
    assert picture.left_s == pytest.approx(64)
    assert picture.end == "after 6 more trials, about 12:01"
    assert at(progress("concurrent_trials=2", UNCONFIRMED)).left_s == pytest.approx(34)


def test_confirmation_is_part_of_what_is_left(progress: ProgressOf) -> None:
    """Its share of the whole: of 40 s that are spent and 64 s to come, times 1/3."""
    picture = at(progress(ALONE, "confirmation.share=0.25"))
    assert picture.left_s == pytest.approx(64 + (40 + 64) / 3)


def test_where_the_clock_ends_it_the_trials_that_fit_are_reported(progress: ProgressOf) -> None:
    picture = at(progress(ALONE, "budget.hours=2", trials_s=36.0, all_s=180.0), 1)
    assert picture.left_s == 179
    assert picture.end == "at 12:03 (budget.hours 2): time for about 3 of 6 more trials"
    late = at(progress(ALONE, "budget.hours=2", trials_s=36.0, all_s=180.0), 1000)
    assert late.left_s == 0
    tomorrow = at(progress(ALONE, "budget.hours=20", trials_s=36.0, all_s=72000.0))
    assert tomorrow.end.startswith("at Fri 08:00 (budget.hours 20)")


def test_before_the_first_trial_only_bounds_are_known(progress: ProgressOf) -> None:
    first = at(progress(result=None, running=()))
    assert first.end == "after 6 more trials"
    bounded = at(
        progress("budget.until='12:30'", result=None, running=(), trials_s=1500.0, all_s=1800.0)
    )
    assert bounded.left_s is None
    assert bounded.end == "after 6 more trials, by 12:30 (budget.until 12:30) at the latest"


def test_while_it_is_ending_no_trials_are_promised(progress: ProgressOf) -> None:
    picture = at(progress(phase="confirming the finalists: 1 of 3 rounds", running=()))
    assert (picture.left_s, picture.end) == (None, "")
    bounded = progress("budget.hours=2", phase="confirming", running=(), all_s=600.0)
    assert at(bounded).end == "by 12:10 (budget.hours 2)"


def test_a_sign_of_life_is_one_line(progress: ProgressOf) -> None:
    assert at(progress(ALONE, UNCONFIRMED), 2).line() == (
        "57 s: 5 of 12 trials: 3 ok, 1 beyond limits, 1 failed, 1 running; about 1 min to go; "
        "005 t6 (starting for 6 s)"
    )
