"""Ray Tune places and runs; the study decides and remembers."""

import json
import os
import signal
from itertools import combinations

import pytest

from tunefront.evaluators import EvaluationSettings, builtin_catalog
from tunefront.evaluators.isolation.codec import to_plain
from tunefront.search.cluster.jobs import placement_of
from tunefront.search.cluster.worker import result_file
from tunefront.search.run.runner import Runner
from tunefront.search.run.stopping import Stopping
from tunefront.search.study.study import TRIAL_ATTEMPTS, Study
from tunefront.search.study.trial import Trial
from tunefront.spaces import Configuration, resources_of

from . import bodies
from .conftest import LoadFile, RunAll


def together(one: Trial, other: Trial) -> bool:
    """Whether two trials ran at the same time."""
    assert one.evaluation is not None and other.evaluation is not None
    first, second = one.evaluation.facts, other.evaluation.facts
    return bool(first["start"] < second["end"] and second["start"] < first["end"])


def devices(trial: Trial) -> set[str]:
    assert trial.evaluation is not None
    return set(filter(None, trial.evaluation.facts["devices"].split(",")))


def test_four_trials_of_one_gpu_run_at_once_on_devices_of_their_own(
    load_file: LoadFile, run_all: RunAll
) -> None:
    trials = run_all(load_file("  batch_size: [1, 2, 4, 8, 16]"), "meets_three_others")
    assert len(trials) == 5
    baseline, *others = trials
    assert all(trial.status == "ok" for trial in trials), "they never met"
    assert not any(together(baseline, other) for other in others)
    for one, other in combinations(others, 2):
        assert not devices(one) & devices(other)
    assert all(len(devices(trial)) == 1 for trial in trials)
    for trial in trials:
        assert trial.evaluation is not None
        assert trial.evaluation.facts["niceness"] == os.nice(0), "others would go before it"


def test_a_trial_of_four_ranks_has_all_gpus_to_itself(load_file: LoadFile, run_all: RunAll) -> None:
    trials = run_all(load_file("  tensor_parallel: [1, 4]\n  batch_size: [1, 2]"), "says_where")
    wide = [trial for trial in trials if trial.configuration.get("tensor_parallel") == 4]
    assert len(wide) == 2
    for trial in wide:
        assert len(devices(trial)) == 4
        assert not any(together(trial, other) for other in trials if other is not trial)


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


def test_no_configuration_runs_twice(load_file: LoadFile, run_all: RunAll) -> None:
    experiment = load_file("  batch_size: [1, 2, 4]\n  threads: [1, 2]")
    trials = run_all(experiment, "quick")
    assert len(trials) == 6
    assert len({trial.configuration for trial in trials}) == 6
    assert len((experiment.results / "ran.txt").read_text().splitlines()) == 6
    assert all(trial.status == "ok" for trial in trials)
    assert len(run_all(experiment, "quick")) == 6


def test_a_baseline_that_fails_ends_the_search(load_file: LoadFile, run_all: RunAll) -> None:
    trials = run_all(load_file("  batch_size: [1, 2, 4]"), "fails")
    assert [(trial.status, trial.cause) for trial in trials] == [("failed", "unsupported")]


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        ("dies_on_batch_2", "crash"),
        ("raises_on_batch_2", "exception"),
        ("is_not_a_number_on_batch_2", "invalid output"),
    ],
)
def test_a_trial_that_goes_wrong_is_a_result_and_the_search_goes_on(
    load_file: LoadFile, run_all: RunAll, body: str, cause: str
) -> None:
    trials = run_all(load_file("  batch_size: [1, 2, 4, 8]"), body)
    by_batch = {trial.configuration["batch_size"]: trial for trial in trials}
    assert len(trials) == 4
    assert (by_batch[2].status, by_batch[2].cause) == ("failed", cause)
    assert not by_batch[2].measurements
    assert all(by_batch[size].status == "ok" for size in (1, 4, 8))


def test_what_was_running_when_a_driver_ended_is_settled(
    load_file: LoadFile, run_all: RunAll
) -> None:
    experiment = load_file("  batch_size: [1, 2, 4]")
    study = Study.open(experiment, {"test": "yes"})
    study.tell(study.ask(experiment.baseline), bodies.answer())
    finished = Configuration({**experiment.baseline, "batch_size": 2})
    lost = Configuration({**experiment.baseline, "batch_size": 4})
    told, orphaned = study.ask(finished), study.ask(lost)
    result = result_file(experiment.results, told)
    result.parent.mkdir(parents=True)
    result.write_text(json.dumps(to_plain(bodies.answer())))

    trials = run_all(experiment, "quick")

    assert [(trial.status, trial.attempt) for trial in trials] == [("ok", 1), ("ok", 1), ("ok", 2)]
    assert trials[orphaned].configuration == lost
    ran = (experiment.results / "ran.txt").read_text().splitlines()
    assert [line.split()[0] for line in ran] == [str(orphaned)]


def test_a_configuration_that_ends_whatever_runs_it_is_not_run_for_ever(
    load_file: LoadFile,
) -> None:
    experiment = load_file("  batch_size: [1, 2]")
    study = Study.open(experiment, {"test": "yes"})
    study.tell(study.ask(experiment.baseline), bodies.answer())
    number = study.ask(Configuration({**experiment.baseline, "batch_size": 2}))
    attempts = 1
    while study.restart(number) is not None:
        assert study.reconcile({}) == [number]
        attempts += 1
    assert attempts == TRIAL_ATTEMPTS
    trial = study.trial(number)
    assert (trial.status, trial.cause, trial.attempt) == ("failed", "crash", TRIAL_ATTEMPTS)


def test_the_end_is_the_budget_the_deadline_or_the_user(load_file: LoadFile) -> None:
    experiment = load_file("  batch_size: [1, 2, 4]")
    study = Study.open(experiment, {"test": "yes"})
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


def test_nothing_is_left_behind_but_the_record(load_file: LoadFile, run_all: RunAll) -> None:
    experiment = load_file("  batch_size: [1, 2]")
    run_all(experiment, "quick")
    left = {path.name for path in experiment.results.rglob("*") if path.is_file()}
    assert left == {"study.db", "ran.txt"}
