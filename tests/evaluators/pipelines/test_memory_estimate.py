"""Memory of two candidates on GPUs: as measured where it is known; alone where both do not fit."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tunefront.evaluators import (
    Evaluation,
    EvaluationSettings,
    InterleavedRun,
    Store,
    Target,
    WorkloadSpec,
    builtin_catalog,
)
from tunefront.evaluators.benchmark.outcome import NO_EARLY_STOP
from tunefront.evaluators.pipelines import inference
from tunefront.evaluators.pipelines.inference import ALONE, InferencePipeline
from tunefront.evaluators.pipelines.memory_estimate import (
    FILES_FACTOR,
    LIBRARIES_MB,
    gpu_needed_mb,
    keep_gpu_memory,
    kept_gpu_memory,
)
from tunefront.evaluators.statistics.measurement import Measurement
from tunefront.spaces import EvaluationError, FailureCause, Value

CATALOG = builtin_catalog()


def target(folder: Path, megabytes: float, **values: Value) -> Target:
    folder.mkdir()
    (folder / "model").write_bytes(b"0" * int(megabytes * 2**20))
    chosen = CATALOG.complete({"device": "cuda", **values})
    return Target(configuration=chosen, candidate=folder, requests=folder)


def test_what_was_measured_counts_and_otherwise_an_estimate_by_files(tmp_path: Path) -> None:
    own, base = target(tmp_path / "own", 2, batch_size=8), target(tmp_path / "base", 1)
    assert gpu_needed_mb(own, base, 900, 600) == 1500
    assert gpu_needed_mb(own, base, None, None) == FILES_FACTOR * 3 + 2 * LIBRARIES_MB
    assert gpu_needed_mb(own, base, 900, None) == 900 + FILES_FACTOR * 1 + LIBRARIES_MB


def test_the_baseline_s_activations_are_taken_for_each_item(tmp_path: Path) -> None:
    """500 MB for the 4 items of the baseline are 16,000 MB for 128."""
    own = target(tmp_path / "own", 2, batch_size=128)
    base = target(tmp_path / "base", 1, batch_size=4)
    assert gpu_needed_mb(own, base, None, 501) == 2 + 16_000 + 501
    small = target(tmp_path / "small", 2, batch_size=1)
    assert gpu_needed_mb(small, base, None, 501) == FILES_FACTOR * 2 + LIBRARIES_MB + 501


def test_each_gpu_holds_its_part(tmp_path: Path) -> None:
    wide = target(tmp_path / "wide", 4, tensor_parallel=4)
    base = target(tmp_path / "base", 1, replicas=2)
    assert gpu_needed_mb(wide, base, 4000, 600) == 1000 + 300


def test_measured_memory_is_kept_by_configuration(tmp_path: Path) -> None:
    spec = WorkloadSpec(task="causal-lm", model="m", data="d", folder=str(tmp_path))
    settings = EvaluationSettings(workload=spec, fingerprint="f", store=str(tmp_path))
    store = Store(tmp_path / "store")
    first, other = (CATALOG.complete({"device": "cuda", "batch_size": n}) for n in (1, 2))
    keep_gpu_memory(store, settings, first, 812.5)
    assert kept_gpu_memory(store, settings, first) == 812.5
    assert kept_gpu_memory(store, settings, other) is None


class Runs:
    """Interleaved runs with planned ends; keeps how many targets each had."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *ends: FailureCause | None) -> None:
        self.targets: list[int] = []
        self.kept: list[float] = []
        self._ends = iter(ends)
        monkeypatch.setattr(inference, "take_turns", self._take_turns)
        monkeypatch.setattr(inference, "measured", self._measured)
        monkeypatch.setattr(inference, "_with_quality", lambda found, quality: found)
        monkeypatch.setattr(inference, "_baseline_target", lambda run, own: [own])
        monkeypatch.setattr(inference, "keep_gpu_memory", lambda *given: self.kept.append(given[3]))

    def _take_turns(self, settings: Any, targets: Sequence[Target], *_: Any) -> InterleavedRun:
        self.targets.append(len(targets))
        return InterleavedRun(target_results=[], machine={}, waited_s=0.0)

    def _measured(self, protocol: Any, run: InterleavedRun) -> Evaluation:
        cause = next(self._ends)
        if cause is not None:
            raise EvaluationError("failed", cause=cause)
        memory = {"gpu_memory_mb": Measurement.exact(5.0, "MB")}
        return Evaluation(status="ok", measurements=memory, warnings=("first",))

    def measure(self, own: Target) -> Evaluation:
        run: Any = SimpleNamespace(
            settings=SimpleNamespace(protocol=None),
            isolation=None,
            log=None,
            store=None,
            waited=lambda seconds: None,
        )
        return InferencePipeline()._measure(run, own, NO_EARLY_STOP, Path())


@pytest.fixture
def on_gpu(tmp_path: Path) -> Target:
    return target(tmp_path / "own", 1)


def test_out_of_memory_beside_the_baseline_is_repeated_alone(
    on_gpu: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Runs(monkeypatch, "oom", None)
    found = runs.measure(on_gpu)
    assert (runs.targets, found.status) == ([2, 1], "ok")
    assert found.warnings == ("first", ALONE)
    assert runs.kept == [5.0]


def test_only_what_happened_alone_is_the_trial_s_failure(
    on_gpu: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Runs(monkeypatch, "oom", "oom")
    with pytest.raises(EvaluationError) as caught:
        runs.measure(on_gpu)
    assert (caught.value.cause, runs.targets) == ("oom", [2, 1])


@pytest.mark.parametrize(("device", "cause"), [("cuda", "crash"), ("cpu", "oom")])
def test_other_failures_are_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, cause: FailureCause
) -> None:
    """On a processor each process has a limit of its own."""
    runs = Runs(monkeypatch, cause)
    with pytest.raises(EvaluationError):
        runs.measure(target(tmp_path / "own", 1, device=device))
    assert runs.targets == [2]


def test_a_baseline_on_another_device_runs_alone(on_gpu: Target) -> None:
    protocol = SimpleNamespace(reference=True)
    baseline = dict(CATALOG.complete({"device": "cpu"}))
    run: Any = SimpleNamespace(settings=SimpleNamespace(protocol=protocol, baseline=baseline))
    assert inference._baseline_target(run, on_gpu) == []
