"""The inference pipeline: from a configuration to its measurements.

    model stage      techniques applied to the torch module     key: workload + model choices
    runtime stage    built for a runtime, precision, bits       key: + runtime choices
    quality          once per candidate                         key: the candidate's
    execution stage  batch size, threads, replicas: speed and memory, measured every time

Speed is measured before quality where evaluating quality takes longer: of a candidate that is too
slow for the front, only a part of the items is then evaluated.

Every task runs in a fresh process (isolation/process.py); products of stages are kept in the store
(store/store.py).
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from tunefront.evaluators.benchmark.gpu_checks import gpus_probed
from tunefront.evaluators.benchmark.interleaved import InterleavedRun, take_turns
from tunefront.evaluators.benchmark.outcome import (
    InterimMonitor,
    InterimRule,
    digits,
    measured,
)
from tunefront.evaluators.benchmark.target import Target, TargetResult
from tunefront.evaluators.evaluation.evaluation import Evaluation
from tunefront.evaluators.evaluation.protocol import enough
from tunefront.evaluators.evaluation.settings import EvaluationSettings, Timeouts
from tunefront.evaluators.isolation.call import function_name
from tunefront.evaluators.isolation.preload import BUILD_IMPORTS, imports_of
from tunefront.evaluators.isolation.process import Isolation
from tunefront.evaluators.isolation.task import Task
from tunefront.evaluators.measures.base import Measure
from tunefront.evaluators.measures.builtin import BUILTIN_MEASURES
from tunefront.evaluators.measures.gpu import Gpus
from tunefront.evaluators.measures.gpu_memory import GPU_MEMORY
from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.statistics.measurement import Measurement
from tunefront.evaluators.statistics.timing import Timing, half_width
from tunefront.evaluators.workloads.outputs import read_samples
from tunefront.evaluators.workloads.quality import read_items, read_metrics
from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import (
    Configuration,
    EvaluationError,
    Resources,
    resources_of,
)

from .base import Pipeline, RoundResult, RoundSettings, TurnRates
from .memory_estimate import gpu_needed_mb, keep_gpu_memory, kept_gpu_memory, needed_mb
from .products import Products
from .stage_runner import StageRunner
from .tasks.describe import DescribeRequest, WorkloadDescription, describe
from .workload import catalog_for, load_levels

ALONE = "measured without the baseline: the GPU's memory does not hold both"
"""Warning of a candidate that ran out of memory together with the baseline, and not alone."""


class InferencePipeline(Pipeline):
    """A model through a runtime: requests, candidate, quality, speed and memory.

    Args:
        measures: What is measured while the candidate runs, in addition to its timing.
    """

    stages = ("prepare", "build", "quality", "measure")

    def __init__(self, measures: Sequence[Measure] = BUILTIN_MEASURES) -> None:
        self._measures = measures

    def describe(
        self, spec: WorkloadSpec, configuration: Configuration, isolation: Isolation, log: Path
    ) -> WorkloadDescription:
        """Load model and data once in a fresh process; see `Pipeline.describe`."""
        task = Task(
            function=function_name(describe),
            request=DescribeRequest(workload=spec, configuration=configuration),
            result=WorkloadDescription,
            imports=BUILD_IMPORTS,
            needs=imports_of(catalog_for(spec), spec.task),
            log=log,
            timeout_s=Timeouts().build_s,
        )
        return isolation.run(task)

    def resources(self, configuration: Configuration) -> Resources:
        """Return the resources of all processes of the candidate."""
        return resources_of(configuration)

    def evaluate(
        self, run: StageRunner, configuration: Configuration, monitor: InterimRule
    ) -> Evaluation:
        """Build and evaluate quality unless stored, then measure; see `Pipeline.evaluate`."""
        products, settings = Products(run, configuration), run.settings
        with run.stage("prepare", _building(settings)) as cores:
            requests = products.requests(cores)
        with run.stage("build", _building(settings, _gpus_to_build(configuration))) as cores:
            candidate = products.candidate(cores)
        own = Target(configuration=configuration, candidate=candidate, requests=requests)
        if monitor.speed_first and not products.has_quality():
            found = self._speed_first(run, own, products, monitor)
            if found is not None:
                return found
        quality = _quality(run, own, products)
        with run.stage("measure"):
            return self._measure(run, own, monitor, quality)

    def _speed_first(
        self, run: StageRunner, own: Target, products: Products, monitor: InterimRule
    ) -> Evaluation | None:
        """Measure, then evaluate quality: of a part of the items if the trial was stopped.

        Returns:
            The evaluation; None if the part is so good that the trial could reach the front: both
            are to be done again as a whole.
        """
        with run.stage("measure"):
            measured = self._measure(run, own, monitor)
        stopped = measured.interim is not None and measured.interim.stopped
        found = _with_quality(measured, _quality(run, own, products, stopped))
        return None if stopped and not monitor.interim_result(found).stopped else found

    def confirm(
        self, run: StageRunner, group: Sequence[Configuration], wanted: RoundSettings
    ) -> Sequence[RoundResult | None]:
        """Measure the group interleaved, in fresh processes; see `Pipeline.confirm`."""
        able: dict[int, Target] = {}
        for place, configuration in enumerate(group):
            with suppress(EvaluationError):  # its trial succeeded; a later build can still fail
                able[place] = target_of(run.settings, configuration, run.isolation, run.log)
        if 0 not in able:
            return [None] * len(group)
        try:
            target_results = play_round(
                run.settings,
                list(able.values()),
                run.isolation,
                run.log,
                wanted.seconds,
                wanted.precision,
            )
        except EvaluationError:  # no cores before the deadline
            return [None] * len(group)
        found = dict(zip(able, target_results, strict=True))
        return [found.get(place) for place in range(len(group))]

    def export(self, run: StageRunner, configuration: Configuration, folder: Path) -> None:
        """Copy the candidate with scripts and recorded outputs; see `Pipeline.export`."""
        gpus = _gpus_to_run(run, configuration)
        with run.isolation.cores(run.settings.build_cores, gpus) as cores:
            run.run(Products(run, configuration).export_task(folder, cores))

    def _measure(
        self, run: StageRunner, own: Target, monitor: InterimRule, quality: Path | None = None
    ) -> Evaluation:
        """Measure together with the baseline; alone if a GPU's memory did not hold both.

        Args:
            run: Runs the stage.
            own: The candidate.
            monitor: Decides on the interim result.
            quality: Folder of the candidate's quality; None if it is not known yet.
        """
        beside = _baseline_target(run, own)
        try:
            found = self._measure_beside(run, own, beside, monitor, quality)
        except EvaluationError as error:
            if not beside or not own.resources.gpus or error.cause != "oom":
                raise
            found = self._measure_beside(run, own, [], monitor, quality)
            found = replace(found, warnings=(*found.warnings, ALONE))
        memory = found.measurements.get(GPU_MEMORY.name)
        if own.resources.gpus and memory is not None:
            keep_gpu_memory(run.store, run.settings, own.configuration, memory.value)
        return found

    def _measure_beside(
        self,
        run: StageRunner,
        own: Target,
        beside: Sequence[Target],
        monitor: InterimRule,
        quality: Path | None,
    ) -> Evaluation:
        protocol = run.settings.protocol

        def found(interleaved: InterleavedRun) -> Evaluation:
            own = measured(protocol, interleaved)
            return own if quality is None else _with_quality(own, quality)

        def suffice(timings: Sequence[Timing], elapsed_s: float) -> bool:
            baseline = timings[1] if len(timings) > 1 else None
            each_s = elapsed_s / len(load_levels(run.settings.workload))
            return enough(timings[0], each_s, protocol, baseline)

        interim = InterimMonitor(found, monitor)
        interleaved = take_turns(
            run.settings,
            [own, *beside],
            run.isolation,
            run.log,
            suffice,
            interim.ends,
            self._measures,
        )
        run.waited(interleaved.queued_s + interleaved.waited_s)
        return interim.with_interim(found(interleaved))


def _building(settings: EvaluationSettings, gpus: int = 0) -> Resources:
    """Return the resources of all stages but measuring."""
    return Resources(processes=1, threads=settings.build_cores, gpus=gpus)


def _gpus_to_build(configuration: Configuration) -> int:
    """Return the number of GPUs that building takes: one if the candidate runs on any."""
    return min(1, resources_of(configuration).gpus)


def _gpus_to_run(run: StageRunner, configuration: Configuration) -> int:
    """Return the number of GPUs of one replica, or of the baseline's module, the reference."""
    own = resources_of(configuration).gpus // configuration.integer("replicas")
    baseline = run.settings.baseline
    return max(own, int(baseline.get("device") == "cuda"))


