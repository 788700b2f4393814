"""A search's own events, its confirmation, its reserved time, and callbacks that fail."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tunefront.evaluators import Evaluation, QualitySample, WorkloadDescription
from tunefront.search import Experiment
from tunefront.search.cluster.supervisor import RayLost
from tunefront.search.experiment.evaluation_settings import settings_of
from tunefront.search.run import search as search_module
from tunefront.search.run.events import (
    ConfirmationShortened,
    DataScarce,
    Event,
    HistoryUsed,
    RayRestarted,
    WorkloadCheckStarted,
    without_os_errors,
)
from tunefront.search.run.runner import RESTARTS
from tunefront.search.run.search import EXPORT_S, REPORT_S, _SearchRun
from tunefront.search.sampling.history.records import save_history
from tunefront.search.study.duration_estimate import EXPORT_TRIALS
from tunefront.search.study.study import Study
from tunefront.search.terminal.events import event_text
from tunefront.spaces import ClusterError

KNOWN = QualitySample(items=5, evaluated=5, level=3.0, spread=1.6, hits=False, near_zero=False)


def search_run(
    experiment: Experiment,
    events: list[Event],
    quality: QualitySample | None = None,
    *,
    exported: bool = False,
) -> _SearchRun:
    return _SearchRun(
        experiment,
        Study.open(experiment, {"test": "yes"}),
        settings_of(experiment, "abc"),
        WorkloadDescription(fingerprint="abc", quality=quality),
        experiment.space.enumerate(),
        events.append,
        start=time.monotonic(),
        exported=exported,
    )


def test_confirmation_report_and_export_are_part_of_the_budget(
    load: Callable[..., Experiment], evaluation: Callable[..., Evaluation]
) -> None:
    """Of an hour a fifth is for confirmation."""
    budget = ("budget={hours: 1}", "confirmation.share=0.2")
    experiment = load(*budget)
    plain, exporting = (search_run(experiment, [], exported=one) for one in (False, True))
    assert plain.runner.stopping.seconds_left() == pytest.approx(2880 - REPORT_S, abs=60)
    for run, reserved_s in ((plain, 0.0), (exporting, EXPORT_S)):
        left = run._seconds_left()
        assert left == pytest.approx(3600 - REPORT_S - reserved_s, abs=30)
    study = exporting.study
    slow = replace(evaluation(), seconds={"total": 300.0})
    exporting._on_trial(study.tell(study.ask(exporting.experiment.baseline), slow))
    left = exporting.runner.stopping.seconds_left()
    assert left == pytest.approx(2880 - REPORT_S - EXPORT_TRIALS * 300.0, abs=60)
    assert search_run(load("budget={trials: 9}"), []).runner.stopping.seconds_left() is None


def test_a_search_learns_from_an_earlier_one_and_is_kept_itself(
    load: Callable[..., Experiment],
    evaluation: Callable[..., Evaluation],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("TUNEFRONT_HISTORY", "1")
    monkeypatch.setenv("TUNEFRONT_CACHE", str(tmp_path / "cache"))
    first, later = load("name=first"), load("name=later")
    run = search_run(first, [])
    for place, configuration in enumerate(first.space.enumerate().runnable[:5]):
        number = run.study.ask(first.baseline if place == 0 else configuration)
        run.study.tell(number, evaluation(throughput=100.0 + place))
    save_history(first, run.subject, run.study.trials())
    events: list[Event] = []
    search_run(later, events)
    (used,) = (event for event in events if isinstance(event, HistoryUsed))
    assert used.searches == ("first",)
    assert used.trials == 4
    for unaware in (replace(later, history=False), load("name=grid", "sampler=grid")):
        events.clear()
        search_run(unaware, events)
        assert not any(isinstance(event, HistoryUsed) for event in events)


def test_rounds_that_the_deadline_prevents_are_reported(
    load: Callable[..., Experiment],
) -> None:
    events: list[Event] = []
    run = search_run(load("budget={hours: 1}", "confirmation.rounds=3"), events)
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
    events: list[Event] = []
    run = search_run(load(), events, quality)
    study, experiment = run.study, run.experiment
    for configuration in experiment.space.enumerate().runnable[:2]:
        found = evaluation([1.0, 2.0, 3.0, 4.0, 5.0])
        run._on_trial(study.tell(study.ask(configuration), found))
    scarce = [event.scarcity.items for event in events if isinstance(event, DataScarce)]
    assert scarce == [5] * reported


@pytest.fixture
def confirming(
    load: Callable[..., Experiment], monkeypatch: pytest.MonkeyPatch
) -> Callable[[int], list[Event]]:
    """Function that confirms while Ray exits so often, and returns events."""

    def make(losses: int) -> list[Event]:
        events: list[Event] = []
        supervisor = SimpleNamespace(restarted=0)

        def confirm(*given: Any, **more: Any) -> None:
            for number in range(losses):
                given[3](RayLost("exit code 1"), number + 1)

        def restart() -> None:
            supervisor.restarted += 1

        supervisor.restart = restart
        monkeypatch.setattr(search_module, "confirm", confirm)
        search_run(load(), events)._confirm(supervisor)  # type: ignore[arg-type]
        assert supervisor.restarted == losses
        return events

    return make


def test_confirmation_restarts_ray(confirming: Callable[[int], list[Event]]) -> None:
    assert confirming(2) == [RayRestarted(problem="exit code 1")] * 2
    with pytest.raises(ClusterError, match=r"^Ray exited 4 times in a row \(exit code 1\); see "):
        confirming(RESTARTS + 1)


def test_a_callback_that_cannot_write_does_not_end_a_search() -> None:
    errors: list[Exception] = [BrokenPipeError(), OSError(28, "full"), ValueError("a bug")]
    seen: list[Event] = []

    def on_event(event: Event) -> None:
        seen.append(event)
        raise errors[len(seen) - 1]

    report = without_os_errors(on_event)
    report(WorkloadCheckStarted())
    report(WorkloadCheckStarted())
    with pytest.raises(ValueError, match="a bug"):
        report(WorkloadCheckStarted())
    assert len(seen) == 3
