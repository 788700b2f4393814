"""A task and a runtime with the interface `http` in a file of a user keep their contracts."""

import shutil
from pathlib import Path

import pytest

from tunefront.evaluators.testing.suite import check_additions
from tunefront.search import Experiment, load_experiment
from tunefront.spaces import detect_hardware

TOY = Path(__file__).parent / "toy_service" / "toy_service.py"
EXPERIMENT = """
name: service
extensions: [toy_service.py]
workload:
  task: TASK
  model: none
  data: none.jsonl
LOAD
space: {runtime: [RUNTIME]}
objectives: {OBJECTIVE}
"""


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    shutil.copyfile(TOY, tmp_path / TOY.name)
    return experiment_of(
        tmp_path,
        TASK="doubling",
        LOAD="  load: {concurrency: [1, 2]}\n  slo: {e2e_latency_ms: 60000}",
        RUNTIME="doubler",
        OBJECTIVE="requests_per_second@2: maximize",
    )


def experiment_of(folder: Path, **words: str) -> Experiment:
    text = EXPERIMENT
    for name, value in words.items():
        text = text.replace(name, value)
    (folder / "experiment.yaml").write_text(text)
    return load_experiment(folder / "experiment.yaml")


def test_it_has_the_load_and_the_metrics_of_services(experiment: Experiment) -> None:
    assert {"e2e_latency_ms@1", "goodput@2", "right_responses"} <= experiment.metrics.keys()
    assert len(experiment.space.enumerate().runnable) == 1


def test_it_passes_the_conformance_suites(experiment: Experiment) -> None:
    found = list(check_additions(experiment.workload, detect_hardware()))
    assert [one for one in found if one.problem] == []
    checks = {(one.subject.partition(" (")[0], one.check) for one in found}
    assert ("workload doubling", "a service gets the same requests at every call") in checks
    assert ("runtime doubler", "every request is answered") in checks
    assert ("runtime doubler", "the script calls the service") in checks


def test_the_runtime_is_not_tried_with_a_task_of_another_kind(
    experiment: Experiment, tmp_path: Path
) -> None:
    other = experiment_of(
        tmp_path, TASK="causal-lm", LOAD="", RUNTIME="torch", OBJECTIVE="throughput: maximize"
    )
    problems = [
        one.problem
        for one in check_additions(other.workload, detect_hardware())
        if one.subject == "runtime doubler"
    ]
    assert problems == [
        "task causal-lm sends no requests over HTTP; try it in an experiment that does"
    ]
