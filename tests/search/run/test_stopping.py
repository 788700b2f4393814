"""The stopping policy: each reason, and which reasons hold back queued trials."""

import signal
import time
from collections.abc import Callable

import pytest

from tunefront.evaluators import Evaluation
from tunefront.search import Experiment, Trial
from tunefront.search.run.stopping import (
    BROKEN,
    FULL,
    LONGEST_PROBLEM,
    PATIENCE,
    SearchState,
    StopCause,
    Stopping,
    machine_failure,
)
from tunefront.spaces import FailureCause

NOW = Stopping(deadline=0.0, bounds="budget.hours 8")


@pytest.fixture
def state(trial: Callable[..., Trial]) -> Callable[..., SearchState]:
    """A search that continues: a baseline, a second trial, and ten configurations left."""

    def make(status: str = "ok", **more: object) -> SearchState:
        fields = {"trials": [trial(0, status=status), trial(1)], "untried": 10, **more}
        return SearchState(**fields)  # type: ignore[arg-type]

    return make


def text(policy: Stopping, state: SearchState) -> str:
    reason = policy.reason(state)
    assert reason is not None
    return reason.text


def cause(policy: Stopping, state: SearchState) -> StopCause | None:
    reason = policy.reason(state)
    return None if reason is None else reason.cause


def test_a_search_continues_without_a_reason(state: Callable[..., SearchState]) -> None:
    far = Stopping(trials=3, deadline=time.monotonic() + 1000, least_gain=0.01)
    assert far.reason(state()) is None
    assert far.reason(state(gains=[0.001] * (PATIENCE - 1))) is None
    assert far.reason(state(gains=[0.001, 0.02, 0.001])) is None
    assert far.reason(state(next_s=10.0)) is None
    assert Stopping().reason(state(gains=[0.0] * PATIENCE, next_s=1e9)) is None


@pytest.mark.parametrize(
    ("policy", "fields", "expected"),
    [
        (Stopping(), {"signal": signal.SIGTERM}, "stopped by SIGTERM"),
        (Stopping(), {"full": FULL}, "the disk is full: 3 trials in a row could not write"),
        (
            Stopping(),
            {"broken": BROKEN},
            "3 trials in a row found a GPU broken or in use; check the GPUs with `tunefront "
            "doctor`, then run the same command again",
        ),
        (
            Stopping(),
            {"status": "failed"},
            "the baseline failed, and every trial is compared with it; once its cause is fixed, "
            "--fresh starts again",
        ),
        (NOW, {}, "budget.hours 8 reached; raise it to continue"),
        (Stopping(trials=2), {}, "budget.trials 2 reached; raise it to continue"),
        (Stopping(), {"untried": 0}, "all runnable configurations were tried"),
        (
            Stopping(),
            {"untried": 0, "excluded": " (2 skipped after failures)"},
            "all runnable configurations were tried (2 skipped after failures)",
        ),
        (
            Stopping(),
            {"exhausted": True},
            "the sampler has no further configuration to propose",
        ),
        (
            Stopping(least_gain=0.01),
            {"gains": [0.5, 0.001, 0.004, 0.002]},
            "another trial is expected to add at most 0.4 % to the front, less than "
            "budget.least_gain 1 %",
        ),
    ],
)
def test_each_reason_says_what_to_change(
    state: Callable[..., SearchState], policy: Stopping, fields: dict[str, object], expected: str
) -> None:
    assert text(policy, state(**fields)) == expected


def test_a_trial_that_cannot_end_before_the_deadline_ends_the_search(
    state: Callable[..., SearchState],
) -> None:
    policy = Stopping(deadline=time.monotonic() + 1000, bounds="budget.until 07:00")
    assert text(policy, state(next_s=1001.0)) == (
        "no further trial is expected to end before budget.until 07:00 is reached; raise it to "
        "continue"
    )


def test_queued_trials_and_the_baseline_are_held_back_by_urgent_reasons_only(
    state: Callable[..., SearchState],
) -> None:
    for queued in (state(queued=1, untried=0), state(trials=(), untried=0)):
        assert Stopping(trials=2).reason(queued) is None
        assert cause(NOW, queued) == "deadline"
    assert cause(NOW, state(queued=1, signal=signal.SIGINT)) == "signal"
    assert cause(NOW, state("failed", queued=1)) == "baseline failed"
    assert cause(NOW, state(queued=1, full=FULL)) == "disk full"
    assert cause(NOW, state(queued=1, broken=BROKEN)) == "device"


@pytest.mark.parametrize(
    ("cause", "stage", "message", "passes"),
    [
        ("exception", "prepare", "[Errno 30] Read-only file system: '/cache'", True),
        ("exception", "prepare", "something else", True),
        ("exception", "build", "OSError: [Errno 28] No space left on device", True),
        ("disk full", "build", "no room left in /cache", True),
        ("device", "measure", "CUDA error: busy or unavailable", True),
        ("exception", "build", "[Errno 2] No such file or directory: 'a'", False),
        ("exception", "quality", "ValueError: bad", False),
        ("unsupported", "build", "no kernel", False),
        ("crash", "measure", "crashed with SIGSEGV", False),
    ],
)
def test_failures_of_the_machine_are_told_from_those_of_a_configuration(
    trial: Callable[..., Trial], cause: FailureCause, stage: str, message: str, passes: bool
) -> None:
    failed = Evaluation(status="failed", cause=cause, stage=stage, message=message)
    assert machine_failure(trial(0, status="failed", evaluation=failed)) == message * passes


def test_a_baseline_that_failed_because_of_the_machine_can_run_again(
    trial: Callable[..., Trial],
) -> None:
    problem = "[Errno 30] Read-only\nfile system " + "x" * 5000
    failed = Evaluation(status="failed", cause="exception", stage="prepare", message=problem)
    baseline = trial(0, status="failed", evaluation=failed)
    found = text(Stopping(), SearchState(trials=[baseline], untried=10))
    assert found.startswith(
        "the baseline, with which every trial is compared, failed for a reason that can pass "
        "([Errno 30] Read-only ⏎ file system xxx"
    )
    assert found.endswith("xxx); the same command runs it again")
    assert len(found) < LONGEST_PROBLEM + 200
    others = SearchState(trials=[baseline, trial(1)], untried=10)
    assert "--fresh starts again" in text(Stopping(), others)
    assert machine_failure(trial(1)) == ""


def test_the_policy_of_a_budget_names_its_bounds(load: Callable[..., Experiment]) -> None:
    budget = load("budget={trials: 7, hours: 0.5, until: '07:00', least_gain: 0.002}").budget
    policy = Stopping.of(budget, 100.0)
    assert (policy.trials, policy.least_gain) == (7, 0.002)
    assert policy.bounds == "budget.hours 0.5 or budget.until 07:00"
    left = policy.seconds_left()
    assert left is not None
    assert 0 < left <= 100
    endless = Stopping.of(load("budget={trials: 7}").budget, None)
    assert endless.seconds_left() is None
    assert (endless.deadline, endless.bounds) == (None, "the deadline")
