"""The contract of a pipeline: named stages that turn a configuration into an evaluation."""

import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from tunefront.evaluators.benchmark.outcome import InterimRule
from tunefront.evaluators.evaluation.evaluation import Evaluation
from tunefront.evaluators.isolation.process import Isolation, last_lines
from tunefront.evaluators.statistics.dependence import within_parts
from tunefront.evaluators.statistics.timing import kept_turns
from tunefront.evaluators.store.disk import is_full
from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import (
    Configuration,
    EvaluationError,
    ExportError,
    FailureCause,
    Resources,
    WorkloadError,
)

from .stage_runner import StageRunner
from .tasks.describe import WorkloadDescription


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundSettings:
    """What is to be measured again in a round.

    Attributes:
        number: Number of the round, from 0; for example the seed of a training run.
        seconds: Time for the measurements, s.
        precision: Relative half-width of the interval of every ratio at which to stop.
    """

    number: int
    seconds: float
    precision: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRates:
    """Rates of one configuration in the turns of a confirmation round.

    Attributes:
        rates: Items per second of wall time in each turn; empty if the pipeline does not measure in
            turns.
        undisturbed: Whether each turn was undisturbed.
        cpu_rates: Items per second of CPU time in each turn; empty unless CPU time can be the
            clock.
        parts: Number of parts of the sample; turn k was timed with part k modulo this number.
    """

    rates: Sequence[float]
    undisturbed: Sequence[bool]
    cpu_rates: Sequence[float] = ()
    parts: int = 1

    def ratios_to(self, base: "TurnRates") -> list[float]:
        """Return the ratio of the rates in each included turn, by one clock.

        CPU time is the clock only if both have it. Turns are included as in `kept_turns`; those
        that only one of the two has are left out, and so is the variation between the parts of
        the sample, see `within_parts`.
        """
        by_cpu = bool(self.cpu_rates and base.cpu_rates)
        rates, base_rates = (one.cpu_rates if by_cpu else one.rates for one in (self, base))
        turns = np.flatnonzero(kept_turns(self._both_undisturbed(base))).tolist()
        ratios = np.array([rates[turn] / base_rates[turn] for turn in turns])
        found: list[float] = within_parts(ratios, [t % self.parts for t in turns]).tolist()
        return found

    def undisturbed_with(self, base: "TurnRates") -> bool:
        """Return whether all included turns were undisturbed for both."""
        clean = self._both_undisturbed(base)
        return bool(clean[kept_turns(clean)].all())

    def _both_undisturbed(self, base: "TurnRates") -> npt.NDArray[np.bool_]:
        """Return for each turn that both have whether it was undisturbed for both."""
        turns = zip(self.undisturbed, base.undisturbed, strict=False)
        return np.array([own and other for own, other in turns], dtype=bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundResult(TurnRates):
    """Result of one configuration in a confirmation round; rates at the highest load level.

    Attributes:
        values: Values by metric.
        levels: Rates at each of several load levels, by name; empty if there is one.
    """

    values: Mapping[str, float]
    levels: Mapping[str, TurnRates] = field(default_factory=dict)


class Pipeline(ABC):
    """The stages of an evaluation, in their order; an object has no state between calls."""

    stages: ClassVar[tuple[str, ...]]
    """Names of the stages; a trial's record names the one in which it failed."""

    @abstractmethod
    def describe(
        self, spec: WorkloadSpec, configuration: Configuration, isolation: Isolation, log: Path
    ) -> WorkloadDescription:
        """Check that the workload can be evaluated; return its fingerprint.

        Args:
            spec: The workload.
            configuration: A complete configuration to check with.
            isolation: Starts fresh processes.
            log: File for their output.

        Raises:
            WorkloadError: If its files can't be used.
            EvaluationError: With its cause, if the check fails otherwise.
        """

    @abstractmethod
    def resources(self, configuration: Configuration) -> Resources:
        """Return what a complete configuration needs while it is measured."""

    @abstractmethod
    def evaluate(
        self, run: StageRunner, configuration: Configuration, monitor: InterimRule
    ) -> Evaluation:
        """Evaluate a complete configuration.

        Args:
            run: Runs the stages, each under its name in `stages`.
            configuration: The configuration.
            monitor: Decides on an interim evaluation whether to stop early.

        Raises:
            EvaluationError: With its cause, if a stage fails.
        """

    @abstractmethod
    def confirm(
        self, run: StageRunner, group: Sequence[Configuration], wanted: RoundSettings
    ) -> Sequence[RoundResult | None]:
        """Measure complete configurations again; the first is the reference of all ratios.

        Returns:
            A result for each configuration. None for one that failed, and for all if the first
            can't be built.
        """

    def export(self, run: StageRunner, configuration: Configuration, folder: Path) -> None:
        """Fill an empty folder with an export of a complete configuration.

        Raises:
            EvaluationError: With its cause, if it can't be built or run.
            ExportError: If trials have no export.
        """
        raise ExportError(f"task {run.settings.workload.task}: its trials have no export")


def run_pipeline(
    pipeline: Pipeline, run: StageRunner, configuration: Configuration, monitor: InterimRule
) -> Evaluation:
    """Evaluate a complete configuration; any error becomes a failed evaluation."""
    start = time.perf_counter()
    try:
        found = pipeline.evaluate(run, configuration, monitor)
    except Exception as error:  # the trial's border: any error is recorded as its result
        _note_unexpected(error, run.log)
        found = Evaluation(
            status="failed",
            cause=_cause(error),
            stage=run.current,
            message=str(error) or type(error).__name__,
            log=tuple(last_lines(run.log)),
        )
    run.seconds["total"] = time.perf_counter() - start
    return replace(found, seconds=run.seconds, reused=tuple(run.reused))


def _note_unexpected(error: Exception, log: Path) -> None:
    """Write the traceback of an unexpected error to the log."""
    if not isinstance(error, EvaluationError | WorkloadError):
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as stream:
            traceback.print_exc(file=stream)


def _cause(error: Exception) -> FailureCause:
    if is_full(error):
        return "disk full"
    return error.cause if isinstance(error, EvaluationError) else "exception"
