"""Events: what a running search reports, as frozen values.

`terminal/events.py` turns an event into text, `event_record` into plain JSON values.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from tunefront.evaluators.isolation.cores import Lessee
from tunefront.search.cluster.nodes import Node
from tunefront.search.experiment.scarcity import Scarcity
from tunefront.search.results.rows import trial_record
from tunefront.search.study.inferred_failures import InferredFailure
from tunefront.search.study.storage import StudyEvent
from tunefront.search.study.trial import Trial
from tunefront.search.tracking.writer import TrackingEvent

from .progress import Progress
from .stopping import StopReason


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingUnreachable:
    """MLflow cannot be reached at the start; the search continues without it.

    Attributes:
        problem: The error.
    """

    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherSearches:
    """Other searches run on this machine; they share its cores.

    Attributes:
        searches: Their names and processes.
    """

    searches: tuple[Lessee, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuLeftOut:
    """A GPU of this machine runs no trials, because torch can't use it.

    Attributes:
        uuid: Its UUID, or the name of a MIG instance.
        reason: Why it can't be used, with the next step.
    """

    uuid: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparationStarted:
    """The script that prepares model and data was started.

    Attributes:
        script: The script.
        folder: The folder that it fills.
    """

    script: Path
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadCheckStarted:
    """Model and data are being checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadNoted:
    """Something about model or data differs from the experiment file.

    Attributes:
        note: What, for example a shorter maximum length.
    """

    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DataScarce:
    """The number of items can't show the limit of the quality drop.

    Attributes:
        scarcity: The smallest change that they can show, the limit, and the needed number.
    """

    scarcity: Scarcity


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordArchived:
    """An earlier record was archived.

    Attributes:
        folder: The folder of the archived record.
    """

    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResumed:
    """A recorded search was resumed.

    Attributes:
        trials: Number of recorded trials.
        runnable: Number of configurations that can run.
        runnable_before: That number when the search was last started.
    """

    trials: int
    runnable: int
    runnable_before: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceLeftOut:
    """A default of a runtime, or the current settings, is not run.

    Attributes:
        name: Its name, such as `default of openvino`.
        reason: Why.
    """

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineRepeated:
    """The baseline, which had failed for a reason that can pass, runs again.

    Attributes:
        problem: Why it had failed.
    """

    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryUsed:
    """The sampler learns from earlier searches.

    Attributes:
        searches: Names of the searches, the most similar one first.
        trials: Number of their trials.
    """

    searches: tuple[str, ...]
    trials: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NothingToRun:
    """The recorded search is complete.

    Attributes:
        reason: Why no further trial is started.
    """

    reason: StopReason


