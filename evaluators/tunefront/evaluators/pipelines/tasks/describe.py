"""The task that checks a workload's model and data."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tunefront.evaluators.pipelines.workload import AnyWorkload, build_workload
from tunefront.evaluators.statistics.quality_sample import QualitySample, quality_sample
from tunefront.evaluators.store.digest import digest_of
from tunefront.evaluators.store.store import fingerprint_of
from tunefront.evaluators.workloads.base import GenerationWorkload, TensorWorkload
from tunefront.evaluators.workloads.quality import Quality
from tunefront.evaluators.workloads.sources.files_read import files_read
from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import Configuration, GenerationMemory

from .model_stage import calibration_of, use_own_cores
from .workload_check import check_repeatable, check_runs, item_notes, module_digest


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeRequest:
    """The workload to describe, with a complete configuration."""

    workload: WorkloadSpec
    configuration: Configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadDescription:
    """Properties of a workload's model and data.

    Attributes:
        fingerprint: Hash of all that model, requests and quality depend on.
        parameters: Number of parameters of the module; 0 if unknown or without a torch module.
        module: Name of the module's class; empty if unknown.
        notes: Differences from the experiment file, such as a shorter maximum length.
        quality: The items of the unchanged model's quality; None if it was not evaluated.
        memory: What the memory of a model that generates text follows from; None if unknown.
    """

    fingerprint: str
    parameters: int = 0
    module: str = ""
    notes: tuple[str, ...] = ()
    quality: QualitySample | None = None
    memory: GenerationMemory | None = None


def describe(request: DescribeRequest) -> WorkloadDescription:
    """Check that model and data can be used; return the workload's fingerprint and size.

    The module runs a few requests and a part of the quality evaluation.
    """
    spec = request.workload
    use_own_cores()
    with files_read(Path(spec.folder)) as read:
        workload = build_workload(spec, request.configuration)
        module = workload.load_module() if isinstance(workload, TensorWorkload) else None
        requests = workload.requests(2, 1)
        quality: Quality | None = None
        if module is not None and isinstance(workload, TensorWorkload):
            quality = check_runs(workload, module, requests)
        if isinstance(workload, GenerationWorkload):
            workload.check_quality()
            _check_command(spec, workload)
        files = [*workload.files()]
        if spec.calibration is not None:
            files += calibration_of(spec, request.configuration).files()
            calibration_of(spec, request.configuration).requests(2, 1)
    parts = [fingerprint_of(tuple(files))]
    if not workload.files_are_complete:
        check_repeatable(workload, module, requests)
        parts += [*_digests_of(read, Path(spec.folder)), digest_of(requests)]
        parts += [] if module is None else [module_digest(module)]
    return WorkloadDescription(
        fingerprint=digest_of(parts),
        parameters=0 if module is None else sum(p.numel() for p in module.parameters()),
        module="" if module is None else type(module).__name__,
        notes=(*workload.notes(), *item_notes(workload, requests)),
        quality=None if quality is None else _sample(quality, workload),
        memory=workload.memory(),
    )


def _check_command(spec: WorkloadSpec, workload: AnyWorkload) -> None:
    """Run the user's command that evaluates quality, if there is one, on empty responses."""
    if spec.quality_command is not None:
        from .quality_command import check_command  # imports a web server

        check_command(workload)


def _sample(quality: Quality, workload: AnyWorkload) -> QualitySample | None:
    return quality_sample(np.stack([quality.items, quality.weights]), workload.primary.scale)


def _digests_of(paths: Iterable[Path], folder: Path) -> list[str]:
    """Return name and content hash of files, by their place below a folder."""
    root = folder.resolve()
    return [f"{path.relative_to(root)} {fingerprint_of((path,))}" for path in sorted(paths)]
