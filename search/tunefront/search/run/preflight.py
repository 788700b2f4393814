"""Preparation and checks before the first trial, and the evaluation settings of a search."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from tunefront.evaluators import (
    EvaluationSettings,
    Isolation,
    WorkloadDescription,
    describe_workload,
)
from tunefront.evaluators.isolation.gpus import set_gpu_aside, take_gpu_back
from tunefront.evaluators.pipelines.gpu_check import gpu_problems
from tunefront.evaluators.pipelines.tasks.model_stage import CALIBRATION_ITEMS
from tunefront.evaluators.store.store import make_once
from tunefront.search.experiment.evaluation_settings import settings_of
from tunefront.search.experiment.experiment import Experiment, Prepare
from tunefront.search.experiment.references import still_runnable
from tunefront.search.experiment.scarcity import check_level, scarcity_of
from tunefront.search.study.study import STUDY_FILE
from tunefront.search.text import command_text, counted
from tunefront.search.tracking.store import check_reachable
from tunefront.spaces import (
    Enumeration,
    ExperimentError,
    GenerationMemory,
    Gpu,
    MachineError,
    SpaceError,
    TrackingError,
    Value,
    WorkloadError,
)
from tunefront.spaces.catalog.runtime import DEVICE, GPU

from .events import (
    DataScarce,
    GpuLeftOut,
    OnEvent,
    PreparationStarted,
    TrackingUnreachable,
    WorkloadCheckStarted,
    WorkloadNoted,
)

LEFT_OUT_S = 24 * 3600.0
"""Seconds for which a GPU that can't be used at the start of a search is not leased.

