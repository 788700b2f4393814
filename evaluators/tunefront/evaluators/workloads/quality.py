"""The quality of a candidate: values and files."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tunefront.evaluators.isolation.codec import from_plain, to_plain
from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.statistics.measurement import Measurement
from tunefront.spaces import EvaluationError, WorkloadError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """The measured quality of a candidate.

    Attributes:
        metrics: The workload's metrics by name, each with its interval.
        items: Each item's value of the primary metric, shape `(items,)`, for paired comparisons.
            The weighted mean is the metric, or its logarithm where the metric's scale is `log`.
        weights: Weight of each item, shape `(items,)`; 0 if the item was not evaluated.
        predictions: Outputs of the reference that other candidates are compared with.
    """

    metrics: Mapping[str, Measurement]
    items: Array
    weights: Array
    predictions: Mapping[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse more items than a record of each trial can hold, and values that overflowed.

        Raises:
            WorkloadError: If there are more than `MOST_KEPT_ITEMS`.
            EvaluationError: If a metric is not finite (cause "invalid output").
        """
        for name, metric in self.metrics.items():
            if not math.isfinite(metric.value):
                raise EvaluationError(
                    f"{name} is {metric.value}: the values of its items are not finite, or too "
                    "large for a mean",
                    cause="invalid output",
                )
        if self.items.size > MOST_KEPT_ITEMS:
            raise WorkloadError(
                f"quality has {self.items.size:,} items, and at most {MOST_KEPT_ITEMS:,} are kept "
                "for comparisons; set workload.items, or return the means of groups of items"
            )


MOST_KEPT_ITEMS = 100_000
"""Items that are kept with each trial: some 2 MB of its record."""


METRICS_FILE = "quality.json"


ITEMS_FILE = "items.npy"


PREDICTIONS_FILE = "predictions.npz"


def write_quality(quality: Quality, folder: Path) -> None:
    """Write metrics, items and predictions to a folder."""
    metrics = {name: to_plain(m) for name, m in quality.metrics.items()}
    (folder / METRICS_FILE).write_text(json.dumps(metrics, indent=2) + "\n")
    items = np.stack([quality.items, quality.weights]).astype(np.float64)
    np.save(folder / ITEMS_FILE, items, allow_pickle=False)
    if quality.predictions:
        np.savez(folder / PREDICTIONS_FILE, allow_pickle=False, **dict(quality.predictions))


def read_metrics(folder: Path) -> dict[str, Measurement]:
    """Read the metrics that `write_quality` wrote."""
    fields = json.loads((folder / METRICS_FILE).read_text())
    return {name: from_plain(Measurement, values) for name, values in fields.items()}


def read_items(folder: Path) -> Array:
    """Read the items and weights that `write_quality` wrote, shape `(2, items)`."""
    items: Array = np.load(folder / ITEMS_FILE, allow_pickle=False)
    return items


def read_predictions(folder: Path) -> Mapping[str, Array]:
    """Read the predictions that `write_quality` wrote; empty if there are none."""
    path = folder / PREDICTIONS_FILE
    if not path.exists():
        return {}
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def finite(outputs: Array, name: str) -> Array:
    """Return the outputs unchanged.

    Raises:
        EvaluationError: If any value is NaN or infinite (cause "invalid output").
    """
    if not np.isfinite(outputs).all():
        raise EvaluationError(f"{name} holds NaN or infinite values", cause="invalid output")
    return outputs
