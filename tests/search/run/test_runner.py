"""When a search ends, without Ray: budgets, and proposals with too small an expected gain."""

import json
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tunefront.evaluators import Evaluation, EvaluationSettings
from tunefront.evaluators.isolation.codec import to_plain
from tunefront.evaluators.isolation.cores import Lessee
from tunefront.search import Experiment, Trial
from tunefront.search.cluster.jobs import Job
from tunefront.search.cluster.nodes import Node, NodePool
from tunefront.search.cluster.supervisor import RayLost, RayNotStarted
from tunefront.search.cluster.worker import result_file
from tunefront.search.run import runner as runner_module
from tunefront.search.run.runner import (
    DEVICE_REPEATS,
    LEAST_TRIAL_S,
    RESTARTS,
    START_PAUSES_S,
    Runner,
)
from tunefront.search.run.stopping import BROKEN, FULL, PATIENCE, Stopping
from tunefront.search.sampling.base import Proposal, Sampler
from tunefront.search.study.live_stage import note_stage, stage_versions
from tunefront.search.study.study import Study
from tunefront.search.study.trial import candidate_of
from tunefront.search.terminal.events import event_text
from tunefront.spaces import (
    ClusterError,
    Configuration,
    FailureCause,
    Resources,
    StudyError,
)


class FixedGains(Sampler):
    """Proposes a list in order with given expected gains."""

    def __init__(self, listed: Sequence[Configuration], gains: Sequence[float | None]) -> None:
        self._left = list(listed)
        self._gains = list(gains)

    def propose(
        self, trials: Sequence[Trial], excluded: Collection[Configuration] = ()
    ) -> Proposal | None:
        gain = self._gains.pop(0) if self._gains else None
        if not self._left:
            return None
        return Proposal(
            configuration=self._left.pop(0),
            reason="the next of the list",
            expected_gains=() if gain is None else (gain,) * 100,
        )


@pytest.fixture
def jobs(
    load: Callable[..., Experiment], evaluation: Callable[..., Evaluation]
) -> Callable[[Sequence[float | None], float | None], int]:
    """Function that returns the number of trials started after the baseline."""

    def count(gains: Sequence[float | None], least_gain: float | None) -> int:
        experiment = load()
        study = Study.open(experiment, {"test": "yes"})
        listed = [c for c in experiment.space.enumerate().runnable if c != experiment.baseline]
        runner = Runner(
            study,
            FixedGains(listed, gains),
            listed,
            EvaluationSettings(workload=experiment.workload, fingerprint="f", store="unused"),
            concurrent=1,
            stopping=Stopping(trials=8, least_gain=least_gain),
            on_trial=lambda trial: None,
        )
        started = 0
        while (job := runner.next_job()) is not None:
            study.tell(job.number, evaluation())
            started += 1
        reason = runner.stop_reason()
        assert reason is not None
        assert reason.cause == ("least gain" if started - 1 < 7 else "trials")
        return started - 1

    return count


@pytest.mark.parametrize(
    ("gains", "least_gain", "started"),
    [
        ([0.5, 0.1, 0.001, 0.001, 0.001, 0.001], 0.01, 4),
        ([0.5, 0.001, 0.001, 0.1, 0.001, 0.001, 0.001], 0.01, 6),
        ([None, None, 0.001, 0.001, None, 0.001, 0.001], 0.01, 7),
        ([0.001] * 8, None, 7),
        ([0.02] * 8, 0.01, 7),
    ],
)
def test_several_small_expected_gains_in_a_row_end_a_search(
    jobs: Callable[[Sequence[float | None], float | None], int],
    gains: Sequence[float | None],
    least_gain: float | None,
    started: int,
) -> None:
    assert PATIENCE == 3
    assert jobs(gains, least_gain) == started