The start of any search checks it again, and takes it back if it works.
"""


def check_tracking(experiment: Experiment, on_event: OnEvent, *, fresh: bool) -> None:
    """Check that MLflow can be reached; a resumed search continues without it and writes it later.

    Raises:
        TrackingError: If MLflow can't be reached and the search starts from the beginning.
    """
    try:
        check_reachable(experiment)
    except TrackingError as error:
        if fresh or not (experiment.results / STUDY_FILE).is_file():
            raise
        on_event(TrackingUnreachable(problem=str(error)))


def runnable_or_error(experiment: Experiment) -> Enumeration:
    """Return the enumeration of the space.

    Raises:
        SpaceError: If no configuration can run; the message lists up to 5 reasons.
    """
    enumeration = experiment.space.enumerate()
    if not enumeration.runnable:
        reasons = "; ".join(f"{d.reason} ({d.count})" for d in enumeration.dropped[:5])
        raise SpaceError(
            f"{experiment.path}: no configuration of the space can run here, of "
            f"{counted(enumeration.total, 'configuration')}: {reasons}; see "
            f"`{command_text('run', experiment.path, '--dry-run')}`"
        )
    return enumeration


def check_gpus(experiment: Experiment, on_event: OnEvent) -> Experiment:
    """Check the GPUs of this machine if trials of the experiment use them.

    A GPU that torch can't use is set aside and reported. Return the experiment with the others.

    Raises:
        MachineError: If torch can use none, or the baseline can't run with the others; the message
            states why and what to do.
    """
    visible = experiment.space.context.hardware.gpus
    names = tuple(gpu.uuid for gpu in visible if gpu.uuid)
    if not names or not _uses_gpus(experiment):
        return experiment
    isolation = Isolation()
    try:
        problems = gpu_problems(names, isolation, experiment.results / "logs" / "gpus.log")
    finally:
        isolation.close()
    left = tuple(gpu for gpu in visible if gpu.uuid not in problems)
    if not left:
        reasons = "; ".join(dict.fromkeys(problems.values()))
        raise MachineError(f"trials on GPUs can't run: {reasons}")
    for name in names:
        if name in problems:
            set_gpu_aside(name, problems[name], LEFT_OUT_S)
            on_event(GpuLeftOut(uuid=name, reason=problems[name]))
        else:
            take_gpu_back(name)
    return _with_gpus(experiment, left, problems) if problems else experiment


def _with_gpus(
    experiment: Experiment, gpus: tuple[Gpu, ...], problems: Mapping[str, str]
) -> Experiment:
    """Return the experiment for a machine with these GPUs only.

    Raises:
        MachineError: If the baseline can't run with them.
    """
    before = experiment.space.context.hardware
    texts = tuple(f"{uuid} is left out: {reason}" for uuid, reason in problems.items())
    hardware = replace(before, gpus=gpus, gpu_problems=(*before.gpu_problems, *texts))
    space = replace(experiment.space, context=replace(experiment.space.context, hardware=hardware))
    if reason := space.obstacle(experiment.baseline):
        raise MachineError(
            f"{experiment.path}: baseline: can't run here: {reason} "
            f"({experiment.baseline.label()}), since {'; '.join(texts)}; choose another baseline"
        )
    concurrent = min(experiment.concurrent_trials, len(gpus))
    return replace(
        experiment,
        space=space,
        references=tuple(still_runnable(one, space) for one in experiment.references),
        concurrent_trials=concurrent if _only_on_gpus(experiment) else experiment.concurrent_trials,
    )


def _uses_gpus(experiment: Experiment) -> bool:
    return GPU in _devices(experiment)


def _only_on_gpus(experiment: Experiment) -> bool:
    return _devices(experiment) == {GPU}


def _devices(experiment: Experiment) -> set[Value]:
    """Return the devices of the baseline and of the space."""
    space = experiment.space
    found = {value for one in space.choices if one.name == DEVICE.name for value in one.values}
    return found | {space.catalog.complete(experiment.baseline)[DEVICE.name]}


def prepare(step: Prepare | None, on_event: OnEvent) -> None:
    """Run the script that prepares model and data, unless its folder exists already.

    Raises:
        WorkloadError: If the script exits with an error.
    """
    if step is None:
        return

    def fill(folder: Path) -> None:
        on_event(PreparationStarted(script=step.script, folder=step.folder))
        done = subprocess.run(
            [sys.executable, str(step.script.absolute()), str(folder)],
            check=False,
            stdout=sys.stderr,
            env={**os.environ, "TQDM_DISABLE": "1"},  # no progress bars of libraries
        )
        if done.returncode != 0:
            raise WorkloadError(f"prepare: {step.script} ended with exit code {done.returncode}")

    make_once(step.folder, fill)


def check_for_plan(experiment: Experiment, on_event: OnEvent) -> Experiment:
    """Check model and data as a search does before its first trial, and report the outcome.

    What a script has yet to prepare is not checked. Return the experiment with what is known of
    the model's memory.

    Raises:
        WorkloadError, ExperimentError: As for `check_workload`.
    """
    step = experiment.prepare
    if step is not None and not step.folder.is_dir():
        note = f"{step.script} prepares model and data when the search starts; not checked yet"
        on_event(WorkloadNoted(note=note))
        return experiment
    _, described = check_workload(experiment, on_event)
    on_event(WorkloadNoted(note="model and data can be used"))
    return experiment if described.memory is None else with_memory(experiment, described.memory)


def with_memory(experiment: Experiment, memory: GenerationMemory) -> Experiment:
    """Return the experiment without the configurations that can't fit into memory.

    Raises:
        ExperimentError: If the baseline can't.
    """
    context = replace(experiment.space.context, memory=memory)
    space = replace(experiment.space, context=context)
    if reason := space.obstacle(experiment.baseline):
        raise ExperimentError(
            f"{experiment.path}: baseline: can't run here: {reason} "
            f"({experiment.baseline.label()}); choose another baseline, or a smaller load"
        )
    references = tuple(still_runnable(one, space) for one in experiment.references)
    return replace(experiment, space=space, references=references)


def check_workload(
    experiment: Experiment, on_event: OnEvent
) -> tuple[EvaluationSettings, WorkloadDescription]:
    """Load model and data once in a separate process; return evaluation settings and description.

    Raises:
        WorkloadError: If model or data can't be used.
        ExperimentError: If the quality of the unchanged model is too near to 0 for a limit in
            percent.
    """
    on_event(WorkloadCheckStarted())
    isolation = Isolation()
    try:
        log = experiment.results / "logs" / "workload.log"
        described = describe_workload(experiment.workload, isolation, log, experiment.baseline)
    finally:
        isolation.close()
    check_level(experiment, described.quality)
    for note in (*described.notes, *_calibration_notes(experiment)):
        on_event(WorkloadNoted(note=note))
    if (scarcity := scarcity_of(experiment.limits, described.quality)) is not None:
        on_event(DataScarce(scarcity=scarcity))
    return settings_of(experiment, described.fingerprint), described


def _calibration_notes(experiment: Experiment) -> list[str]:
    """Return a note if candidates learn from the items that quality is evaluated on."""
    workload = experiment.workload
    if workload.calibration is not None or not experiment.space.calibrated():
        return []
    if workload.data is None:
        return [
            f"pruning and static quantization learn from the first {CALIBRATION_ITEMS} items of "
            f"{workload.inputs}; quality should be evaluated on others"
        ]
    return [
        f"pruning and static quantization learn from the first {CALIBRATION_ITEMS} rows of the "
        "data, on which quality is evaluated, too; name a file with other rows in "
        "workload.calibration"
    ]
