"""Stages of a pipeline other than inference: a training run of two processes with a curve."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tunefront.evaluators import (
    NO_EARLY_STOP,
    Evaluation,
    EvaluationSettings,
    InterimResult,
    InterimRule,
    Isolation,
    Measurement,
    WorkloadDescription,
    WorkloadSpec,
    builtin_catalog,
    quality_metrics,
)
from tunefront.evaluators.evaluation.evaluation import WAITING
from tunefront.evaluators.isolation.interim import Decision, Interim
from tunefront.evaluators.isolation.task import Task
from tunefront.evaluators.pipelines.base import (
    Pipeline,
    RoundResult,
    RoundSettings,
    run_pipeline,
)
from tunefront.evaluators.pipelines.stage_runner import StageRunner
from tunefront.evaluators.store.store import key_of
from tunefront.spaces import Configuration, Extension, Metric, Resources, WorkloadError

HERE = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """The request of the task that prepares data."""

    folder: Path
    fails: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """The request of the task that trains."""

    data: Path
    steps: int
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a training run has reached."""

    steps: int
    loss: float


class TrainingPipeline(Pipeline):
    """Prepares data once, then trains with two processes and reports the loss."""

    stages = ("data", "train")

    def __init__(self, *, fails: bool = False) -> None:
        self._fails = fails

    def describe(
        self, spec: WorkloadSpec, configuration: Configuration, isolation: Isolation, log: Path
    ) -> WorkloadDescription:
        return WorkloadDescription(fingerprint="toy")

    def resources(self, configuration: Configuration) -> Resources:
        return Resources(processes=2, threads=1, gpus=0)

    def evaluate(
        self, run: StageRunner, configuration: Configuration, monitor: InterimRule
    ) -> Evaluation:
        with run.stage("data", Resources(processes=1, threads=1, gpus=0)):
            data = run.keep("data", key_of(kind="toy data"), self._data(run))
        curve: list[tuple[int, float]] = []
        ended: list[InterimResult] = []

        def decide(interim: Interim) -> Decision:
            curve.append((interim.step, interim.measurements["loss"].value))
            ended.append(
                monitor.interim_result(Evaluation(status="ok", measurements=interim.measurements))
            )
            return Decision(stop=ended[-1].stopped, reason=ended[-1].reason)

        with run.stage("train"):
            found = run.run(self._task(run, data), decide)
        return Evaluation(
            status="ok",
            measurements={"loss": Measurement.exact(found.loss, "")},
            interim=ended[-1],
            facts={"steps": found.steps},
            curves={"loss": tuple(curve)},
        )

    def confirm(
        self, run: StageRunner, group: Sequence[Configuration], wanted: RoundSettings
    ) -> Sequence[RoundResult | None]:
        data = run.keep("data", key_of(kind="toy data"), self._data(run))
        results: list[RoundResult | None] = []
        for _ in group:
            found = run.run(self._task(run, data, seed=wanted.number))
            results.append(RoundResult(rates=(), undisturbed=(), values={"loss": found.loss}))
        return results

    def _data(self, run: StageRunner) -> Callable[[Path], Task[None]]:
        return lambda folder: Task(
            function="training:prepare",
            request=Data(folder=folder, fails=self._fails),
            result=type(None),
            imports=("numpy",),
            log=run.log,
            timeout_s=60,
        )

    def _task(self, run: StageRunner, data: Path, seed: int = 0) -> Task[Trained]:
        return Task(
            function="training:train",
            request=Training(data=data, steps=5, seed=seed),
            result=Trained,
            imports=("numpy",),
            log=run.log,
            timeout_s=60,
            processes=2,
        )


@pytest.fixture(scope="module")
def isolation() -> Iterator[Isolation]:
    """The tasks' functions are found beside this file's folder."""
    with pytest.MonkeyPatch.context() as patch:
        before = os.environ.get("PYTHONPATH")
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(HERE), before])))
        found = Isolation()
        yield found
        found.close()


@pytest.fixture
def settings(tmp_path: Path) -> EvaluationSettings:
    spec = WorkloadSpec(task="causal-lm", model="m", folder=str(tmp_path), data="d")
    return EvaluationSettings(workload=spec, fingerprint="f", store=str(tmp_path / "store"))


