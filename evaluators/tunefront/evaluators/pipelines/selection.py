"""The pipeline of a workload, and what is done with it: describing, evaluating, exporting."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

from tunefront.evaluators.benchmark.outcome import NO_EARLY_STOP, InterimRule
from tunefront.evaluators.evaluation.evaluation import Evaluation
from tunefront.evaluators.evaluation.metrics import measured_metrics
from tunefront.evaluators.evaluation.settings import EvaluationSettings
from tunefront.evaluators.interfaces.builtin import interface_of
from tunefront.evaluators.isolation.process import Isolation
from tunefront.evaluators.measures.base import Measure
from tunefront.evaluators.measures.builtin import measures_of
from tunefront.evaluators.store.store import Store
from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import (
    Configuration,
    EvaluationError,
    Metric,
    Resources,
    Value,
    WorkloadError,
)
from tunefront.spaces.metric import at_level

from .base import Pipeline, RoundResult, RoundSettings, run_pipeline
from .inference import InferencePipeline
from .keys import candidate_key
from .stage_runner import OnStage, StageRunner
from .tasks.describe import WorkloadDescription
from .workload import build_workload, catalog_for, has_pipeline, load_levels


def pipeline_of(spec: WorkloadSpec, measures: Sequence[Measure] | None = None) -> Pipeline:
    """Return the pipeline of a workload: that of its task's extension, or inference.

    Args:
        spec: The workload.
        measures: What is watched in addition to the timing; the built-in measures and those of the
            workload's extensions if None. A task's own pipeline has its own measures.
    """
    catalog = catalog_for(spec)
    if has_pipeline(spec):
        return cast(Callable[[], Pipeline], catalog.provided("pipeline", spec.task))()
    return InferencePipeline(measures_of(catalog) if measures is None else measures)


def resources_for(spec: WorkloadSpec, configuration: Mapping[str, Value]) -> Resources:
    """Return what a configuration of a workload needs while it is measured.

    Args:
        spec: The workload, whose pipeline decides.
        configuration: The configuration; defaults are filled in.
    """
    completed = catalog_for(spec).complete(configuration)
    return pipeline_of(spec).resources(completed)


def workload_metrics(spec: WorkloadSpec, measures: Sequence[Measure]) -> Mapping[str, Metric]:
    """Return the metrics that evaluations of a workload measure, without its quality, by name.

    Args:
        spec: The workload.
        measures: The measures of the search.
    """
    if has_pipeline(spec):
        own = catalog_for(spec).extension(spec.task).metrics
        return {metric.name: metric for metric in own if metric.kind != "quality"}
    workload, without = build_workload(spec), metrics_left_out(spec)
    known = [m for m in interface_of(workload.interface).metrics if m.name not in without]
    levels = load_levels(spec)
    return measured_metrics(measures, [at_level(m, level) for level in levels for m in known])


def metrics_left_out(spec: WorkloadSpec) -> Mapping[str, str]:
    """Return the metrics of the task and its interface that are not measured, with the reasons."""
    if has_pipeline(spec):
        return {}
    output_tokens = spec.load.output_tokens if spec.load else None
    workload = build_workload(spec)
    interface = interface_of(workload.interface)
    return {**interface.not_measured(spec.slo, output_tokens), **workload.metrics_left_out()}


def evaluate(
    settings: EvaluationSettings,
    configuration: Configuration,
    isolation: Isolation,
    log: Path,
    on_stage: OnStage = lambda stage: None,
    interim_rule: InterimRule = NO_EARLY_STOP,
    measures: Sequence[Measure] | None = None,
) -> Evaluation:
    """Evaluate a configuration by the workload's pipeline.

    Any error of the evaluation becomes a failed evaluation instead of being raised.

    Args:
        settings: The evaluation settings.
        configuration: The configuration to evaluate; it must be complete.
        isolation: Starts the fresh processes.
        log: File for the output of the tasks.
        on_stage: Called with each stage when it begins.
        interim_rule: The early-stop rule, applied to the interim result.
        measures: What is watched while the candidate runs; the built-in
            measures and those of the workload's extensions if None.

    Raises:
        SpaceError: If the configuration is not complete.
    """
    catalog_for(settings.workload).check_complete(configuration)
    pipeline = pipeline_of(settings.workload, measures)
    with StageRunner(settings, isolation, log, pipeline.stages, on_stage) as run:
        return run_pipeline(pipeline, run, configuration, interim_rule)


def confirm_round(
    settings: EvaluationSettings,
    group: Sequence[Configuration],
    isolation: Isolation,
    log: Path,
    wanted: RoundSettings,
) -> Sequence[RoundResult | None]:
    """Measure complete configurations again; see `Pipeline.confirm`."""
    pipeline = pipeline_of(settings.workload)
    with StageRunner(settings, isolation, log, pipeline.stages) as run:
        return pipeline.confirm(run, group, wanted)


def describe_workload(
    workload: WorkloadSpec,
    isolation: Isolation,
    log: Path,
    configuration: Mapping[str, Value] | None = None,
) -> WorkloadDescription:
    """Check a workload's model and data; return its fingerprint and size.

    Args:
        workload: The workload.
        isolation: Starts fresh processes.
        log: File for their output.
        configuration: The configuration to check with, such as the baseline; defaults if None.

    Raises:
        WorkloadError: If the model or the data can't be used.
    """
    completed = catalog_for(workload).complete(configuration or {})
    try:
        return pipeline_of(workload).describe(workload, completed, isolation, log)
    except EvaluationError as error:
        raise WorkloadError(f"workload: {error} ({error.cause}); see {log}") from error


def is_built(settings: EvaluationSettings, configuration: Configuration) -> bool:
    """Return whether the store holds the built candidate; a task's own pipeline decides itself."""
    if has_pipeline(settings.workload):
        return True
    return Store(Path(settings.store)).find(candidate_key(settings, configuration)) is not None


def export_candidate(
    settings: EvaluationSettings,
    configuration: Configuration,
    isolation: Isolation,
    log: Path,
    folder: Path,
) -> None:
    """Fill `folder` with an export of the configuration; missing products are built again.

    Raises:
        EvaluationError: With its cause, if it can't be built or run.
        ExportError: If trials of the workload, or of the runtime, have no export.
    """
    pipeline = pipeline_of(settings.workload)
    with StageRunner(settings, isolation, log, pipeline.stages) as run:
        pipeline.export(run, configuration, folder)