@pytest.fixture
def runner(load: Callable[..., Experiment]) -> Callable[..., Runner]:
    """A runner over a made-up space, with a deadline; texts of its events go to `texts`."""

    def make(
        seconds: float | None,
        texts: list[str],
        *overrides: str,
        trials: int | None = 8,
        **more: Any,
    ) -> Runner:
        experiment = load(*overrides)
        listed = [c for c in experiment.space.enumerate().runnable if c != experiment.baseline]
        return Runner(
            Study.open(experiment, {"test": "yes"}),
            FixedGains(listed, ()),
            listed,
            EvaluationSettings(workload=experiment.workload, fingerprint="f", store="unused"),
            concurrent=1,
            stopping=replace(Stopping.of(experiment.budget, seconds), trials=trials),
            on_trial=lambda trial: texts.append(f"{trial.number} {trial.status}"),
            on_event=lambda event: texts.append(event_text(event)),
            **more,
        )

    return make


def taking(evaluation: Evaluation, seconds: float) -> Evaluation:
    return replace(evaluation, seconds={"total": seconds})


def started(runner: Runner) -> Job:
    job = runner.next_job()
    assert job is not None
    return job


@pytest.mark.parametrize(("left", "goes_on"), [(60.0, True), (5.0, False)])
def test_a_trial_that_is_not_expected_to_end_in_time_is_not_started(
    runner: Callable[..., Runner],
    evaluation: Callable[..., Evaluation],
    left: float,
    goes_on: bool,
) -> None:
    own = runner(1000.0, [])
    own.tell(started(own).number, taking(evaluation(), 30.0))
    own.stopping = Stopping(deadline=time.monotonic() + left)
    job = own.next_job()
    assert (job is not None) is goes_on
    assert len(own.study.trials()) == (2 if goes_on else 1)
    if job is not None:
        assert own.study.trial(1).expected_s == 10.0  # its candidate is built: a third


def test_interrupted_trials_run_again_where_a_node_has_room(runner: Callable[..., Runner]) -> None:
    """The record names active choices only; the defaults of the others count, too."""
    own = runner(None, [])
    number = started(own).number
    own.unfinished = [number]
    own._fit_to_nodes(NodePool(nodes=(Node(id="a", address="here", cores=8.0, gpus=0.0),)))
    assert own.unfinished == [number]


def test_a_trial_ends_at_the_deadline(runner: Callable[..., Runner]) -> None:
    left = started(runner(100.0, [])).seconds_left
    assert left is not None
    assert 90 < left <= 100
    late = runner(100.0, [])
    late.stopping = Stopping(deadline=time.monotonic() + 1)
    assert started(late).seconds_left == LEAST_TRIAL_S
    assert started(runner(None, [])).seconds_left is None


def test_a_trial_names_the_search_that_it_belongs_to(runner: Callable[..., Runner]) -> None:
    own = runner(None, [])
    assert started(own).lessee == Lessee.this_process(own.study.experiment.name)


def test_a_trial_ended_by_the_deadline_is_left_for_the_next_run(
    runner: Callable[..., Runner], evaluation: Callable[..., Evaluation]
) -> None:
    texts: list[str] = []
    own = runner(1000.0, texts)
    own.tell(started(own).number, evaluation())
    number = started(own).number
    own.stopping = Stopping(deadline=time.monotonic())
    late = Evaluation(status="failed", cause="timeout", stage="build", message="not done")
    own.tell(number, late)
    assert own.study.trial(number).status == "running"
    assert "the deadline was reached before it finished; the next run repeats it" in texts[-1]
    assert own.study.reconcile({}) == [number]


def test_a_hang_before_the_deadline_is_a_failure(
    runner: Callable[..., Runner], evaluation: Callable[..., Evaluation]
) -> None:
    own = runner(1000.0, [])
    own.tell(started(own).number, evaluation())
    number = started(own).number
    hung = Evaluation(status="failed", cause="timeout", stage="build", message="not done")
    own.tell(number, hung)
    assert own.study.trial(number).cause == "timeout"


