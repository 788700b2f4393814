"""Quality on disk, as JSON and plain arrays; and two candidates compared on the same items."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.statistics.measurement import Measurement
from tunefront.evaluators.workloads.base import Quality

METRICS_FILE = "quality.json"
ITEMS_FILE = "items.npy"
PREDICTIONS_FILE = "predictions.npz"


def write_quality(quality: Quality, folder: Path) -> None:
    """Metrics, items and predictions into a folder."""
    metrics = {name: m.to_dict() for name, m in quality.metrics.items()}
    (folder / METRICS_FILE).write_text(json.dumps(metrics, indent=2) + "\n")
    items = np.stack([quality.items, quality.weights]).astype(np.float64)
    np.save(folder / ITEMS_FILE, items, allow_pickle=False)
    if quality.predictions:
        np.savez(folder / PREDICTIONS_FILE, allow_pickle=False, **dict(quality.predictions))


def read_metrics(folder: Path) -> dict[str, Measurement]:
    """The metrics that `write_quality` left."""
    fields = json.loads((folder / METRICS_FILE).read_text())
    return {name: Measurement.from_dict(values) for name, values in fields.items()}


def read_items(folder: Path) -> Array:
    """Items and weights that `write_quality` left, shape `(2, items)`."""
    items: Array = np.load(folder / ITEMS_FILE, allow_pickle=False)
    return items


def read_predictions(folder: Path) -> Mapping[str, Array]:
    """The predictions that `write_quality` left; empty where there were none."""
    path = folder / PREDICTIONS_FILE
    if not path.exists():
        return {}
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}
