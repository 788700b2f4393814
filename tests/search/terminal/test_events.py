"""The text of each event."""

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast, get_args

import pytest

from tunefront.evaluators import Evaluation
from tunefront.search import Experiment, Trial
from tunefront.search.cluster.nodes import Node
from tunefront.search.experiment.scarcity import Scarcity
from tunefront.search.run import events
from tunefront.search.run.events import Event, TrialFinished
from tunefront.search.run.stopping import StopReason
from tunefront.search.study.inferred_failures import InferredFailure
from tunefront.search.study.storage import StudyInterrupted, StudyRestored
from tunefront.search.terminal.events import _text, event_text
from tunefront.search.tracking.writer import (
    TrackingIncomplete,
    TrackingInterrupted,
    TrackingRestored,
    ViewsUnavailable,
)

REASON = StopReason(cause="deadline", text="budget.hours 8 reached; raise it to continue")
FAILURE = InferredFailure(
    trials=(3, 5), reason="out of memory", equal={"runtime": "torch"}, least={"batch_size": 8}
)
NODES = (
    Node(id="a", address="10.0.0.1", cores=4.0, gpus=0.0),
    Node(id="b", address="10.0.0.2", cores=1.0, gpus=0.0, obstacle="it is small"),
)


def test_every_event_has_a_text() -> None:
    types = get_args(Event)
    assert len(types) > 20
    assert set(types) <= set(_text.registry)


def test_an_unknown_event_is_refused() -> None:
    expected = "an event must have a text, but str has none"
    with pytest.raises(TypeError, match=expected):
        event_text(cast(Event, "started"))


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (
            events.TrackingUnreachable(problem="MLflow at http://x can't be reached"),
            "MLflow at http://x can't be reached\nthe search continues without it",
        ),
        (
            events.PreparationStarted(script=Path("prepare.py"), folder=Path("/cache/a")),
            "preparing model and data once: prepare.py -> /cache/a",
        ),
        (
            events.GpuLeftOut(uuid="GPU-1", reason="CUDA error: unknown error; see gpus.log"),
            "GPU-1 is left out, trials run on the other GPUs: CUDA error: unknown error; see "
            "gpus.log",
        ),
        (events.WorkloadCheckStarted(), "checking model and data"),
        (events.WorkloadNoted(note="max_length 256: cut at 64"), "max_length 256: cut at 64"),
        (
            events.DataScarce(
                scarcity=Scarcity(items=1200, smallest=2.345, limit=1.0, needed=6600)
            ),
            "1,200 items: a change of quality below about 2.3 % can't be seen, the limit is 1 %; "
            "about 6,600 items would do",
        ),
        (
            events.RecordArchived(folder=Path("/results/a.1")),
            "archived the earlier record: /results/a.1",
        ),
        (
            events.HistoryUsed(searches=("minilm", "encoder"), trials=31),
            "learning from 31 trials of earlier searches: minilm, encoder (--no-history ignores "
            "them)",
        ),
        (
            events.SearchResumed(trials=1, runnable=40, runnable_before=40),
            "resuming: 1 trial recorded",
        ),
        (
            events.SearchResumed(trials=8, runnable=1030, runnable_before=40),
            "resuming: 8 trials recorded; 1,030 configurations can run, 40 before",
        ),
        (
            events.ReferenceLeftOut(name="default of openvino", reason="it is not installed"),
            "default of openvino is left out: it is not installed",
        ),
        (
            events.NothingToRun(reason=REASON),
            "nothing left to run: budget.hours 8 reached; raise it to continue",
        ),
        (events.RayStarting(address=""), "starting Ray"),
        (events.RayStarting(address="h:1"), "joining the cluster at h:1"),
        (
            events.ClusterJoined(nodes=NODES, concurrent=4),
            "cluster: 1 node, 4 trials at a time\ncluster: 10.0.0.2 runs no trials: it is small",
        ),
        (
            events.RayRestarted(problem="exit code 1"),
            "Ray exited (exit code 1); restarting, finished trials are kept",
        ),
        (
            events.RayNotUp(problem="exit code -9", pause_s=15.0),
            "Ray did not start (exit code -9); next attempt in 15 s",
        ),
        (
            events.BaselineRepeated(problem="[Errno 30] Read-only file system"),
            "the baseline failed for a reason that can pass ([Errno 30] Read-only file system); it "
            "runs again",
        ),
        (
            StudyInterrupted(path=Path("/r/study.db"), problem="locked", longest_s=600.0),
            "/r/study.db can't be used (locked); the search waits up to 10 min for it",
        ),
        (
            StudyRestored(path=Path("/r/study.db"), seconds=95.0),
            "study.db can be used again after 2 min; the search continues",
        ),
        (
            events.FailureInferred(failure=FAILURE, configurations=12),
            "12 configurations skipped: runtime=torch batch_size>=8, implied by trials 3, 5 "
            "(out of memory)",
        ),
        (
            events.ConfigurationsTooLarge(configurations=1),
            "1 configuration left out: no node has enough cores or GPUs",
        ),
        (
            events.TrialPostponed(number=3, cause="disk full", message="no space"),
            "trial 3: the disk is full (no space); it runs again",
        ),
        (
            events.TrialPostponed(number=3, cause="device", message="GPU-1 was set aside: lost"),
            "trial 3: a GPU can't be used (GPU-1 was set aside: lost); it runs again",
        ),
        (
            events.TrialPostponed(number=3, cause="deadline"),
            "trial 3: the deadline was reached before it finished; the next run repeats it",
        ),
        (
            events.TrialPostponed(number=3, cause="worker exited"),
            "trial 3: its worker process exited; it runs again",
        ),
        (
            events.TrialsEnded(reason=REASON),
            "no more trials: budget.hours 8 reached; raise it to continue",
        ),
        (
            events.StopRequested(signal=signal.SIGTERM),
            "stopping (SIGTERM): running trials finish first; interrupt again to stop at once",
        ),
        (
            events.ConfirmationStarted(),
            "confirming the finalists: measured again, interleaved with the baseline",
        ),
        (events.ConfirmationRoundFinished(completed=1, planned=3), "confirming: 1 of 3 rounds"),
        (events.ReportWritten(path=Path("/r/report.html")), "report: /r/report.html"),
        (
            events.ReportFailed(file="report.html", problem="OSError: disk"),
            "report.html could not be written: OSError: disk",
        ),
        (
            TrackingInterrupted(problem="refused"),
            "MLflow can't be written (refused); the search continues, and writing is retried",
        ),
        (TrackingRestored(trials=2), "MLflow is available again: 2 trials written"),
        (
            TrackingIncomplete(problem="refused", trials=(1, 2), command="tunefront sync a"),
            "MLflow could not be written (refused); not there yet: 2 trials (001, 002) and the "
            "front; nothing is lost: `tunefront sync a` writes it once MLflow is available",
        ),
        (
            TrackingIncomplete(problem="refused", trials=(), command="tunefront sync a"),
            "MLflow could not be written (refused); not there yet: the front; nothing is lost: "
            "`tunefront sync a` writes it once MLflow is available",
        ),
        (
            ViewsUnavailable(obstacle="too old"),
            "MLflow: too old; the links show the same rows, without Tunefront's columns and charts",
        ),
    ],
)
def test_an_event_states_what_happened(event: Event, text: str) -> None:
    assert event_text(event) == text