def test_a_full_disk_postpones_a_trial_and_three_in_a_row_end_the_search(
    runner: Callable[..., Runner], evaluation: Callable[..., Evaluation]
) -> None:
    own = runner(None, [])
    own.tell(started(own).number, evaluation())
    full = Evaluation(status="failed", cause="disk full", stage="build", message="no space")
    number = started(own).number
    for _ in range(FULL - 1):
        own.tell(number, full)
        assert started(own).number == number
    assert own.study.trial(number).attempt == 1
    own.tell(number, full)
    assert own.next_job() is None
    with pytest.raises(StudyError, match="the disk is full: 3 trials in a row"):
        own.run(SimpleNamespace(node_pool=NodePool()))  # type: ignore[arg-type]


def test_a_worker_that_exits_costs_an_attempt_and_not_the_trial(
    runner: Callable[..., Runner], evaluation: Callable[..., Evaluation]
) -> None:
    texts: list[str] = []
    own = runner(None, texts)
    baseline = started(own)
    assert own.waiting()
    own.worker_exited(baseline.number)
    assert not own.waiting()
    again = started(own)
    assert (again.number, own.study.trial(0).attempt) == (0, 2)
    own.tell(0, evaluation())
    assert texts[-1] == "0 ok"


def test_configurations_excluded_by_failures_are_reported_and_not_proposed(
    runner: Callable[..., Runner], evaluation: Callable[..., Evaluation]
) -> None:
    texts: list[str] = []
    own = runner(None, texts)
    own.tell(started(own).number, evaluation())
    number = started(own).number
    out = Evaluation(status="failed", cause="unsupported", stage="build", message="no kernel")
    own.tell(number, out)
    started(own)
    failed = own.study.trial(number).candidate
    catalog = own.study.experiment.space.catalog
    assert own.excluded.configurations
    assert {candidate_of(c, catalog) for c in own.excluded.configurations} == {failed}
    assert any(" skipped: " in line and f"implied by trial {number}" in line for line in texts)


def end_all(runner: Runner, evaluation: Evaluation) -> None:
    while (job := runner.next_job()) is not None:
        runner.tell(job.number, evaluation)


def stop_text(runner: Runner) -> str:
    """The reason why no further trial is started; empty if one is."""
    reason = runner.stop_reason()
    return "" if reason is None else reason.text


def test_the_number_of_trials_and_the_space_end_a_search(
    runner: Callable[..., Runner],
    evaluation: Callable[..., Evaluation],
) -> None:
    own = runner(None, [], trials=3)
    assert stop_text(own) == ""
    end_all(own, evaluation())
    assert stop_text(own) == "budget.trials 3 reached; raise it to continue"
    own.stopping = Stopping()
    assert stop_text(own) == ""
    assert own.left() == len(own.runnable) - 2  # the baseline is not in this list
    end_all(own, evaluation())
    assert stop_text(own) == "all runnable configurations were tried"


def test_a_sampler_without_a_proposal_ends_a_search(
    runner: Callable[..., Runner], evaluation: Callable[..., Evaluation]
) -> None:
    own = runner(None, [], trials=None)
    own.sampler = FixedGains([], ())
    end_all(own, evaluation())
    assert stop_text(own) == "the sampler has no further configuration to propose"


def test_the_reason_counts_the_configurations_skipped_after_failures(
    runner: Callable[..., Runner], evaluation: Callable[..., Evaluation]
) -> None:
    own = runner(None, [], trials=None)
    own.tell(started(own).number, evaluation())
    out = Evaluation(status="failed", cause="unsupported", stage="build", message="no kernel")
    own.tell(started(own).number, out)
    own._infer_failures(own.study.trials())
    own.sampler = FixedGains([], ())
    skipped = own.excluded.configurations
    for configuration in own.runnable - set(skipped):
        own.study.tell(own.study.ask(configuration), evaluation())
    expected = f"all runnable configurations were tried ({len(skipped)} skipped after failures)"
    assert stop_text(own) == expected


