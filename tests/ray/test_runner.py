"""The trial loop on a real Ray: placement, failures, and the end of a search."""

import json
import os
import signal
from dataclasses import dataclass
from itertools import combinations

import pytest

from tunefront.evaluators import EvaluationSettings, builtin_catalog
from tunefront.evaluators.isolation.codec import to_plain
from tunefront.search.cluster.jobs import placement_of
from tunefront.search.cluster.worker import result_file
from tunefront.search.experiment.experiment import Experiment
from tunefront.search.run.runner import Runner
from tunefront.search.run.stopping import Stopping
from tunefront.search.study.study import TRIAL_ATTEMPTS, Study
from tunefront.search.study.trial import Trial
from tunefront.spaces import Configuration, resources_of

from . import bodies
from .conftest import IDENTITY, LoadFile, RunAll


def together(one: Trial, other: Trial) -> bool:
    """Whether two trials ran at the same time."""
    assert one.evaluation is not None and other.evaluation is not None
    first, second = one.evaluation.facts, other.evaluation.facts
    return bool(first["start"] < second["end"] and second["start"] < first["end"])


def devices(trial: Trial) -> set[str]:
    assert trial.evaluation is not None
    return set(filter(None, trial.evaluation.facts["devices"].split(",")))


@pytest.fixture(scope="module")
def placed(load_file: LoadFile, run_all: RunAll) -> list[Trial]:
    """Run the baseline, four trials of one GPU, and two trials of four."""
    experiment = load_file("  tensor_parallel: [1, 4]\n  batch_size: [1, 2, 4, 8, 16]")
    trials = run_all(experiment, "meets_three_others", concurrent=4, most=7)
    assert len(trials) == 7
    assert all(trial.status == "ok" for trial in trials), "four trials never ran at once"
    return trials


def test_four_trials_of_one_gpu_run_at_once_on_devices_of_their_own(placed: list[Trial]) -> None:
    baseline, *others = placed
    assert not any(together(baseline, other) for other in others)
    for one, other in combinations(others[:4], 2):
        assert not devices(one) & devices(other)
    assert all(len(devices(trial)) == 1 for trial in placed[:5])


def test_a_trial_of_four_ranks_has_all_gpus_to_itself(placed: list[Trial]) -> None:
    wide = [trial for trial in placed if trial.configuration.get("tensor_parallel") == 4]
    assert len(wide) == 2
    for trial in wide:
        assert len(devices(trial)) == 4
        assert not any(together(trial, other) for other in placed if other is not trial)


def test_ray_leaves_the_visible_devices_as_they_are(placed: list[Trial]) -> None:
    for trial in placed:
        assert trial.evaluation is not None
        assert trial.evaluation.facts["visible"] == os.environ.get("CUDA_VISIBLE_DEVICES")


def test_workers_have_the_priority_of_the_driver(placed: list[Trial]) -> None:
    """With Ray's default, other processes would take the cores first."""
    for trial in placed:
        assert trial.evaluation is not None
        assert trial.evaluation.facts["niceness"] == os.nice(0)


@pytest.mark.parametrize(
    ("configuration", "bundle"),
    [
        ({}, {"CPU": 1}),
        ({"threads": 2}, {"CPU": 2}),
        ({"threads": 2, "replicas": 3}, {"CPU": 6}),
        ({"device": "cuda"}, {"CPU": 1, "GPU": 1}),
        ({"device": "cuda", "tensor_parallel": 4}, {"CPU": 4, "GPU": 4}),
        ({"device": "cpu", "tensor_parallel": 2, "threads": 2}, {"CPU": 4}),
        ({"device": "cuda", "replicas": 2}, {"CPU": 2, "GPU": 2}),
    ],
)
def test_a_trial_asks_for_what_it_needs_in_one_group(
    configuration: dict[str, str | int], bundle: dict[str, float]
) -> None:
    complete = builtin_catalog().complete(configuration)
    needed = resources_of(complete)
    assert placement_of(needed).bundles == [bundle]
    assert placement_of(needed, alone=True).bundles == [{**bundle, "CPU": 1.0}]


def test_a_baseline_that_fails_ends_the_search(load_file: LoadFile, run_all: RunAll) -> None:
    trials = run_all(load_file("  batch_size: [1, 2, 4]"), "fails")
    assert [(trial.status, trial.cause) for trial in trials] == [("failed", "unsupported")]


