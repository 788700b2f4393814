"""Memory that candidates need together: as measured, else estimated from their files."""

import json
from pathlib import Path

from tunefront.evaluators.benchmark.target import Target
from tunefront.evaluators.evaluation.settings import EvaluationSettings
from tunefront.evaluators.measures.memory import folder_mb
from tunefront.evaluators.store.store import Store
from tunefront.spaces import Configuration

from .keys import gpu_memory_key

FILES_FACTOR = 3.0
"""Estimated memory of a running candidate as a multiple of its files; a conservative guess."""
LIBRARIES_MB = 700.0
"""Memory in MB for a runtime's libraries and buffers, for each target."""
_FILE = "memory.json"


def needed_mb(target: Target) -> float:
    """Return an estimate of a target's memory in MB, of which only its files are known."""
    return target.replicas * FILES_FACTOR * folder_mb(target.candidate) + LIBRARIES_MB


def gpu_needed_mb(
    own: Target, reference: Target, own_mb: float | None, reference_mb: float | None
) -> float:
    """Return the memory in MB that two targets need together on each GPU.

    Args:
        own: A target that can be new.
        reference: The target that runs at the same time.
        own_mb: Measured memory of all GPUs of `own`; None if it was not measured.
        reference_mb: The same of `reference`. What it has beyond its files is then taken to be the
            same for each item of a request of `own`, if that is more than the estimate by files.
    """
    if own_mb is None:
        own_mb = needed_mb(own)
        if reference_mb is not None:
            beyond = max(0.0, reference_mb - reference.replicas * folder_mb(reference.candidate))
            each = beyond / _items(reference)
            own_mb = max(own_mb, own.replicas * folder_mb(own.candidate) + each * _items(own))
    if reference_mb is None:
        reference_mb = needed_mb(reference)
    return own_mb / own.resources.gpus + reference_mb / reference.resources.gpus


def _items(target: Target) -> int:
    """Return the items that all replicas of a target hold at the same time."""
    return target.replicas * target.configuration.integer("batch_size")


def keep_gpu_memory(
    store: Store, settings: EvaluationSettings, configuration: Configuration, measured_mb: float
) -> None:
    """Keep the measured memory of a configuration on GPUs; the first value stays."""

    def write(folder: Path) -> None:
        (folder / _FILE).write_text(json.dumps(measured_mb))

    store.get_or_make(gpu_memory_key(settings, configuration), write)


def kept_gpu_memory(
    store: Store, settings: EvaluationSettings, configuration: Configuration
) -> float | None:
    """Return the memory that `keep_gpu_memory` kept for a configuration; None if there is none."""
    path = store.find(gpu_memory_key(settings, configuration))
    return None if path is None else float(json.loads((path / _FILE).read_text()))
