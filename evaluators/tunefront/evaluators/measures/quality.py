"""Quality on disk, as JSON and plain arrays; and two candidates compared on the same items."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tunefront.evaluators.workloads.base import Array, Quality

from .measurement import Measurement
from .metrics import Scale

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


def paired_change(own: Array, base: Array, scale: Scale) -> tuple[float, float, float]:
    """The relative change of a metric between two candidates judged on the same items.

    Args:
        own: Items and weights, shape `(2, items)`.
        base: The same of what it is compared with; the weights are taken from here.
        scale: `linear` where the metric is the weighted mean of the items, `log` where it is its
            exponential.

    Returns:
        Change and the ends of its 95 % interval, as shares of the base's metric. The error is that
        of a ratio of sums (Cochran, Sampling Techniques, 6.3) of the items' differences.
    """
    weights = base[1]
    difference = own[0] - base[0]
    mean = float((weights * difference).sum() / weights.sum())
    count = len(weights)
    residuals = weights * (difference - mean)
    error = float(np.sqrt((residuals**2).sum() / max(count - 1, 1) / count) / weights.mean())
    ends = (mean, mean - 1.96 * error, mean + 1.96 * error)
    if scale == "log":
        middle, low, high = (float(np.expm1(end)) for end in ends)
        return middle, low, high
    level = abs(float((weights * base[0]).sum() / weights.sum()))
    middle, low, high = (end / max(level, 1e-12) for end in ends)
    return middle, low, high