CONFIGURATION = builtin_catalog().complete({"runtime": "torch"})


def evaluated(
    pipeline: Pipeline,
    settings: EvaluationSettings,
    isolation: Isolation,
    tmp_path: Path,
    monitor: InterimRule = NO_EARLY_STOP,
) -> tuple[Evaluation, list[str]]:
    """The evaluation, and the stages that began."""
    begun: list[str] = []
    with StageRunner(settings, isolation, tmp_path / "log", pipeline.stages, begun.append) as run:
        return run_pipeline(pipeline, run, CONFIGURATION, monitor), begun


def test_a_pipeline_has_stages_of_its_own_and_a_curve(
    settings: EvaluationSettings, isolation: Isolation, tmp_path: Path
) -> None:
    pipeline = TrainingPipeline()
    found, begun = evaluated(pipeline, settings, isolation, tmp_path)
    assert found.status == "ok", (found.message, found.log)
    assert begun == ["data", "train"]
    assert set(found.seconds) == {"data", "train", WAITING, "total"}
    assert found.curves == {"loss": tuple((step, 1 / step) for step in range(1, 6))}
    assert found.reused == ()
    again, _ = evaluated(pipeline, settings, isolation, tmp_path)
    assert again.reused == ("data",)


def test_a_trial_that_trains_is_stopped_early(
    settings: EvaluationSettings, isolation: Isolation, tmp_path: Path
) -> None:
    class Reach(InterimRule):
        def interim_result(self, found: Evaluation) -> InterimResult:
            poor = found.measurements["loss"].value < 0.4
            return InterimResult(speed=None, reason="out of reach" if poor else "", stopped=poor)

    found, _ = evaluated(TrainingPipeline(), settings, isolation, tmp_path, Reach())
    assert found.facts["steps"] == 3
    assert found.interim == InterimResult(speed=None, reason="out of reach", stopped=True)


def test_a_failure_names_the_pipeline_s_stage(
    settings: EvaluationSettings, isolation: Isolation, tmp_path: Path
) -> None:
    found, _ = evaluated(TrainingPipeline(fails=True), settings, isolation, tmp_path)
    assert (found.status, found.stage, found.cause) == ("failed", "data", "exception")
    assert found.message == "ValueError: no data today"
    assert "ValueError: no data today" in found.log
    assert list((tmp_path / "store").glob("*/*")) == []


def test_a_stage_that_the_pipeline_does_not_have_is_refused(
    settings: EvaluationSettings, isolation: Isolation, tmp_path: Path
) -> None:
    class Wrong(TrainingPipeline):
        def evaluate(
            self, run: StageRunner, configuration: Configuration, monitor: InterimRule
        ) -> Evaluation:
            with run.stage("build"):
                return Evaluation(status="ok")

    found, begun = evaluated(Wrong(), settings, isolation, tmp_path)
    assert found.message == "unknown stage 'build'; the stages are data, train"
    assert begun == []
    assert "Traceback" in (tmp_path / "log").read_text()


def test_a_round_of_training_runs_has_another_seed(
    settings: EvaluationSettings, isolation: Isolation, tmp_path: Path
) -> None:
    pipeline = TrainingPipeline()
    wanted = [RoundSettings(number=n, seconds=1.0, precision=0.1) for n in range(2)]
    with StageRunner(settings, isolation, tmp_path / "log", pipeline.stages) as run:
        first, second = (pipeline.confirm(run, [CONFIGURATION], one) for one in wanted)
    assert first == [RoundResult(rates=(), undisturbed=(), values={"loss": 0.2})]
    assert second == [RoundResult(rates=(), undisturbed=(), values={"loss": 1.2})]


def test_a_task_whose_pipeline_measures_no_quality_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tunefront.evaluators.pipelines import workload

    speed = Metric(name="step_ms", unit="ms", direction="minimize", summary="", kind="training")
    task = Extension(name="train", metrics=(speed,), provides={"pipeline": "m:P"})
    catalog = builtin_catalog().extended(task)
    monkeypatch.setattr(workload, "catalog_for", lambda spec: catalog)
    spec = WorkloadSpec(task="train", model="m", folder="")
    with pytest.raises(WorkloadError, match="task train: one of the metrics of its extension"):
        quality_metrics(spec)