def test_a_trial_that_goes_wrong_is_a_result_and_the_search_goes_on(
    load_file: LoadFile, run_all: RunAll
) -> None:
    trials = run_all(load_file("  batch_size: [1, 2, 4, 8, 16]"), "goes_wrong")
    causes = {trial.configuration["batch_size"]: trial.cause for trial in trials}
    assert len(trials) == 5
    assert causes == {1: "", 2: "crash", 4: "exception", 8: "invalid output", 16: ""}
    for trial in trials:
        assert trial.status == ("failed" if trial.cause else "ok")
        assert bool(trial.measurements) == (trial.status == "ok")


@dataclass(frozen=True)
class Resumed:
    """A search whose earlier driver ended during two trials, one of which has a result.

    Attributes:
        experiment: The experiment.
        trials: All trials at the end.
        lost: Number of the trial without a result.
    """

    experiment: Experiment
    trials: list[Trial]
    lost: int


@pytest.fixture(scope="module")
def resumed(load_file: LoadFile, run_all: RunAll) -> Resumed:
    experiment = load_file("  batch_size: [1, 2, 4]\n  threads: [1, 2]")
    study = Study.open(experiment, IDENTITY)
    study.tell(study.ask(experiment.baseline), bodies.answer())
    finished = study.ask(Configuration({**experiment.baseline, "batch_size": 2}))
    lost = study.ask(Configuration({**experiment.baseline, "batch_size": 4}))
    result = result_file(experiment.results, finished)
    result.parent.mkdir(parents=True)
    result.write_text(json.dumps(to_plain(bodies.answer())))
    return Resumed(experiment, run_all(experiment, "quick"), lost)


def test_trials_that_ran_when_a_driver_ended_are_recorded_or_repeated(resumed: Resumed) -> None:
    attempts = [(trial.status, trial.attempt) for trial in resumed.trials]
    expected = [("ok", 1)] * 6
    expected[resumed.lost] = ("ok", 2)
    assert attempts == expected
    assert resumed.trials[resumed.lost].configuration["batch_size"] == 4


def test_no_configuration_runs_twice(resumed: Resumed, run_all: RunAll) -> None:
    assert len({trial.configuration for trial in resumed.trials}) == 6
    ran = (resumed.experiment.results / "ran.txt").read_text().splitlines()
    assert [int(line.split()[0]) for line in ran] == [resumed.lost, 3, 4, 5]
    assert run_all(resumed.experiment, "quick") == resumed.trials


def test_only_the_record_is_left(resumed: Resumed) -> None:
    left = {path.name for path in resumed.experiment.results.rglob("*") if path.is_file()}
    assert left == {"study.db", "ran.txt"}


def test_a_trial_whose_drivers_always_end_has_a_largest_number_of_attempts(
    load_file: LoadFile,
) -> None:
    experiment = load_file("  batch_size: [1, 2]")
    study = Study.open(experiment, IDENTITY)
    study.tell(study.ask(experiment.baseline), bodies.answer())
    number = study.ask(Configuration({**experiment.baseline, "batch_size": 2}))
    attempts = 1
    while study.restart(number) is not None:
        assert study.reconcile({}) == [number]
        attempts += 1
    assert attempts == TRIAL_ATTEMPTS
    trial = study.trial(number)
    assert (trial.status, trial.cause, trial.attempt) == ("failed", "crash", TRIAL_ATTEMPTS)


def test_a_search_ends_by_its_budget_a_signal_or_the_deadline(load_file: LoadFile) -> None:
    experiment = load_file("  batch_size: [1, 2, 4]")
    study = Study.open(experiment, IDENTITY)
    runner = Runner(
        study,
        None,  # type: ignore[arg-type]
        (),
        EvaluationSettings(workload=experiment.workload, fingerprint="f", store="unused"),
        concurrent=1,
        stopping=Stopping(trials=1),
        on_trial=lambda trial: None,
    )
    job = runner.next_job()
    assert job is not None
    assert job.configuration == experiment.baseline
    assert runner.waiting()
    runner.tell(job.number, bodies.answer())
    assert not runner.waiting()
    assert runner.next_job() is None
    runner.stopping, runner.signal = Stopping(trials=10), signal.SIGINT
    assert runner.next_job() is None
    runner.stopping, runner.signal = Stopping(deadline=0.0), 0
    assert runner.next_job() is None
