"""The workload and the catalogue of a workload's description."""

from collections.abc import Callable, Mapping
from typing import cast

from tunefront.evaluators.extensions import catalog_of
from tunefront.evaluators.workloads.base import Workload
from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import Catalog, Metric


def catalog_for(spec: WorkloadSpec) -> Catalog:
    """Return the catalogue of an experiment: built-in, its extensions', its own choices."""
    return catalog_of(spec.extensions, spec.declared)


def build_workload(spec: WorkloadSpec) -> Workload:
    """Return the workload of a description; nothing is loaded yet.

    Raises:
        SpaceError: If no extension provides its task; the message suggests the nearest.
    """
    build = catalog_for(spec).provided("workload", spec.task)
    return cast(Callable[[WorkloadSpec], Workload], build)(spec)


def quality_metrics(spec: WorkloadSpec) -> Mapping[str, Metric]:
    """Return the quality metrics of the workload by name, the primary metric first."""
    return {metric.name: metric for metric in build_workload(spec).metrics}
