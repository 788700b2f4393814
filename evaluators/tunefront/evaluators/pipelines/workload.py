"""The workload and the catalogue of a workload's description."""

from collections.abc import Callable, Mapping
from typing import Any, cast

from tunefront.evaluators.extensions import catalog_of
from tunefront.evaluators.interfaces.load import level_names
from tunefront.evaluators.workloads.base import Workload
from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import Catalog, Configuration, Metric, WorkloadError


def catalog_for(spec: WorkloadSpec) -> Catalog:
    """Return the catalogue of an experiment: built-in, its extensions', its own choices."""
    return catalog_of(spec.extensions, spec.declared)


AnyWorkload = Workload[Any, Any]


def build_workload(spec: WorkloadSpec, configuration: Configuration | None = None) -> AnyWorkload:
    """Return the workload of a description; nothing is loaded yet.

    Args:
        spec: The description.
        configuration: The configuration that is evaluated, for workloads that depend on it.

    Raises:
        SpaceError: If no extension provides its task; the message suggests the nearest.
    """
    build = catalog_for(spec).provided("workload", spec.task)
    workload = cast(Callable[[WorkloadSpec], AnyWorkload], build)(spec)
    if configuration is not None:
        workload.configure(configuration)
    return workload


def has_pipeline(spec: WorkloadSpec) -> bool:
    """Return whether the workload's task has its own pipeline."""
    return spec.task in catalog_for(spec).names("pipeline")


def load_levels(spec: WorkloadSpec) -> tuple[str, ...]:
    """Return the names of the workload's load levels; an empty one if there is only one level."""
    if has_pipeline(spec) or (spec.load is not None and spec.load.trace):
        return ("",)
    return level_names(build_workload(spec).loads())


def declared_values(spec: WorkloadSpec, configuration: Configuration) -> Configuration:
    """Return the values of the choices that the experiment declares."""
    return Configuration({name: configuration[name] for name in sorted(spec.declared)})


def quality_metrics(spec: WorkloadSpec) -> Mapping[str, Metric]:
    """Return the quality metrics of the workload by name, the primary metric first.

    Raises:
        WorkloadError: If the task has its own pipeline without a metric of quality.
    """
    if has_pipeline(spec):
        own = catalog_for(spec).extension(spec.task).metrics
        found = {metric.name: metric for metric in own if metric.kind == "quality"}
        if not found:
            raise WorkloadError(
                f"task {spec.task}: one of the metrics of its extension must have the kind "
                "'quality', so that trials can be compared with the baseline"
            )
        return found
    return {metric.name: metric for metric in build_workload(spec).metrics}