def _quality(run: StageRunner, own: Target, products: Products, stopped: bool = False) -> Path:
    """Return the folder of a candidate's quality, evaluated unless stored.

    Args:
        run: Runs the stage.
        own: The candidate.
        products: Its products.
        stopped: Whether the trial was stopped early, so that a part of the items is enough.
    """
    needed = _building(run.settings, _gpus_to_run(run, own.configuration))
    with run.stage("quality", needed) as cores:
        return products.quality(own.candidate, products.reference(cores), cores, stopped)


def _with_quality(found: Evaluation, quality: Path) -> Evaluation:
    """Return an evaluation with the quality that was written to a folder."""
    values, weights = read_items(quality)
    return replace(
        found,
        measurements={**found.measurements, **read_metrics(quality)},
        items=(digits(values), digits(weights)),
        outputs=read_samples(quality),
        facts={**found.facts, "evaluated_items": int((weights > 0).sum()), "items": len(weights)},
    )


def _baseline_target(run: StageRunner, own: Target) -> list[Target]:
    """Return the baseline as second target, or nothing.

    Nothing if the protocol has no reference, the configuration is the baseline, their devices
    differ, or both together do not fit into memory.
    """
    settings = run.settings
    baseline = Configuration(settings.baseline)
    if not settings.protocol.reference or not baseline or baseline == own.configuration:
        return []
    if baseline["device"] != own.configuration["device"]:
        return []
    reference = replace(target_of(settings, baseline, run.isolation, run.log), compared_only=True)
    return [reference] if _fits(run, own, reference) else []


