"""The text of each event of a running search."""

from functools import singledispatch
from signal import Signals

from tunefront.evaluators.evaluation.evaluation import WAITING
from tunefront.search.run.events import (
    BaselineRepeated,
    CapacityFinished,
    CapacityShortened,
    CapacityStarted,
    ClusterJoined,
    ConfigurationsTooLarge,
    ConfirmationRoundFinished,
    ConfirmationShortened,
    ConfirmationStarted,
    DataScarce,
    Event,
    FailureInferred,
    GpuLeftOut,
    HistoryUsed,
    NothingToRun,
    OtherSearches,
    PreparationStarted,
    ProgressChanged,
    RayNotUp,
    RayRestarted,
    RayStarting,
    RecordArchived,
    ReferenceLeftOut,
    ReportFailed,
    ReportWritten,
    SearchResumed,
    StopRequested,
    TrackingUnreachable,
    TrialFinished,
    TrialPostponed,
    TrialsEnded,
    TrialStarted,
    WorkloadCheckStarted,
    WorkloadNoted,
)
from tunefront.search.study.storage import StudyInterrupted, StudyRestored
from tunefront.search.study.trial import Trial
from tunefront.search.text import counted, duration_text, listed
from tunefront.search.tracking.writer import (
    TrackingIncomplete,
    TrackingInterrupted,
    TrackingRestored,
    ViewsUnavailable,
)

LONG_WAIT_S = 5.0
"""Seconds that a trial waited for cores held by other processes, from which on it is reported."""


def event_text(event: Event) -> str:
    """Return the text of an event, one line or several; empty if it is not reported as text."""
    return _text(event)


@singledispatch
def _text(event: object) -> str:
    raise TypeError(f"an event must have a text, but {type(event).__name__} has none")


@_text.register
def _(event: TrackingUnreachable) -> str:
    return f"{event.problem}\nthe search continues without it"


@_text.register
def _(event: OtherSearches) -> str:
    names = ", ".join(search.text for search in event.searches)
    count = len(event.searches)
    others = "another search is" if count == 1 else f"{count} other searches are"
    return f"{others} on this machine, and trials wait for each other's cores: {names}"


@_text.register
def _(event: GpuLeftOut) -> str:
    return f"{event.uuid} is left out, trials run on the other GPUs: {event.reason}"


@_text.register
def _(event: PreparationStarted) -> str:
    return f"preparing model and data once: {event.script} -> {event.folder}"


@_text.register
def _(event: WorkloadCheckStarted) -> str:
    return "checking model and data"


@_text.register
def _(event: WorkloadNoted) -> str:
    return event.note


@_text.register
def _(event: DataScarce) -> str:
    return str(event.scarcity)


@_text.register
def _(event: HistoryUsed) -> str:
    searches = ", ".join(event.searches)
    return (
        f"learning from {counted(event.trials, 'trial')} of earlier searches: {searches} "
        "(--no-history ignores them)"
    )


@_text.register
def _(event: RecordArchived) -> str:
    return f"archived the earlier record: {event.folder}"


@_text.register
def _(event: SearchResumed) -> str:
    text = f"resuming: {counted(event.trials, 'trial')} recorded"
    if event.runnable == event.runnable_before:
        return text
    return f"{text}; {event.runnable:,} configurations can run, {event.runnable_before:,} before"


@_text.register
def _(event: ReferenceLeftOut) -> str:
    return f"{event.name} is left out: {event.reason}"


@_text.register
def _(event: BaselineRepeated) -> str:
    return f"the baseline failed for a reason that can pass ({event.problem}); it runs again"


@_text.register
def _(event: NothingToRun) -> str:
    return f"nothing left to run: {event.reason.text}"


@_text.register
def _(event: RayStarting) -> str:
    return f"joining the cluster at {event.address}" if event.address else "starting Ray"


@_text.register
def _(event: ClusterJoined) -> str:
    usable = counted(sum(not node.obstacle for node in event.nodes), "node")
    lines = [f"cluster: {usable}, {counted(event.concurrent, 'trial')} at a time"]
    lines += [
        f"cluster: {node.address} runs no trials: {node.obstacle}"
        for node in event.nodes
        if node.obstacle
    ]
    return "\n".join(lines)


@_text.register
def _(event: RayRestarted) -> str:
    return f"Ray exited ({event.problem}); restarting, finished trials are kept"


@_text.register
def _(event: RayNotUp) -> str:
    pause = duration_text(event.pause_s)
    return f"Ray did not start ({event.problem}); next attempt in {pause}"


@_text.register
def _(event: FailureInferred) -> str:
    skipped = counted(event.configurations, "configuration")
    return f"{skipped} skipped: {event.failure.conditions}, {event.failure.evidence}"