@dataclass(frozen=True, slots=True, kw_only=True)
class RayStarting:
    """Ray is being started, or a cluster joined.

    Attributes:
        address: Address of the cluster; empty for a local Ray.
    """

    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterJoined:
    """A cluster was joined.

    Attributes:
        nodes: All nodes of the cluster.
        concurrent: Maximum number of concurrent trials on all nodes.
    """

    nodes: tuple[Node, ...]
    concurrent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RayRestarted:
    """Ray exited and is restarted; running trials are started again.

    Attributes:
        problem: How Ray exited.
    """

    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RayNotUp:
    """Ray did not start; the next attempt follows after a pause.

    Attributes:
        problem: Why it did not start.
        pause_s: Seconds until the next attempt.
    """

    problem: str
    pause_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureInferred:
    """Configurations were excluded because of failed trials.

    Attributes:
        failure: The inferred failure.
        configurations: Number of configurations that it excludes.
    """

    failure: InferredFailure
    configurations: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationsTooLarge:
    """Configurations were excluded because no node has enough cores or GPUs.

    Attributes:
        configurations: Their number.
    """

    configurations: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialStarted:
    """A trial was started.

    Attributes:
        trial: The trial.
    """

    trial: Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialFinished:
    """A trial has finished.

    Attributes:
        trial: The trial.
        sentence: Its comparison with the baseline as a text.
        remarks: Texts on missed limits and on warnings.
        front: Numbers of the trials on the front.
        left: Number of trials that can still be started.
        pace_s: Expected seconds between the ends of two trials; None if unknown.
        seconds_left: Seconds until no more trials are started; None without a deadline.
    """

    trial: Trial
    sentence: str
    remarks: tuple[str, ...] = ()
    front: tuple[int, ...]
    left: int
    pace_s: float | None
    seconds_left: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialPostponed:
    """A trial was ended from outside and runs again, after the deadline in the next run.

    Attributes:
        number: Number of the trial.
        cause: What ended it; `device` is a GPU that is broken or in use.
        message: Details; empty if there are none.
    """

    number: int
    cause: Literal["disk full", "deadline", "worker exited", "device"]
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialsEnded:
    """No further trial is started.

    Attributes:
        reason: Why.
    """

    reason: StopReason


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRequested:
    """A signal requested a stop; running trials finish first.

    Attributes:
        signal: Number of the signal.
    """

    signal: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmationStarted:
    """The finalists are being measured again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmationRoundFinished:
    """A round of confirmation is complete.

    Attributes:
        completed: Number of completed rounds.
        planned: Number of planned rounds.
    """

    completed: int
    planned: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmationShortened:
    """The deadline came before all rounds of confirmation.

    Attributes:
        completed: Number of completed rounds.
        planned: Number of planned rounds.
        bound: Text of the setting that set the deadline, such as `budget.hours 8`.
    """

    completed: int
    planned: int
    bound: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityStarted:
    """The capacity of the finalists is being measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityFinished:
    """The capacity of a finalist is recorded.

    Attributes:
        trial: The trial.
        text: The capacity with its interval, or why there is none.
    """

    trial: Trial
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityShortened:
    """The deadline came before the capacity of all finalists was measured.

    Attributes:
        left_out: Number of trials without it.
        bound: Text of the setting that set the deadline, such as `budget.hours 8`.
    """

    left_out: int
    bound: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportWritten:
    """The report was written.

    Attributes:
        path: Its file.
    """

    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFailed:
    """The report could not be written; the result is not affected.

    Attributes:
        file: Name of its file.
        problem: The error.
    """

    file: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressChanged:
    """The progress has changed: a trial started or ended, or another activity began.

    Attributes:
        progress: The progress.
    """

    progress: Progress


Event = (
    TrackingUnreachable
    | OtherSearches
    | GpuLeftOut
    | PreparationStarted
    | WorkloadCheckStarted
    | WorkloadNoted
    | DataScarce
    | RecordArchived
    | SearchResumed
    | ReferenceLeftOut
    | HistoryUsed
    | BaselineRepeated
    | NothingToRun
    | RayStarting
    | ClusterJoined
    | RayRestarted
    | RayNotUp
    | FailureInferred
    | ConfigurationsTooLarge
    | TrialStarted
    | TrialFinished
    | TrialPostponed
    | TrialsEnded
    | StopRequested
    | ConfirmationStarted
    | ConfirmationRoundFinished
    | ConfirmationShortened
    | CapacityStarted
    | CapacityFinished
    | CapacityShortened
    | ReportWritten
    | ReportFailed
    | ProgressChanged
    | TrackingEvent
    | StudyEvent
)
"""What a running search reports."""
OnEvent = Callable[[Event], None]
"""Callback for each event; it can be called from another thread."""


def without_os_errors(on_event: OnEvent) -> OnEvent:
    """Return a callback that ignores OSErrors: a closed pipe or a full disk ends no search."""

    def report(event: Event) -> None:
        with suppress(OSError):
            on_event(event)

    return report


def event_record(event: Event) -> dict[str, object]:
    """Return an event as plain JSON values: its name (`trial_finished`), then its fields."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(event).__name__).lower()
    if isinstance(event, ProgressChanged):
        return {"event": name, **event.progress.to_dict()}
    return {"event": name, **{f.name: _plain(getattr(event, f.name)) for f in fields(event)}}


def _plain(value: object) -> object:
    """Return a field of an event as plain JSON values."""
    if isinstance(value, Trial):
        return trial_record(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