@pytest.fixture
def finished(
    load: Callable[..., Experiment],
    trial: Callable[..., Trial],
    evaluation: Callable[..., Evaluation],
) -> Callable[..., str]:
    """The text of a finished trial."""

    def make(
        seconds: dict[str, float],
        expected_s: float | None = None,
        remarks: tuple[str, ...] = (),
        **fields: object,
    ) -> str:
        own = replace(evaluation(), seconds=seconds)
        one = replace(trial(1, load().baseline, evaluation=own), expected_s=expected_s)
        given = {"left": 0, "pace_s": None, "seconds_left": None, **fields}
        event = TrialFinished(
            trial=one,
            sentence="2x faster",
            remarks=remarks,
            front=(1,),
            **given,  # type: ignore[arg-type]
        )
        return event_text(event).removeprefix(f"{one.name()}: 2x faster")

    return make


def test_a_finished_trial_states_its_time_and_what_is_left(finished: Callable[..., str]) -> None:
    assert finished({"total": 30.0}) == " [30 s]"
    assert finished({"total": 34.0, "waiting": 4.0}, 25.0) == " [30 s, 25 expected]"
    waited = finished({"total": 37.0, "waiting": 7.0}, 25.0)
    assert waited == " [30 s, 25 expected, waited 7 s for free cores]"
    some = finished({"total": 30.0}, left=6, pace_s=25.0)
    assert some == " [30 s; 6 to go, about 2 min]"
    bounded = finished({"total": 30.0}, left=36, pace_s=25.0, seconds_left=100.0)
    assert bounded == " [30 s; 2 min left, enough for about 4 of 36 to go]"
    unbounded = finished({"total": 30.0}, left=2, pace_s=25.0, seconds_left=1000.0)
    assert unbounded == " [30 s; 2 to go, about 1 min]"


def test_a_finished_trial_states_missed_limits_and_warnings(finished: Callable[..., str]) -> None:
    remarks = ("beyond limits: quality_drop 9 % (limit quality_drop <= 5 %)", "warnings: hot")
    assert finished({"total": 30.0}, remarks=remarks) == f"; {remarks[0]}; {remarks[1]} [30 s]"


def test_events_of_the_live_display_have_no_text(trial: Callable[..., Trial]) -> None:
    assert event_text(events.TrialStarted(trial=trial(1, status="running"))) == ""
