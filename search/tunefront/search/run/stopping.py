"""The stopping policy of a search: why no further trial is started."""

import errno
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from signal import Signals
from typing import Literal

from tunefront.evaluators.statistics.formatting import percent_text
from tunefront.search.experiment.experiment import Budget
from tunefront.search.study.inferred_failures import UNRELATED_CAUSES
from tunefront.search.study.trial import Trial
from tunefront.search.text import one_line

PATIENCE = 3
"""Consecutive proposals with an expected gain below `least_gain` that end the search."""
FULL = 3
"""Consecutive trials ended by a full disk, after which the search fails."""
BROKEN = 3
"""Consecutive trials that failed because of a GPU, after which the search ends."""
PREPARE = "prepare"
"""The stage before anything is built, in which no configuration can fail."""
MACHINE_ERRORS = frozenset(
    {
        errno.EACCES,
        errno.EAGAIN,
        errno.EDQUOT,
        errno.EIO,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.ENOSPC,
        errno.EPERM,
        errno.EROFS,
        errno.ESTALE,
    }
)
"""Error numbers in messages of failures that are due to the machine."""
LONGEST_PROBLEM = 200
"""Maximum characters of a failure's message in another text."""
StopCause = Literal[
    "signal",
    "disk full",
    "device",
    "baseline failed",
    "deadline",
    "trials",
    "space exhausted",
    "least gain",
    "no time left",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class StopReason:
    """Why no further trial is started.

    Attributes:
        cause: The rule that ended the search.
        text: The reason as a text, with what to change to continue.
    """

    cause: StopCause
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchState:
    """What the stopping policy decides on.

    Attributes:
        trials: All recorded trials.
        untried: Number of runnable configurations that are neither tried nor excluded.
        excluded: Text for the excluded configurations; empty if there are none.
        queued: Number of interrupted trials that are to run again.
        gains: Expected gains of the last consecutive proposals that had one, as shares of the
            front's hypervolume.
        exhausted: Whether the sampler has nothing left to propose.
        next_s: Expected seconds of a proposed trial that has not been started, with a margin; None
            if there is none.
        full: Number of consecutive trials that a full disk has ended.
        broken: Number of consecutive trials that failed because of a GPU.
        signal: Number of the signal that requested a stop; 0 without one.
    """

    trials: Sequence[Trial]
    untried: int
    excluded: str = ""
    queued: int = 0
    gains: Sequence[float] = ()
    exhausted: bool = False
    next_s: float | None = None
    full: int = 0
    broken: int = 0
    signal: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopping:
    """The stopping policy of a search.

    Attributes:
        trials: Maximum total number of trials, the baseline included; None for no bound.
        deadline: Time on the monotonic clock from which on no trial is started; None without one.
        least_gain: Expected gain, as a share of the front's hypervolume, below which `PATIENCE`
            consecutive proposals end the search; None for no such rule.
        bounds: Text of the settings that set the deadline, such as `budget.hours 8`.
    """

    trials: int | None = None
    deadline: float | None = None
    least_gain: float | None = None
    bounds: str = "the deadline"

    @classmethod
    def of(cls, budget: Budget, seconds: float | None) -> "Stopping":
        """Return the policy of a budget.

        Args:
            budget: The budget.
            seconds: Seconds from now until the deadline; None without one.
        """
        return cls(
            trials=budget.trials,
            deadline=None if seconds is None else time.monotonic() + seconds,
            least_gain=budget.least_gain,
            bounds=budget.deadline_text or "the deadline",
        )

    def seconds_left(self) -> float | None:
        """Return the seconds until the deadline, at least 0; None without one."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def reason(self, state: SearchState) -> StopReason | None:
        """Return why no further trial is started; None if the search continues.

        Queued trials and the baseline are held back only by a signal, a full disk, broken GPUs, a
        failed baseline or the deadline.
        """
        urgent = self._urgent(state)
        if urgent is not None or state.queued or not state.trials:
            return urgent
        return self._complete(state) or self._too_little(state)

    def _urgent(self, state: SearchState) -> StopReason | None:
        if state.signal:
            return StopReason(cause="signal", text=f"stopped by {Signals(state.signal).name}")
        if state.full >= FULL:
            text = f"the disk is full: {FULL} trials in a row could not write"
            return StopReason(cause="disk full", text=text)
        if state.trials and state.trials[0].status == "failed":
            return StopReason(cause="baseline failed", text=_baseline_text(state.trials))
        if state.broken >= BROKEN:
            text = (
                f"{BROKEN} trials in a row found a GPU broken or in use; check the GPUs with "
                "`tunefront doctor`, then run the same command again"
            )
            return StopReason(cause="device", text=text)
        if self.seconds_left() == 0:
            return StopReason(cause="deadline", text=f"{self.bounds} reached; raise it to continue")
        return None

    def _complete(self, state: SearchState) -> StopReason | None:
        """Return the reason if the number of trials or the space is exhausted."""
        if self.trials is not None and len(state.trials) >= self.trials:
            text = f"budget.trials {self.trials} reached; raise it to continue"
            return StopReason(cause="trials", text=text)
        if state.untried <= 0:
            text = f"all runnable configurations were tried{state.excluded}"
            return StopReason(cause="space exhausted", text=text)
        if state.exhausted:
            text = "the sampler has no further configuration to propose"
            return StopReason(cause="space exhausted", text=text)
        return None

    def _too_little(self, state: SearchState) -> StopReason | None:
        """Return the reason if gain or time of a further trial is too small."""
        last, least = state.gains[-PATIENCE:], self.least_gain
        if least is not None and len(last) == PATIENCE and max(last) < least:
            gain = percent_text(max(last))
            return StopReason(
                cause="least gain",
                text=f"another trial is expected to add at most {gain} to the front, "
                f"less than budget.least_gain {percent_text(least)}",
            )
        left = self.seconds_left()
        if state.next_s is not None and left is not None and state.next_s >= left:
            return StopReason(
                cause="no time left",
                text=f"no further trial is expected to end before {self.bounds} is reached; raise "
                "it to continue",
            )
        return None


def machine_failure(trial: Trial) -> str:
    """Return the message of a failure that is due to the machine and can pass; else empty.

    Such failures are those in the stage `prepare`, those of a GPU that is broken or busy, and
    errors of the operating system such as a file system that can't be written.
    """
    evaluation = trial.evaluation
    if evaluation is None or evaluation.status != "failed":
        return ""
    numbers = map(int, re.findall(r"\[Errno (\d+)\]", evaluation.message))
    by_system = evaluation.cause in UNRELATED_CAUSES or bool(MACHINE_ERRORS.intersection(numbers))
    if evaluation.stage != PREPARE and not by_system:
        return ""
    return one_line(evaluation.message)[:LONGEST_PROBLEM]


def _baseline_text(trials: Sequence[Trial]) -> str:
    """Return the reason if the baseline failed, with the way to run it again."""
    problem = machine_failure(trials[0])
    if problem and len(trials) == 1:
        return (
            f"the baseline, with which every trial is compared, failed for a reason that can pass "
            f"({problem}); the same command runs it again"
        )
    return (
        "the baseline failed, and every trial is compared with it; once its cause is fixed, "
        "--fresh starts again"
    )