def _fits(run: StageRunner, own: Target, reference: Target) -> bool:
    """Return whether two targets together fit into free memory, and GPU memory if it is used."""
    import psutil

    if needed_mb(own) + needed_mb(reference) > psutil.virtual_memory().available / 2**20:
        return False
    if not own.resources.gpus:
        return True
    free_mb = Gpus().free_mb(max(own.resources.gpus, reference.resources.gpus))
    known = [
        kept_gpu_memory(run.store, run.settings, target.configuration)
        for target in (own, reference)
    ]
    return gpu_needed_mb(own, reference, *known) <= (free_mb or 0.0)


def play_round(
    settings: EvaluationSettings,
    targets: Sequence[Target],
    isolation: Isolation,
    log: Path,
    seconds: float,
    precision: float,
) -> list[RoundResult | None]:
    """Run interleaved turns until every ratio to the first target is precise, or time is up.

    Args:
        settings: The evaluation settings, which set the minimum number of turns.
        targets: The measurement targets; the first is the reference.
        isolation: Starts the processes of the targets.
        log: The log file for the output of the processes.
        seconds: Time for the turns, s.
        precision: Relative half-width of the interval of every ratio at which to stop.
    """

    def satisfied(timings: Sequence[Timing], elapsed_s: float) -> bool:
        if len(timings[0].blocks) < settings.protocol.turns:
            return False
        if elapsed_s >= seconds:
            return True
        return all(half_width(own, timings[0]) <= precision for own in timings[1:])

    run = take_turns(settings, targets, isolation, log, satisfied)
    return [round_result_of(target_result) for target_result in run.target_results]


def round_result_of(target_result: TargetResult | EvaluationError) -> RoundResult | None:
    """Return a target's result in a round; None if the target failed."""
    if isinstance(target_result, EvaluationError):
        return None
    levels = {level: _turn_rates(timing) for level, timing in target_result.timings.items()}
    highest = levels[target_result.timing.level]
    return RoundResult(
        rates=highest.rates,
        undisturbed=highest.undisturbed,
        cpu_rates=highest.cpu_rates,
        parts=highest.parts,
        values={name: m.value for name, m in target_result.measurements.items()},
        levels=levels if target_result.lower else {},
    )


def _turn_rates(timing: Timing) -> TurnRates:
    return TurnRates(
        rates=(timing.wall_rate * timing.items).tolist(),
        undisturbed=timing.clean.tolist(),
        cpu_rates=(timing.rate * timing.items).tolist() if timing.clock == "cpu" else (),
        parts=timing.parts,
    )


def runner_of(settings: EvaluationSettings, isolation: Isolation, log: Path) -> StageRunner:
    """Return a runner of the inference pipeline's stages; see `StageRunner`."""
    return StageRunner(settings, isolation, log, InferencePipeline.stages)


def target_of(
    settings: EvaluationSettings, configuration: Configuration, isolation: Isolation, log: Path
) -> Target:
    """Return a configuration as a measurement target; products missing in the store are built.

    Raises:
        EvaluationError: With its cause, if it can't be built.
    """
    with runner_of(settings, isolation, log) as run:
        products = Products(run, configuration)
        return _built_target(run, products, configuration)


def _built_target(run: StageRunner, products: Products, configuration: Configuration) -> Target:
    gpus = _gpus_to_build(configuration)
    with (
        run.isolation.cores(run.settings.build_cores, gpus) as cores,
        gpus_probed(run.isolation, run.log),
    ):
        return Target(
            configuration=configuration,
            candidate=products.candidate(cores),
            requests=products.requests(cores),
        )


def measure_quality_again(
    settings: EvaluationSettings,
    configuration: Configuration,
    candidate: Path,
    isolation: Isolation,
    log: Path,
    folder: Path,
) -> tuple[dict[str, Measurement], Array]:
    """Evaluate the quality of a candidate or an export again, ignoring stored results.

    Args:
        settings: The evaluation settings.
        configuration: The configuration of the candidate.
        candidate: Folder of the candidate or export.
        isolation: Starts the fresh processes.
        log: File for the output of the tasks.
        folder: Folder to write the quality to.

    Returns:
        The quality metrics by name; values and weights of the items, shape `(2, items)`.

    Raises:
        EvaluationError: With its cause, if the evaluation fails.
    """
    with (
        runner_of(settings, isolation, log) as run,
        isolation.cores(settings.build_cores, _gpus_to_run(run, configuration)) as cores,
    ):
        products = Products(run, configuration)
        run.run(products.quality_task(folder, candidate, products.reference(cores), cores))
    return read_metrics(folder), read_items(folder)
