"""What earlier searches measured: kept as multiples, found by similarity, never a search's own."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tunefront.evaluators import Evaluation, WorkloadDescription
from tunefront.search import Experiment, Trial
from tunefront.search.sampling.history import records as history
from tunefront.search.sampling.history.records import (
    Subject,
    load_history,
    save_history,
    subject_of,
)
from tunefront.search.study.study import Study

Load = Callable[..., Experiment]
DESCRIBED = WorkloadDescription(fingerprint="abc", parameters=1_000_000, module="Encoder")


@pytest.fixture(autouse=True)
def on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("TUNEFRONT_HISTORY", "1")
    monkeypatch.setenv("TUNEFRONT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "history"


@pytest.fixture
def ended(load: Load, evaluation: Callable[..., Evaluation]) -> Callable[..., list[Trial]]:
    """A recorded search of five trials; the last one has failed."""

    def make(experiment: Experiment) -> list[Trial]:
        study = Study.open(experiment, {"test": "yes"})
        runnable = experiment.space.enumerate().runnable
        others = [one for one in runnable if one != experiment.baseline][:4]
        for place, configuration in enumerate([experiment.baseline, *others]):
            speed, memory = 100.0 * (place + 1), 500.0 - 50 * place
            found = evaluation(throughput=speed, peak_memory_mb=memory)
            if place == 4:
                found = Evaluation(status="failed", cause="crash", message="exit code 1")
            study.tell(study.ask(configuration), found)
        return list(study.trials())

    return make


def subject(**changes: object) -> Subject:
    plain = Subject(task="text-embedding", module="Encoder", parameters=1_000_000, machine="m")
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_measured_trials_are_kept_as_multiples_of_the_baseline(
    load: Load, ended: Callable[..., list[Trial]]
) -> None:
    first, other = load(), load("name=another search")
    described = subject_of(first, DESCRIBED)
    save_history(first, described, ended(first))
    assert load_history(first, described) == []
    (found,) = load_history(other, described)
    assert found.name == first.name
    assert [trial.multiples["throughput"] for trial in found.trials] == pytest.approx([2, 3, 4])
    assert found.trials[0].multiples["peak_memory_mb"] == pytest.approx(0.9)
    assert found.trials[0].differences["quality_drop"] == pytest.approx(0.0)
    assert found.baseline == dict(first.space.catalog.complete(first.baseline))


def test_a_search_replaces_what_it_kept_before(
    load: Load, ended: Callable[..., list[Trial]], on: Path
) -> None:
    first = load()
    described = subject_of(first, DESCRIBED)
    trials = ended(first)
    save_history(first, described, trials[:4])
    save_history(first, described, trials)
    assert len(list(on.glob("*.json"))) == 1


def test_little_is_not_kept(
    load: Load,
    ended: Callable[..., list[Trial]],
    on: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = load()
    described, trials = subject_of(first, DESCRIBED), ended(first)
    save_history(first, described, trials[:3])
    save_history(replace(first, smoke=True), described, trials)
    monkeypatch.setenv("TUNEFRONT_HISTORY", "0")
    save_history(first, described, trials)
    assert not on.exists()


def test_the_most_similar_searches_of_the_task_are_used(
    load: Load, ended: Callable[..., list[Trial]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "MOST_USED", 2)
    own = load()
    described = subject_of(own, DESCRIBED)
    kinds = {
        "large": replace(described, parameters=100_000_000),
        "elsewhere": replace(described, machine="other"),
        "same": described,
        "other task": replace(described, task="image-classification"),
    }
    for name, kind in kinds.items():
        experiment = load(f"name={name}")
        save_history(experiment, kind, ended(experiment))
    assert [search.name for search in load_history(own, described)] == ["same", "large"]
    assert load_history(replace(own, history=False), described) == []
    assert load_history(replace(own, smoke=True), described) == []
    monkeypatch.setenv("TUNEFRONT_HISTORY", "0")
    assert load_history(own, described) == []


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"format": 99}'])
def test_a_broken_file_is_ignored(
    load: Load, ended: Callable[..., list[Trial]], on: Path, content: str
) -> None:
    first, other = load(), load("name=another search")
    described = subject_of(first, DESCRIBED)
    save_history(first, described, ended(first))
    (on / "0.json").write_text(content)
    assert len(load_history(other, described)) == 1


def test_another_format_is_ignored(load: Load, ended: Callable[..., list[Trial]], on: Path) -> None:
    first, other = load(), load("name=another search")
    described = subject_of(first, DESCRIBED)
    save_history(first, described, ended(first))
    (path,) = on.glob("*.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    assert load_history(other, described) == []


def test_the_oldest_are_removed(
    load: Load,
    ended: Callable[..., list[Trial]],
    on: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(history, "MOST_KEPT", 2)
    for name in ("a", "b", "c"):
        experiment = load(f"name={name}")
        save_history(experiment, subject_of(experiment, DESCRIBED), ended(experiment))
    assert len(list(on.glob("*.json"))) == 2


def test_a_cache_that_cannot_be_written_does_not_fail_the_search(
    load: Load, ended: Callable[..., list[Trial]], on: Path
) -> None:
    on.parent.mkdir(parents=True, exist_ok=True)
    on.write_text("a file in the place of the folder")
    first = load()
    save_history(first, subject_of(first, DESCRIBED), ended(first))
    assert load_history(load("name=another search"), subject_of(first, DESCRIBED)) == []


def test_similar_searches_are_near() -> None:
    own = subject()
    assert own.distance(subject()) == pytest.approx(0.1)
    assert own.distance(subject(module="Decoder")) == pytest.approx(0.15)
    assert own.distance(subject(parameters=100_000_000)) == pytest.approx(0.2)
    assert own.distance(subject(parameters=0)) == pytest.approx(0.1)
    assert own.distance(subject(machine="n")) == pytest.approx(0.4)
