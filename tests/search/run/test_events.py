"""Events as plain JSON values."""

import json
from collections.abc import Callable
from dataclasses import fields
from datetime import datetime
from pathlib import Path

from tunefront.search import Experiment, Trial
from tunefront.search.run.events import (
    FailureInferred,
    ProgressChanged,
    RecordArchived,
    TrialFinished,
    TrialsEnded,
    WorkloadCheckStarted,
    event_record,
)
from tunefront.search.run.progress import Progress
from tunefront.search.run.stopping import StopReason
from tunefront.search.study.inferred_failures import InferredFailure


def test_a_record_has_the_name_of_the_event_and_its_fields() -> None:
    assert event_record(WorkloadCheckStarted()) == {"event": "workload_check_started"}
    archived = RecordArchived(folder=Path("/records/old"))
    assert event_record(archived) == {"event": "record_archived", "folder": "/records/old"}
    reason = StopReason(cause="trials", text="budget.trials 8 reached; raise it to continue")
    assert event_record(TrialsEnded(reason=reason)) == {
        "event": "trials_ended",
        "reason": {"cause": "trials", "text": "budget.trials 8 reached; raise it to continue"},
    }
    failure = InferredFailure(trials=(3,), reason="out of memory", equal={"runtime": "torch"})
    record = event_record(FailureInferred(failure=failure, configurations=4))
    assert record["failure"] == {
        "trials": [3],
        "reason": "out of memory",
        "equal": {"runtime": "torch"},
        "least": {},
    }


def test_a_finished_trial_is_recorded_whole(
    load: Callable[..., Experiment], trial: Callable[..., Trial]
) -> None:
    started = datetime(2026, 11, 27, 12, 0)
    finished = TrialFinished(
        trial=trial(3, load().baseline, started=started, throughput=900.0),
        sentence="9x faster",
        remarks=("warnings: hot",),
        front=(0, 3),
        left=5,
        pace_s=2.5,
        seconds_left=None,
    )
    record = json.loads(json.dumps(event_record(finished)))
    assert list(record) == ["event", *(field.name for field in fields(finished))]
    assert record["event"] == "trial_finished"
    assert record["remarks"] == ["warnings: hot"]
    assert record["front"] == [0, 3]
    assert record["trial"]["measurements"]["throughput"]["value"] == 900.0
    assert record["trial"]["started"] == "2026-11-27T12:00:00"


def test_progress_is_recorded_without_the_result(
    load: Callable[..., Experiment], trial: Callable[..., Trial]
) -> None:
    progress = Progress(
        experiment=load(),
        phase="",
        result=None,
        running=(trial(4, status="running"),),
        left=6,
        at=datetime(2026, 11, 27, 12, 0),
        elapsed_s=12.5,
        trials_s=None,
        all_s=100.0,
    )
    record = json.loads(json.dumps(event_record(ProgressChanged(progress=progress))))
    assert record == {
        "event": "progress_changed",
        "phase": "",
        "running": [4],
        "left": 6,
        "at": "2026-11-27T12:00:00",
        "elapsed_s": 12.5,
        "trials_s": None,
        "all_s": 100.0,
    }