@_text.register
def _(event: ConfigurationsTooLarge) -> str:
    skipped = counted(event.configurations, "configuration")
    return f"{skipped} left out: no node has enough cores or GPUs"


@_text.register
def _(event: TrialStarted) -> str:
    return ""  # shown by the live display only


@_text.register
def _(event: TrialFinished) -> str:
    trial = event.trial
    text = "; ".join([event.sentence, *event.remarks])
    return f"{trial.name()}: {text} [{_seconds(trial)}{_left(event)}]"


def _seconds(trial: Trial) -> str:
    """Format a trial's seconds, the expected seconds, and a long wait for free cores."""
    if trial.evaluation is None:
        return "0 s"
    waited_s = trial.evaluation.seconds.get(WAITING, 0.0)
    expected = "" if trial.expected_s is None else f", {trial.expected_s:.0f} expected"
    waited = f", waited {waited_s:.0f} s for free cores" if waited_s >= LONG_WAIT_S else ""
    return f"{trial.evaluation.own_s:.0f} s{expected}{waited}"


def _left(event: TrialFinished) -> str:
    """Format the number of trials left and their expected time; empty if unknown or none."""
    left, pace_s, until = event.left, event.pace_s, event.seconds_left
    if left <= 0 or pace_s is None:
        return ""
    seconds = left * pace_s
    minutes = max(1, round(min(seconds, until or seconds) / 60))
    if until is None or seconds < until:
        return f"; {left} to go, about {minutes} min"
    return f"; {minutes} min left, enough for about {int(until / pace_s)} of {left} to go"


@_text.register
def _(event: TrialPostponed) -> str:
    if event.cause == "disk full":
        return f"trial {event.number}: the disk is full ({event.message}); it runs again"
    if event.cause == "device":
        return f"trial {event.number}: a GPU can't be used ({event.message}); it runs again"
    if event.cause == "deadline":
        return (
            f"trial {event.number}: the deadline was reached before it finished; the next run "
            "repeats it"
        )
    return f"trial {event.number}: its worker process exited; it runs again"


@_text.register
def _(event: TrialsEnded) -> str:
    return f"no more trials: {event.reason.text}"


@_text.register
def _(event: StopRequested) -> str:
    return (
        f"stopping ({Signals(event.signal).name}): running trials finish first; interrupt again "
        "to stop at once"
    )


@_text.register
def _(event: ConfirmationStarted) -> str:
    return "confirming the finalists: measured again, interleaved with the baseline"


@_text.register
def _(event: ConfirmationRoundFinished) -> str:
    return f"confirming: {event.completed} of {event.planned} rounds"


@_text.register
def _(event: ConfirmationShortened) -> str:
    return (
        f"confirmation ended after {event.completed} of {event.planned} rounds to keep "
        f"{event.bound}; run the same command with more time to confirm"
    )


@_text.register
def _(event: CapacityStarted) -> str:
    return "measuring the capacity of the finalists: the largest load that keeps the SLO"


@_text.register
def _(event: CapacityFinished) -> str:
    return f"capacity of {event.trial.name()}: {event.text}"


@_text.register
def _(event: CapacityShortened) -> str:
    return (
        f"the capacity of {counted(event.left_out, 'finalist')} was not measured to keep "
        f"{event.bound}; run the same command with more time to measure it"
    )


@_text.register
def _(event: ReportWritten) -> str:
    return f"report: {event.path}"


@_text.register
def _(event: ReportFailed) -> str:
    return f"{event.file} could not be written: {event.problem}"


@_text.register
def _(event: ProgressChanged) -> str:
    return ""  # shown by the live display only


@_text.register
def _(event: TrackingInterrupted) -> str:
    return (
        f"MLflow can't be written ({event.problem}); the search continues, and writing is retried"
    )


@_text.register
def _(event: TrackingRestored) -> str:
    return f"MLflow is available again: {counted(event.trials, 'trial')} written"


@_text.register
def _(event: TrackingIncomplete) -> str:
    missing = f"{counted(len(event.trials), 'trial')} ({listed(event.trials)}) and "
    return (
        f"MLflow could not be written ({event.problem}); not there yet: "
        f"{missing if event.trials else ''}the front; nothing is lost: `{event.command}` writes it "
        "once MLflow is available"
    )


@_text.register
def _(event: ViewsUnavailable) -> str:
    return (
        f"MLflow: {event.obstacle}; the links show the same rows, without Tunefront's columns and "
        "charts"
    )


@_text.register
def _(event: StudyInterrupted) -> str:
    return (
        f"{event.path} can't be used ({event.problem}); the search waits up to "
        f"{duration_text(event.longest_s)} for it"
    )


@_text.register
def _(event: StudyRestored) -> str:
    seconds = duration_text(event.seconds)
    return f"{event.path.name} can be used again after {seconds}; the search continues"