def test_the_reason_names_the_settings_of_the_deadline(
    runner: Callable[..., Runner], evaluation: Callable[..., Evaluation]
) -> None:
    own = runner(1000.0, [], "budget={hours: 0.5, until: '07:00'}")
    own.tell(started(own).number, taking(evaluation(), 30.0))
    assert stop_text(own) == ""
    own.stopping = Stopping.of(own.study.experiment.budget, seconds=5)
    assert own.next_job() is None
    bounds = "budget.hours 0.5 or budget.until 07:00"
    assert stop_text(own) == (
        f"no further trial is expected to end before {bounds} is reached; raise it to continue"
    )
    own.stopping = Stopping.of(own.study.experiment.budget, seconds=0)
    assert stop_text(own) == f"{bounds} reached; raise it to continue"


def test_a_failed_baseline_ends_a_search(
    runner: Callable[..., Runner], failure: Callable[..., Evaluation]
) -> None:
    own = runner(None, [])
    own.tell(started(own).number, failure())
    assert own.next_job() is None
    assert stop_text(own) == (
        "the baseline failed, and every trial is compared with it; once its cause is fixed, "
        "--fresh starts again"
    )


def test_the_forecast_of_another_hour_is_stored(
    runner: Callable[..., Runner], evaluation: Callable[..., Evaluation]
) -> None:
    """A trial a minute: sixty of them."""
    own = runner(None, [])
    own.sampler = FixedGains(list(own.runnable), [0.001, 0.002])
    own.tell(started(own).number, taking(evaluation(), 60.0))
    assert own.study.forecast is None
    started(own)
    assert own.study.forecast == (60, pytest.approx(0.06))


