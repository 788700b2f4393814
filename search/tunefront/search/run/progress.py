"""How far a night is: what its driver knows, and the picture of it that people look at.

Pure values: nothing here reads a clock or knows a terminal (live.py does).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from tunefront.search.experiment.experiment import Experiment
from tunefront.search.results.result import Answer
from tunefront.search.study.estimate import estimate_of
from tunefront.search.study.live_stage import STARTING, Doing
from tunefront.search.study.trial import Trial
from tunefront.search.text import counted

MINUTE_S, _HOUR_S = 60, 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What the driver of a night knows when something has changed.

    Attributes:
        experiment: What is searched.
        phase: What is done beside trials (`starting Ray`, `confirming: 1 of 3 rounds`); empty while
            trials run.
        answer: What was found so far; None before anything has run.
        running: The trials under way.
        concurrent: How many there may be at a time; None where only the experiment says.
        left: How many trials may still be started.
        at: When this was so.
        elapsed_s: Of this session.
        trials_s: Until no more trials are started; None where there is no deadline.
        all_s: Until the answer is to be there; None where there is no deadline.
    """

    experiment: Experiment
    phase: str
    answer: Answer | None
    running: tuple[Trial, ...]
    left: int
    at: datetime
    elapsed_s: float
    trials_s: float | None
    all_s: float | None
    concurrent: int | None = None


