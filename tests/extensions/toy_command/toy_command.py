"""A command of a user: it fits a line by gradient descent in two processes and reports a curve.

Each process sums the gradient over half of the data; they exchange it through files.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tunefront.evaluators import Evaluation, Isolation, Measurement, WorkloadDescription
from tunefront.evaluators.benchmark.outcome import InterimRule
from tunefront.evaluators.evaluation.evaluation import InterimResult
from tunefront.evaluators.isolation.interim import Decision, Interim, report_interim
from tunefront.evaluators.isolation.task import Task
from tunefront.evaluators.pipelines.base import Pipeline, RoundResult, RoundSettings
from tunefront.evaluators.pipelines.stage_runner import StageRunner
from tunefront.evaluators.store.store import fingerprint_of
from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import ChoiceKind, Configuration, Extension, Metric, Resources

LOSS = Metric(
    name="final_loss",
    unit="",
    direction="minimize",
    summary="mean squared error after the last step",
)
STEP_TIME = Metric(
    name="step_ms",
    unit="ms",
    direction="minimize",
    summary="mean time of a step",
    kind="training",
)
RATE = ChoiceKind(
    name="learning_rate",
    stage="execution",
    default=0.1,
    help="Size of a step of gradient descent.",
    low=0.001,
    high=0.9,
    short="lr",
    read_back="none",
)
STEPS = ChoiceKind(
    name="steps",
    stage="execution",
    default=4,
    help="Number of steps of gradient descent.",
    numbers=(4, 8, 16),
    whole=True,
    short="steps",
    read_back="none",
)
EXTENSION = Extension(
    name="line-fitting",
    choices=(RATE, STEPS),
    metrics=(LOSS, STEP_TIME),
    uses=frozenset({"threads"}),
    provides={"pipeline": "toy_command:LineFitting"},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A run of the command: the number of steps, their size and the seed of the data."""

    steps: int
    learning_rate: float
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """What a run has reached."""

    loss: float
    step_ms: float


class LineFitting(Pipeline):
    """Runs the command once."""

    stages = ("train",)

    def describe(
        self, spec: WorkloadSpec, configuration: Configuration, isolation: Isolation, log: Path
    ) -> WorkloadDescription:
        """Return the fingerprint of this file."""
        return WorkloadDescription(fingerprint=fingerprint_of((Path(__file__),)))

    def resources(self, configuration: Configuration) -> Resources:
        """Return two processes."""
        return Resources(processes=2, threads=configuration.integer("threads"), gpus=0)

    def evaluate(
        self, run: StageRunner, configuration: Configuration, monitor: InterimRule
    ) -> Evaluation:
        """Train; the loss of every step is a curve."""
        curve: list[tuple[int, float]] = []
        seen: list[InterimResult] = []

        def decide(interim: Interim) -> Decision:
            curve.append((interim.step, interim.measurements[LOSS.name].value))
            seen.append(
                monitor.interim_result(Evaluation(status="ok", measurements=interim.measurements))
            )
            return Decision(stop=seen[-1].stopped, reason=seen[-1].reason)

        with run.stage("train", self.resources(configuration)):
            found = run.run(self._task(run, configuration), decide)
        return Evaluation(
            status="ok",
            measurements={
                LOSS.name: Measurement.exact(found.loss, ""),
                STEP_TIME.name: Measurement.exact(found.step_ms, "ms"),
            },
            interim=seen[-1],
            curves={LOSS.name: tuple(curve)},
        )

    def confirm(
        self, run: StageRunner, group: Sequence[Configuration], wanted: RoundSettings
    ) -> Sequence[RoundResult | None]:
        """Train again with another seed."""
        results: list[RoundResult | None] = []
        for configuration in group:
            found = run.run(self._task(run, configuration, seed=wanted.number + 1))
            values = {LOSS.name: found.loss, STEP_TIME.name: found.step_ms}
            results.append(RoundResult(rates=(), undisturbed=(), values=values))
        return results

    def _task(self, run: StageRunner, configuration: Configuration, seed: int = 0) -> Task[Fitted]:
        return Task(
            function="toy_command:fit",
            request=Fit(
                steps=configuration.integer("steps"),
                learning_rate=configuration.number("learning_rate"),
                seed=seed,
            ),
            result=Fitted,
            imports=("numpy",),
            log=run.log,
            timeout_s=60,
            processes=2,
        )


def fit(request: Fit) -> Fitted:
    """Fit a line in this process and the other one."""
    rank, folder = int(os.environ["RANK"]), Path(os.environ["TUNEFRONT_RENDEZVOUS"]).parent
    x = np.random.default_rng(request.seed).uniform(-1, 1, 64)[rank::2]
    y, slope, loss, step = 3 * x, 0.0, 0.0, 0
    start = time.perf_counter()
    for step in range(1, request.steps + 1):
        gradient, loss = exchange(folder, step, rank, x, y, slope)
        slope -= request.learning_rate * gradient
        measured = Measurement.exact(loss, "")
        if report_interim(Interim(step=step, measurements={LOSS.name: measured})).stop:
            break
    return Fitted(loss=loss, step_ms=1e3 * (time.perf_counter() - start) / step)


def exchange(
    folder: Path, step: int, rank: int, x: np.ndarray, y: np.ndarray, slope: float
) -> tuple[float, float]:
    """Return the gradient and the loss over the data of both processes."""
    error = slope * x - y
    own = folder / f"step-{step}-{rank}.npy"
    with own.with_suffix(".part").open("wb") as file:
        np.save(file, np.array([(2 * error * x).sum(), (error**2).sum(), len(x)]))
    own.with_suffix(".part").rename(own)
    other = folder / f"step-{step}-{1 - rank}.npy"
    while not other.exists():
        time.sleep(0.001)
    gradient, loss, count = np.load(own) + np.load(other)
    return float(gradient / count), float(loss / count)