def test_logs_of_the_last_trials_and_failures_stay(
    runner: Callable[..., Runner],
    evaluation: Callable[..., Evaluation],
    failure: Callable[..., Evaluation],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tunefront.search.run.runner.LOGS", 2)
    own = runner(None, [])
    logs = own.study.experiment.results / "logs"
    logs.mkdir(parents=True)
    (logs / "ray.log").touch()
    for number in range(7):
        job = started(own)
        (logs / f"{number:05}.log").touch()
        own.tell(job.number, failure("exception") if number in (1, 2, 3) else evaluation())
    names = sorted(path.name for path in logs.iterdir())
    assert names == ["00002.log", "00003.log", "00005.log", "00006.log", "ray.log"]


def test_running_trials_are_known_and_their_stages_deleted(
    runner: Callable[..., Runner], evaluation: Callable[..., Evaluation]
) -> None:
    starts: list[int] = []
    own = runner(None, [], on_start=lambda trial: starts.append(trial.number))
    results = own.study.experiment.results
    own.tell(started(own).number, evaluation())
    numbers = [started(own).number for _ in range(3)]
    for number in numbers:
        note_stage(results, number, "build")
    assert (starts, list(own.running)) == ([0, 1, 2, 3], numbers)
    own.tell(numbers[0], evaluation())
    own.worker_exited(numbers[1])
    assert list(own.running) == numbers[2:]
    assert [name for name, _ in stage_versions(results)] == ["00003.stage"]
    own.reconcile()
    assert (own.running, stage_versions(results)) == ({}, [])


@pytest.mark.parametrize(
    ("cause", "recorded"), [("crash", False), ("oom", False), ("exception", True), (None, True)]
)
def test_processes_that_ended_with_their_search_are_no_failure(
    runner: Callable[..., Runner],
    evaluation: Callable[..., Evaluation],
    cause: FailureCause | None,
    recorded: bool,
) -> None:
    """A worker that outlives them for a moment stores one; the trial runs again."""
    own = runner(None, [])
    own.tell(started(own).number, evaluation())
    number = started(own).number
    failed = Evaluation(status="failed", cause=cause, stage="prepare", message="fork server ended")
    stored = result_file(own.study.experiment.results, number)
    stored.parent.mkdir(parents=True)
    stored.write_text(json.dumps(to_plain(failed if cause else evaluation())))
    own.reconcile()
    assert (number not in own.unfinished) is recorded
    assert (own.study.trial(number).status != "running") is recorded
    assert not stored.exists()


class Rays:
    """Stands in for the supervisor: runs one trial after the other, and is lost as planned.

    Args:
        evaluation: Result of each trial.
        losses: How Ray is lost, in each call of `trials`; None if a trial ends first.
    """

    node_pool = NodePool()

    def __init__(self, evaluation: Evaluation, losses: Sequence[RayLost | None]) -> None:
        self._evaluation = evaluation
        self._losses = list(losses)
        self.restarts = 0

    def trials(self, jobs: Runner, concurrent: int, body: str) -> None:
        loss = self._losses.pop(0) if self._losses else None
        if loss is not None:
            raise loss
        job = started(jobs)
        jobs.tell(job.number, self._evaluation)
        if self._losses:
            raise RayLost("exit code 1")

    def restart(self) -> None:
        self.restarts += 1


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds of each pause; none is waited for."""
    found: list[float] = []
    monkeypatch.setattr(Runner, "_pause", lambda runner, seconds: found.append(seconds))
    return found


def test_a_ray_that_does_not_start_is_started_again_after_a_pause(
    runner: Callable[..., Runner], evaluation: Callable[..., Evaluation], pauses: list[float]
) -> None:
    """The first start fails, then another trial ends, then Ray exits and two starts fail."""
    texts: list[str] = []
    own = runner(None, texts, trials=2)
    never = RayNotStarted("exit code -9")
    rays = Rays(evaluation(), [never, None, never, never])
    own.run(rays)  # type: ignore[arg-type]
    assert rays.restarts == 4
    assert pauses == [*START_PAUSES_S[:1], *START_PAUSES_S[1:3]]
    assert texts == [
        "Ray did not start (exit code -9); next attempt in 5 s",
        "0 ok",
        "Ray exited (exit code 1); restarting, finished trials are kept",
        "Ray did not start (exit code -9); next attempt in 15 s",
        "Ray did not start (exit code -9); next attempt in 45 s",
        "1 ok",
    ]


@pytest.mark.parametrize(
    ("loss", "how"),
    [
        (RayNotStarted("no message for 180 s"), "did not start 4 times in a row (no message for"),
        (RayLost("exit code 1"), "exited 4 times in a row (exit code 1)"),
    ],
)
def test_a_ray_that_is_lost_again_and_again_ends_the_search_with_the_next_step(
    runner: Callable[..., Runner],
    evaluation: Callable[..., Evaluation],
    pauses: list[float],
    loss: RayLost,
    how: str,
) -> None:
    own = runner(None, [], "budget.trials=8")
    rays = Rays(evaluation(), [loss] * (RESTARTS + 1))
    with pytest.raises(ClusterError) as caught:
        own.run(rays)  # type: ignore[arg-type]
    assert rays.restarts == RESTARTS
    assert str(caught.value).startswith(f"Ray {how}")
    experiment = own.study.experiment
    assert str(caught.value).endswith(
        f"; see {experiment.results / 'logs' / 'ray.log'}; `tunefront run {experiment.path} --set "
        "budget.trials=8` resumes the search"
    )


def test_a_stop_or_the_deadline_ends_a_pause(
    runner: Callable[..., Runner],
    evaluation: Callable[..., Evaluation],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = runner(None, [])
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        own.signal = 15 * (len(slept) == 3)

    monkeypatch.setattr(
        runner_module, "time", SimpleNamespace(sleep=sleep, monotonic=time.monotonic)
    )
    rays = Rays(evaluation(), [RayNotStarted("exit code -9")])
    own.run(rays)  # type: ignore[arg-type]
    assert (len(slept), rays.restarts, own.stopped) == (3, 0, True)
    own.signal, own.stopping = 0, Stopping(deadline=time.monotonic())
    own._pause(1000.0)
    assert len(slept) == 3


def test_a_baseline_that_failed_because_of_the_machine_runs_again(
    runner: Callable[..., Runner], evaluation: Callable[..., Evaluation]
) -> None:
    texts: list[str] = []
    own = runner(None, texts)
    problem = "[Errno 30] Read-only file system: '/cache'"
    failed = Evaluation(status="failed", cause="exception", stage="prepare", message=problem)
    own.tell(started(own).number, failed)
    assert "the same command runs it again" in stop_text(own)
    own.reconcile()
    own.repeat_baseline()
    assert texts[-1] == f"the baseline failed for a reason that can pass ({problem}); it runs again"
    assert stop_text(own) == ""
    again = started(own)
    assert (again.number, own.study.trial(0).attempt) == (0, 1)
    own.tell(0, evaluation())
    assert texts[-1] == "0 ok"
    assert started(own).number == 1


def test_other_failed_baselines_do_not_run_again(
    runner: Callable[..., Runner], failure: Callable[..., Evaluation]
) -> None:
    texts: list[str] = []
    own = runner(None, texts)
    own.repeat_baseline()
    own.tell(started(own).number, failure("unsupported"))
    own.repeat_baseline()
    assert (texts, own.unfinished) == (["0 failed"], [])


def test_a_failed_baseline_with_other_trials_does_not_run_again(
    runner: Callable[..., Runner], evaluation: Callable[..., Evaluation]
) -> None:
    own = runner(None, [])
    failed = Evaluation(status="failed", cause="exception", stage="prepare", message="[Errno 30]")
    own.tell(started(own).number, failed)
    own.study.tell(own.study.ask(own.study.experiment.baseline), evaluation())
    own.repeat_baseline()
    assert own.study.trial(0).status == "failed"


BROKEN_GPU = Evaluation(
    status="failed", cause="device", stage="measure", message="GPU-1 was set aside"
)


def test_a_trial_on_a_broken_gpu_runs_again_and_teaches_nothing(
    runner: Callable[..., Runner], evaluation: Callable[..., Evaluation]
) -> None:
    texts: list[str] = []
    own = runner(None, texts)
    own.tell(started(own).number, evaluation())
    number = started(own).number
    for _ in range(DEVICE_REPEATS):
        own.tell(number, BROKEN_GPU)
        assert own.study.trial(number).status == "running"
        assert texts[-1] == (
            f"trial {number}: a GPU can't be used (GPU-1 was set aside); it runs again"
        )
        own._broken = 0  # others have ended meanwhile
        assert started(own).number == number
    own.tell(number, BROKEN_GPU)
    assert own.study.trial(number).cause == "device"
    own._infer_failures(own.study.trials())
    assert not own.excluded.configurations


def test_several_trials_in_a_row_that_find_no_gpu_end_the_search(
    runner: Callable[..., Runner], evaluation: Callable[..., Evaluation]
) -> None:
    own = runner(None, [])
    own.tell(started(own).number, evaluation())
    for _ in range(BROKEN):
        assert own.stop_reason() is None
        own.tell(started(own).number, BROKEN_GPU)
    reason = own.stop_reason()
    assert reason is not None
    assert reason.cause == "device"
    assert reason.text.startswith("3 trials in a row found a GPU broken or in use")
    own._broken = 0
    own.tell(started(own).number, evaluation())
    assert own.stop_reason() is None


def test_others_wait_until_a_trial_of_several_gpus_has_begun(
    runner: Callable[..., Runner],
    evaluation: Callable[..., Evaluation],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ray would give each GPU that becomes free to another trial."""
    own = runner(None, [])
    own.tell(started(own).number, evaluation())
    narrow = started(own)
    assert not own.waiting()
    several = Resources(processes=4, threads=1, gpus=4)
    monkeypatch.setattr(own, "_resources", lambda configuration: several)
    wide = started(own)
    assert own.waiting()
    own.tell(narrow.number, evaluation())
    assert own.waiting()
    note_stage(own.results.parent, wide.number, "prepare")
    assert not own.waiting()
    own.tell(wide.number, evaluation())
    assert not own.waiting()