Show = Callable[[Progress], None]
"""Called whenever something has changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """A trial that runs.

    Attributes:
        trial: Its name.
        doing: What it is at, in words.
        seconds: How long it has been.
        expected_s: What the whole trial should take; None where nothing is known.
    """

    trial: str
    doing: str
    seconds: float
    expected_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A night at one moment.

    Attributes:
        name: The experiment's.
        phase: As in `Progress`.
        counts: Trials that have ended by how they did: `ok`, `beyond limits`, `failed`.
        planned: Trials in all, as far as can be said.
        elapsed_s: Of this session.
        left_s: Until the answer, confirmation included; None where nothing is known.
        end: What ends the night, in words; empty where it is ending.
        best: The recommended trial against the baseline, in a sentence.
        front: Trials on the front.
        ties: How many of them can't be told apart from another trial.
        now: The trials that run.
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
    now: tuple[Now, ...]

    @property
    def done(self) -> int:
        """Trials that have ended."""
        return sum(self.counts.values())

    def told(self) -> str:
        """`23 of 60 trials: 20 ok, 2 failed, 1 running`; kinds that there are none of are left out.

        Running trials are part of what is planned.
        """
        kinds = {**self.counts, "running": len(self.now)}
        some = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
        return f"{self.done} of {counted(self.planned, 'trial')}" + (f": {some}" if some else "")

    def line(self) -> str:
        """Everything that matters, in a line."""
        running = [f"{n.trial} ({n.doing} for {spoken(n.seconds)})" for n in self.now]
        left = "" if self.left_s is None else f"about {spoken(self.left_s)} to go"
        parts = [self.phase, self.told(), left, *running]
        return f"{spoken(self.elapsed_s)}: " + "; ".join(filter(None, parts))


def spoken(seconds: float) -> str:
    """`12 s`, `4 min`, `1 h 12 min`."""
    if seconds < MINUTE_S:
        return f"{max(0, seconds):.0f} s"
    minutes = round(seconds / MINUTE_S)
    if minutes < _HOUR_S / MINUTE_S:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02} min"


def picture_of(progress: Progress, doing: Mapping[int, Doing], now: datetime) -> Picture:
    """The night at a moment.

    Args:
        progress: What the driver told last.
        doing: What running trials say that they are at, by number.
        now: The moment.
    """
    since_s = (now - progress.at).total_seconds()
    answer, running = progress.answer, progress.running
    counts = _counts(answer)
    front = answer.front.trials if answer is not None else ()
    left_s, end = _end(progress, now)
    return Picture(
        name=progress.experiment.name,
        phase=progress.phase,
        counts=counts,
        planned=sum(counts.values()) + len(running) + max(0, progress.left),
        elapsed_s=progress.elapsed_s + since_s,
        left_s=left_s,
        end=end,
        best=answer.headline() if answer is not None and any(counts.values()) else "",
        front=len(front),
        ties=sum(bool(answer.front.ties.get(t.number)) for t in front) if answer else 0,
        now=tuple(_now(trial, doing.get(trial.number), now) for trial in running),
    )


def _counts(answer: Answer | None) -> dict[str, int]:
    trials = answer.trials if answer is not None else ()
    words = {"ok": "ok", "infeasible": "beyond limits", "failed": "failed"}
    return {w: sum(trial.status == status for trial in trials) for status, w in words.items()}


def _now(trial: Trial, doing: Doing | None, now: datetime) -> Now:
    started = trial.started or now
    since = datetime.fromtimestamp(doing.since) if doing is not None else started
    return Now(
        trial=trial.name(),
        doing=doing.word if doing is not None else STARTING,
        seconds=max(0.0, (now - since).total_seconds()),
        expected_s=trial.expected_s,
    )


def _end(progress: Progress, now: datetime) -> tuple[float | None, str]:
    """Seconds until the answer, confirmation included, and what ends the night in words."""
    since_s = (now - progress.at).total_seconds()
    all_s = None if progress.all_s is None else max(0.0, progress.all_s - since_s)
    if progress.phase:
        return None, "" if all_s is None else f"by {_clock(now, all_s)} ({_bound(progress)})"
    until = None if progress.trials_s is None else max(0.0, progress.trials_s - since_s)
    pace = _Pace.of(progress, now)
    more = f"after {counted(max(0, progress.left), 'more trial')}"
    if pace is None:
        later = "" if all_s is None else f", by {_clock(now, all_s)} ({_bound(progress)})"
        return None, more + (f"{later} at the latest" if later else "")
    trials_s = pace.running_s + max(0, progress.left) * pace.trial_s
    if until is not None and until < trials_s:
        assert all_s is not None
        fit = int(until / pace.trial_s)
        return all_s, (
            f"at {_clock(now, all_s)} ({_bound(progress)}): time for about {fit} of "
            f"{counted(progress.left, 'more trial')}"
        )
    whole_s = trials_s + pace.confirmation_s(trials_s)
    left_s = whole_s if all_s is None else min(whole_s, all_s)
    return left_s, f"{more}, about {_clock(now, left_s)}"


def _clock(now: datetime, seconds: float) -> str:
    """The time of the day then, with the day where it is another one."""
    then = now + timedelta(seconds=seconds)
    return f"{then:%H:%M}" if then.date() == now.date() else f"{then:%a %H:%M}"


def _bound(progress: Progress) -> str:
    """What the deadline comes from."""
    budget = progress.experiment.budget
    hours = f"budget.hours {budget.hours:g}" if budget.hours is not None else ""
    until = f"budget.until {budget.until}" if budget.until is not None else ""
    return ", ".join(filter(None, (hours, until)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pace:
    """How fast trials go.

    Attributes:
        trial_s: From one end of a trial to the next.
        running_s: Until those under way should have ended.
        spent_s: What trials have taken, waiting aside.
        concurrent: Trials at a time.
        share: Of the whole that is confirmation's.
    """

    trial_s: float
    running_s: float
    spent_s: float
    concurrent: int
    share: float

    @classmethod
    def of(cls, progress: Progress, now: datetime) -> "_Pace | None":
        """From what has run; None where nothing has."""
        trials = progress.answer.trials if progress.answer is not None else ()
        estimate = estimate_of(trials)
        if estimate is None:
            return None
        experiment = progress.experiment
        concurrent = progress.concurrent or experiment.concurrent_trials
        gone = {t.number: (now - (t.started or now)).total_seconds() for t in progress.running}
        open_s = [
            max(0.0, (trial.expected_s or estimate.mean_s) - gone[trial.number])
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
        """What confirmation should take, where trials go on for so long."""
        return (self.spent_s + trials_s * self.concurrent) * self.share / (1 - self.share)
