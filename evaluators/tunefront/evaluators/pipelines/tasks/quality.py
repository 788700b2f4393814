"""The task that evaluates a candidate's quality."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tunefront.evaluators.exports.open import open_candidate
from tunefront.evaluators.interfaces.tensors import TensorEndpoint
from tunefront.evaluators.pipelines.workload import AnyWorkload, build_workload
from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.statistics.paired_quality import QualityLimit, moved
from tunefront.evaluators.workloads.base import EnoughItems
from tunefront.evaluators.workloads.outputs import write_samples
from tunefront.evaluators.workloads.quality import (
    Quality,
    read_items,
    read_metrics,
    read_predictions,
    write_quality,
)
from tunefront.evaluators.workloads.sequential import LOOKS
from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import Configuration
from tunefront.spaces.catalog.execution import CUDA_GRAPHS
from tunefront.spaces.metric import Metric

from .size_check import check_outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityStopping:
    """When to stop a quality evaluation early.

    Attributes:
        limit: Largest allowed drop in percent of the baseline's quality; None to stop after the
            first portion of the items.
        keeping_counts: Whether to stop also once the limit is certainly kept.
        baseline: Folder of the baseline's quality.
    """

    limit: float | None
    keeping_counts: bool
    baseline: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityRequest:
    """A quality evaluation.

    Attributes:
        workload: The workload.
        configuration: The complete configuration of the candidate.
        candidate: Folder of the candidate.
        reference: Folder of the reference's quality.
        threads: Threads of the process.
        outputs: Folder of the module's outputs at several sizes.
        folder: Folder to write the quality to.
        stopping: When to stop early; None evaluates all items.
    """

    workload: WorkloadSpec
    configuration: Configuration
    candidate: Path
    reference: Path
    threads: int
    outputs: Path
    folder: Path
    stopping: QualityStopping | None = None


def write_candidate_quality(request: QualityRequest) -> None:
    """Write the candidate's quality and example outputs."""
    workload = build_workload(request.workload, request.configuration)
    # Items have many sizes, and a graph for each would only take time.
    changed = {"threads": request.threads, CUDA_GRAPHS.name: False}
    configuration = Configuration({**request.configuration, **changed})
    endpoint = open_candidate(request.candidate, configuration)
    stopping = request.stopping
    try:
        if isinstance(endpoint, TensorEndpoint) and request.outputs.is_dir():
            check_outputs(endpoint, request.outputs)
        predictions = read_predictions(request.reference)
        enough = None if stopping is None else _enough(workload, stopping)
        result = evaluated_quality(
            request.workload, workload, endpoint, predictions or None, enough
        )
        samples = workload.samples(endpoint, result)
    finally:
        endpoint.close()
    if stopping is not None:
        result = of_all_items(result, stopping.baseline, workload.primary)
    write_quality(result, request.folder)
    write_samples(samples, request.folder)


def evaluated_quality(
    spec: WorkloadSpec,
    workload: AnyWorkload,
    endpoint: Any,
    predictions: Mapping[str, Array] | None,
    enough: EnoughItems | None,
) -> Quality:
    """Return the quality, with the scores of the user's command if there is one.

    Args:
        spec: The workload as plain data.
        workload: The workload.
        endpoint: The candidate.
        predictions: Those of the reference, as in `Workload.quality`.
        enough: When to end early, as there.
    """
    found = workload.quality(endpoint, predictions, enough)
    if spec.quality_command is None:
        return found
    from .quality_command import with_command  # imports a web server

    return with_command(workload, endpoint, found)


def of_all_items(found: Quality, baseline: Path, primary: Metric) -> Quality:
    """Return the quality with values that can be compared with those over all items.

    If only a part of the items was evaluated, the primary metric is the baseline's, moved by the
    paired change, and the other metrics, whose items are not kept, are left out.

    Args:
        found: Quality over the evaluated items.
        baseline: Folder of the baseline's quality, over all items.
        primary: The primary metric.
    """
    base = read_items(baseline)
    if not ((found.weights == 0) & (base[1] > 0)).any():
        return found
    own = np.stack([found.items, found.weights])
    level = read_metrics(baseline)[primary.name]
    return replace(found, metrics={primary.name: moved(own, base, level, primary)})


def _enough(workload: AnyWorkload, stopping: QualityStopping) -> EnoughItems:
    if stopping.limit is None:
        return lambda items, weights: True
    limit = QualityLimit(
        base=read_items(stopping.baseline),
        scale=workload.primary.scale,
        direction=workload.primary.direction,
        bound=stopping.limit / 100,
        keeping_counts=stopping.keeping_counts,
        interim_tests=len(LOOKS),
    )
    return limit.decided
