"""Progress of a search run: the driver's data, and what is displayed of it at a given moment.

Pure values: this module reads no clock and knows no terminal (terminal/live.py does).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from tunefront.search.experiment.experiment import Experiment
from tunefront.search.experiment.local_time import after_seconds, seconds_between
from tunefront.search.results.result import Result
from tunefront.search.study.duration_estimate import estimate_of
from tunefront.search.study.live_stage import STARTING, LiveStage
from tunefront.search.study.trial import Trial
from tunefront.search.text import counted, duration_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The state of a search run when something has changed.

    Attributes:
        experiment: The experiment.
        phase: The activity other than trials (`starting Ray`, `confirming the finalists: 1 of 3
            rounds`); empty while trials run.
        result: The result so far; None before the first trial.
        running: The running trials.
        concurrent: Maximum number of concurrent trials; None for the experiment's value.
        left: Number of trials that can still be started.
        at: The time of this state.
        elapsed_s: Seconds since this run started.
        trials_s: Seconds until no more trials are started; None without a deadline.
        all_s: Seconds until the result is due; None without a deadline.
    """

    experiment: Experiment
    phase: str
    result: Result | None
    running: tuple[Trial, ...]
    left: int
    at: datetime
    elapsed_s: float
    trials_s: float | None
    all_s: float | None
    concurrent: int | None = None

    def to_dict(self) -> dict[str, object]:
        """Return the progress as plain JSON values, without the result."""
        return {
            "phase": self.phase,
            "running": [trial.number for trial in self.running],
            "left": self.left,
            "at": self.at.isoformat(),
            "elapsed_s": self.elapsed_s,
            "trials_s": self.trials_s,
            "all_s": self.all_s,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningTrial:
    """A running trial.

    Attributes:
        trial: The trial's name.
        stage: A text for its current stage.
        seconds: Seconds since this stage began.
        expected_s: Expected seconds of the whole trial; None if unknown.
    """

    trial: str
    stage: str
    seconds: float
    expected_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A search run at one moment, as it is displayed.

    Attributes:
        name: The experiment's name.
        phase: The activity other than trials, as in `Progress`.
        counts: Number of ended trials by outcome: `ok`, `beyond limits`, `failed`.
        planned: Estimated total number of trials.
        elapsed_s: Seconds since this run started.
        left_s: Seconds until the result, confirmation included; None if unknown.
        end: A text for what ends the run and when; empty in a phase without a deadline.
        best: A sentence that compares the recommended trial with the baseline.
        front: Number of trials on the front.
        ties: Number of those that are tied with another trial.
        now: The running trials.
    """

    name: str
    phase: str
    counts: Mapping[str, int]
    planned: int
    elapsed_s: float
    left_s: float | None
    end: str
    best: str
    front: int
    ties: int
    now: tuple[RunningTrial, ...]

    @property
    def done(self) -> int:
        """Number of ended trials."""
        return sum(self.counts.values())

    def counts_text(self) -> str:
        """Format the counts: `22 of 60 trials: 20 ok, 2 failed, 1 running`; zeros are omitted.

        Planned trials include running ones.
        """
        kinds = {**self.counts, "running": len(self.now)}
        some = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
        return f"{self.done} of {counted(self.planned, 'trial')}" + (f": {some}" if some else "")

    def line(self) -> str:
        """Format the progress as one line."""
        running = [f"{n.trial} ({n.stage} for {duration_text(n.seconds)})" for n in self.now]
        left = "" if self.left_s is None else f"about {duration_text(self.left_s)} to go"
        parts = [self.phase, self.counts_text(), left, *running]
        return f"{duration_text(self.elapsed_s)}: " + "; ".join(filter(None, parts))


def snapshot_of(
    progress: Progress, stages: Mapping[int, LiveStage], now: datetime, waiting: str = ""
) -> Snapshot:
    """Return what to display of a search run at a moment.

    Args:
        progress: The driver's last progress.
        stages: The current stages of running trials, by trial number.
        now: The moment.
        waiting: What the activity other than trials waits for; empty while it works.
    """
    since_s = seconds_between(progress.at, now)
    result, running = progress.result, progress.running
    counts = _counts(result)
    front = result.front.trials if result is not None else ()
    left_s, end = _end(progress, now)
    return Snapshot(
        name=progress.experiment.name,
        phase="; ".join(filter(None, (progress.phase, waiting))),
        counts=counts,
        planned=sum(counts.values()) + len(running) + max(0, progress.left),
        elapsed_s=progress.elapsed_s + since_s,
        left_s=left_s,
        end=end,
        best=result.headline() if result is not None and any(counts.values()) else "",
        front=len(front),
        ties=sum(bool(result.front.ties.get(t.number)) for t in front) if result else 0,
        now=tuple(_now(trial, stages.get(trial.number), now) for trial in running),
    )


def _counts(result: Result | None) -> dict[str, int]:
    trials = result.trials if result is not None else ()
    words = {"ok": "ok", "infeasible": "beyond limits", "failed": "failed"}
    return {w: sum(trial.status == status for trial in trials) for status, w in words.items()}


def _now(trial: Trial, stage: LiveStage | None, now: datetime) -> RunningTrial:
    started = trial.started or now
    since = datetime.fromtimestamp(stage.since) if stage is not None else started
    return RunningTrial(
        trial=trial.name(),
        stage=stage.text if stage is not None else STARTING,
        seconds=max(0.0, seconds_between(since, now)),
        expected_s=trial.expected_s,
    )


def _end(progress: Progress, now: datetime) -> tuple[float | None, str]:
    """Return the seconds until the result, confirmation included, and a text for what ends it."""
    since_s = seconds_between(progress.at, now)
    bound = progress.experiment.budget.deadline_text
    all_s = None if progress.all_s is None else max(0.0, progress.all_s - since_s)
    if progress.phase:
        return (
            None,
            "" if all_s is None else f"by {_clock(now, all_s)} ({bound})",
        )
    until = None if progress.trials_s is None else max(0.0, progress.trials_s - since_s)
    pace = _Pace.of(progress, now)
    more = f"after {counted(max(0, progress.left), 'more trial')}"
    if pace is None:
        later = "" if all_s is None else f", by {_clock(now, all_s)} ({bound})"
        return None, more + (f"{later} at the latest" if later else "")
    trials_s = pace.running_s + max(0, progress.left) * pace.trial_s
    if until is not None and until < trials_s:
        assert all_s is not None
        fit = int(until / pace.trial_s)
        return all_s, (
            f"at {_clock(now, all_s)} ({bound}): time for about {fit} of "
            f"{counted(progress.left, 'more trial')}"
        )
    whole_s = trials_s + pace.confirmation_s(trials_s)
    left_s = whole_s if all_s is None else min(whole_s, all_s)
    return left_s, f"{more}, about {_clock(now, left_s)}"


def _clock(now: datetime, seconds: float) -> str:
    """Format the time of day in `seconds`, with the weekday if it is not today."""
    then = after_seconds(now, seconds)
    return f"{then:%H:%M}" if then.date() == now.date() else f"{then:%a %H:%M}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pace:
    """The pace of trials.

    Attributes:
        trial_s: Mean seconds between the ends of two trials.
        running_s: Expected seconds until all running trials have ended.
        spent_s: Seconds that trials have taken, without waiting.
        concurrent: Number of concurrent trials.
        share: Confirmation's share of the total time.
    """

    trial_s: float
    running_s: float
    spent_s: float
    concurrent: int
    share: float

    @classmethod
    def of(cls, progress: Progress, now: datetime) -> "_Pace | None":
        """Return the pace of the recorded trials; None without an estimate."""
        trials = progress.result.trials if progress.result is not None else ()
        estimate = estimate_of(trials)
        if estimate is None:
            return None
        experiment = progress.experiment
        concurrent = progress.concurrent or experiment.concurrent_trials
        elapsed = {t.number: seconds_between(t.started or now, now) for t in progress.running}
        open_s = [
            max(0.0, (trial.expected_s or estimate.mean_s) - elapsed[trial.number])
            for trial in progress.running
        ]
        confirmation = experiment.confirmation
        return cls(
            trial_s=estimate.mean_s / concurrent,
            running_s=max(open_s, default=0.0),
            spent_s=sum(t.evaluation.own_s for t in trials if t.evaluation is not None),
            concurrent=concurrent,
            share=confirmation.share if confirmation.finalists else 0.0,
        )

    def confirmation_s(self, trials_s: float) -> float:
        """Return the expected seconds of confirmation if trials run for `trials_s` more seconds."""
        return (self.spent_s + trials_s * self.concurrent) * self.share / (1 - self.share)
