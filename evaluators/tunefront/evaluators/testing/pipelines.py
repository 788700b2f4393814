"""The conformance suites of pipelines and of measures."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tunefront.evaluators.isolation.process import Isolation
from tunefront.evaluators.measures.base import Measure
from tunefront.evaluators.pipelines.base import Pipeline
from tunefront.evaluators.statistics.timing import Block, Timing
from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import Extension, Hardware

from .cases import NotConformant


@dataclass(frozen=True)
class PipelineCase:
    """A pipeline of a task, with the workload and the task's extension."""

    pipeline: Pipeline
    spec: WorkloadSpec
    extension: Extension


def its_stages_have_names(case: PipelineCase) -> None:
    """It has at least one stage, and no name twice.

    Raises:
        NotConformant: If not.
    """
    stages = case.pipeline.stages
    if not stages or len(set(stages)) < len(stages) or not all(stages):
        raise NotConformant(f"stages must be different names, but are {stages}")


def it_declares_its_quality(case: PipelineCase) -> None:
    """Its extension declares metrics, one of them of the kind `quality`.

    Raises:
        NotConformant: If not.
    """
    if not any(metric.kind == "quality" for metric in case.extension.metrics):
        raise NotConformant(
            f"metrics of extension {case.extension.name} must hold one of the kind 'quality'"
        )


def it_needs_resources(case: PipelineCase) -> None:
    """The defaults need at least one process with one thread.

    Raises:
        NotConformant: If not.
    """
    from tunefront.evaluators.pipelines.workload import catalog_for

    found = case.pipeline.resources(catalog_for(case.spec).complete({}))
    if found.processes < 1 or found.threads < 1:
        raise NotConformant(f"resources() must be at least a process and a thread, but is {found}")


def its_fingerprint_is_stable(case: PipelineCase) -> None:
    """Describing the workload twice gives the same fingerprint.

    Raises:
        NotConformant: If it differs or is empty.
    """
    from tunefront.evaluators.pipelines.workload import catalog_for

    configuration = catalog_for(case.spec).complete({})
    isolation = Isolation()
    try:
        with tempfile.TemporaryDirectory(prefix="tunefront-") as folder:
            log = Path(folder, "log")
            first, second = (
                case.pipeline.describe(case.spec, configuration, isolation, log).fingerprint
                for _ in range(2)
            )
    finally:
        isolation.close()
    if not first or first != second:
        raise NotConformant(f"describe() must return one fingerprint, but gave {first}, {second}")


PIPELINE_CHECKS: tuple[Callable[[PipelineCase], None], ...] = (
    its_stages_have_names,
    it_declares_its_quality,
    it_needs_resources,
    its_fingerprint_is_stable,
)


@dataclass(frozen=True)
class MeasureCase:
    """A measure with its extension and the machine."""

    measure: Measure
    extension: Extension
    hardware: Hardware


def its_extension_declares_its_metrics(case: MeasureCase) -> None:
    """The extension's metrics are those of the measure.

    Raises:
        NotConformant: If they differ.
    """
    declared, own = ([m.name for m in one.metrics] for one in (case.extension, case.measure))
    if sorted(declared) != sorted(own):
        raise NotConformant(
            f"metrics of extension {case.extension.name} must be those of its measure, {own}, but "
            f"are {declared}"
        )


def it_measures_only_its_metrics(case: MeasureCase) -> None:
    """A reading of this process reports declared metrics, in their units.

    Raises:
        NotConformant: If it reports others.
    """
    if case.measure.obstacle(case.hardware, None) is not None:
        return
    reading = case.measure.start([os.getpid()], [])
    reading.before_block()
    block = Block(request_s=np.full((1, 1), 0.01), cpu_s=0.01, wait_s=0.0)
    reading.after_block([block])
    known = {metric.name: metric.unit for metric in case.measure.metrics}
    for name, found in reading.measurements(Timing(blocks=[[block]], items=1)).items():
        if known.get(name) != found.unit:
            raise NotConformant(f"measurements() reports {name} in {found.unit!r}, not declared so")


MEASURE_CHECKS: tuple[Callable[[MeasureCase], None], ...] = (
    its_extension_declares_its_metrics,
    it_measures_only_its_metrics,
)
