"""A search's own events, and the time that it keeps back before a deadline."""

import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from tunefront.evaluators import Evaluation, QualitySample, WorkloadDescription
from tunefront.search import Experiment
from tunefront.search.experiment.evaluation_settings import settings_of
from tunefront.search.run.events import ConfirmationShortened, DataScarce, Event
from tunefront.search.run.search import EXPORT_S, REPORT_S, _SearchRun
from tunefront.search.study.duration_estimate import EXPORT_TRIALS
from tunefront.search.study.study import Study
from tunefront.search.terminal.events import event_text

KNOWN = QualitySample(items=5, evaluated=5, level=3.0, spread=1.6, hits=False, near_zero=False)


@pytest.fixture
def search_run(load: Callable[..., Experiment]) -> Callable[..., _SearchRun]:
    """A run that has just begun."""

    def make(*overrides: str, exported: bool = False) -> _SearchRun:
        experiment = load(*overrides)
        return _SearchRun(
            experiment,
            Study.open(experiment, {"test": "yes"}),
            settings_of(experiment, "abc"),
            WorkloadDescription(fingerprint="abc"),
            experiment.space.enumerate(),
            [].append,
            start=time.monotonic(),
            exported=exported,
        )

    return make


def test_confirmation_report_and_export_are_part_of_the_budget(
    search_run: Callable[..., _SearchRun], evaluation: Callable[..., Evaluation]
) -> None:
    """Of an hour a fifth is for confirmation."""
    budget = ("budget={hours: 1}", "confirmation.share=0.2")
    plain, exporting = search_run(*budget), search_run(*budget, exported=True)
    assert plain.runner.stopping.seconds_left() == pytest.approx(2880 - REPORT_S, abs=60)
    for run, reserved_s in ((plain, 0.0), (exporting, EXPORT_S)):
        left = run._seconds_left()
        assert left == pytest.approx(3600 - REPORT_S - reserved_s, abs=30)
    study = exporting.study
    slow = replace(evaluation(), seconds={"total": 300.0})
    exporting._on_trial(study.tell(study.ask(exporting.experiment.baseline), slow))
    left = exporting.runner.stopping.seconds_left()
    assert left == pytest.approx(2880 - REPORT_S - EXPORT_TRIALS * 300.0, abs=60)
    assert search_run("budget={trials: 9}").runner.stopping.seconds_left() is None


def test_rounds_that_the_deadline_prevents_are_reported(
    search_run: Callable[..., _SearchRun],
) -> None:
    events: list[Event] = []
    run = search_run("budget={hours: 1}", "confirmation.rounds=3")
    run.on_event = events.append
    run._on_round(1, 3)
    run._report_shortened()
    run._on_round(3, 3)
    run._report_shortened()
    (found,) = (event for event in events if isinstance(event, ConfirmationShortened))
    assert (found.completed, found.planned, found.bound) == (1, 3, "budget.hours 1")
    assert event_text(found) == (
        "confirmation ended after 1 of 3 rounds to keep budget.hours 1; run the same command with "
        "more time to confirm"
    )


@pytest.mark.parametrize(("quality", "reported"), [(None, 1), (KNOWN, 0)])
def test_scarce_data_is_reported_after_the_baseline_unless_it_was_before(
    load: Callable[..., Experiment],
    evaluation: Callable[..., Evaluation],
    quality: QualitySample | None,
    reported: int,
) -> None:
    experiment = load()
    study = Study.open(experiment, {"test": "yes"})
    described = WorkloadDescription(fingerprint="abc", quality=quality)
    events: list[Event] = []
    run = _SearchRun(
        experiment,
        study,
        settings_of(experiment, "abc"),
        described,
        experiment.space.enumerate(),
        events.append,
        start=0.0,
        exported=False,
    )
    for configuration in experiment.space.enumerate().runnable[:2]:
        found = evaluation([1.0, 2.0, 3.0, 4.0, 5.0])
        run._on_trial(study.tell(study.ask(configuration), found))
    scarce = [event.scarcity.items for event in events if isinstance(event, DataScarce)]
    assert scarce == [5] * reported
