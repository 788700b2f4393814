"""Recheck of an export's quality, evaluated as for a trial, if its experiment is available."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tunefront.evaluators import (
    Isolation,
    Measurement,
    WorkloadSpec,
    describe_workload,
    quality_metrics,
)
from tunefront.evaluators.exports.folder import manifest_digest
from tunefront.evaluators.isolation.codec import from_plain
from tunefront.evaluators.isolation.cores import Lessee
from tunefront.evaluators.pipelines.inference import measure_quality_again
from tunefront.evaluators.statistics.arrays import Array
from tunefront.search.experiment.evaluation_settings import settings_of
from tunefront.search.experiment.experiment import Experiment
from tunefront.search.experiment.resolver import load_experiment
from tunefront.search.study.trial import Trial
from tunefront.search.text import OnMessage, wait_messages
from tunefront.spaces import EvaluationError, TunefrontError, WorkloadError

from .drift import Finding, paired_finding, quality_finding
from .export_record import known_export

RECORDED_ITEMS = "quality_items.npy"
"""File of an export with the values of the primary metric by item, and their weights."""


def reevaluate_quality(
    folder: Path, manifest: Mapping[str, Any], named: Path | None, on_message: OnMessage
) -> list[Finding]:
    """Evaluate the export's quality again and compare it with the recorded values.

    Args:
        folder: The export.
        manifest: Its manifest.
        named: The experiment file. If None, the one that this machine's record has for this export:
            the manifest can name any file, and an experiment is code.
        on_message: Called with one line before the evaluation.

    Returns:
        A finding for every recorded quality metric; if quality can't be evaluated, a single
        `not compared` finding with the reason.

    Raises:
        ExperimentError: If `named` is given and can't be used.
    """
    try:
        experiment = _experiment(folder, manifest, named)
    except TunefrontError as error:
        if named is not None:
            raise
        return [_not_compared(f"{error}")]
    if isinstance(experiment, str):
        return [_not_compared(experiment)]
    recorded = {
        name: from_plain(Measurement, manifest["measurements"][name])
        for name in quality_metrics(experiment.workload)
        if name in manifest["measurements"]
    }
    if not recorded:
        name = experiment.primary.name
        detail = f"{experiment.path} evaluates {name}, which the export does not record"
        return [_not_compared(detail)]
    on_message(f"evaluating quality: {experiment.path}")
    try:
        content, now = _evaluate_quality(folder, manifest, experiment, on_message)
    except (EvaluationError, WorkloadError) as error:
        return [_not_compared(str(error))]
    if manifest.get("judged_on", content) != content:
        why = "model or data differ from those of the recorded quality"
        return [
            Finding(
                metric=name, recorded=before, now=now[0][name], verdict="not compared", detail=why
            )
            for name, before in recorded.items()
            if name in now[0]
        ]
    return quality_findings(experiment.workload, recorded, recorded_items(folder), now)


def quality_findings(
    workload: WorkloadSpec,
    recorded: Mapping[str, Measurement],
    items: Array | None,
    now: tuple[Mapping[str, Measurement], Array],
) -> list[Finding]:
    """Compare the recorded quality metrics with the current ones, on the same model and data.

    Args:
        workload: The workload.
        recorded: The recorded measurements by metric.
        items: Recorded values and weights of the items, shape `(2, items)`; None if not recorded.
        now: The current measurements by metric, and the current items.
    """
    metrics = quality_metrics(workload)
    primary = next(iter(metrics))
    measurements, current = now
    found: list[Finding] = []
    for name, before in recorded.items():
        if name not in measurements:
            continue
        if name == primary and items is not None and items.shape == current.shape:
            found.append(paired_finding(metrics[name], before, measurements[name], items, current))
        else:
            direction = metrics[name].direction
            found.append(quality_finding(name, before, measurements[name], direction))
    return found


def record_items(trial: Trial, folder: Path) -> None:
    """Write the items of a trial to an export; nothing if it has fewer than two."""
    items = () if trial.evaluation is None else trial.evaluation.items
    if items and len(items[0]) > 1:
        np.save(folder / RECORDED_ITEMS, np.array(items), allow_pickle=False)


def recorded_items(folder: Path) -> Array | None:
    """Read the items of an export, shape `(2, items)`; None if it has none."""
    path = folder / RECORDED_ITEMS
    return np.load(path, allow_pickle=False) if path.is_file() else None


def _experiment(folder: Path, manifest: Mapping[str, Any], named: Path | None) -> Experiment | str:
    """Load the experiment, or return the reason why there is none."""
    if named is not None:
        return load_experiment(named)
    known = known_export(manifest_digest(folder))
    if known is None:
        written = manifest.get("experiment_file") or "no experiment"
        return (
            f"this machine has no record of this export, and the manifest alone, which names "
            f"{written}, decides no code to run; name the experiment's file with --experiment"
        )
    if not known.experiment.is_file():
        return f"{known.experiment} is not here; name the experiment's file with --experiment"
    return load_experiment(known.experiment, known.overrides, smoke=known.smoke)


def _evaluate_quality(
    folder: Path, manifest: Mapping[str, Any], experiment: Experiment, on_message: OnMessage
) -> tuple[str, tuple[Mapping[str, Measurement], Array]]:
    """Evaluate quality; return the fingerprint of model and data, the measurements and items."""
    lessee = Lessee.this_process(f"recheck of {folder.name}")
    isolation = Isolation(lessee, wait_messages(on_message))
    with tempfile.TemporaryDirectory(prefix="tunefront-") as name:
        log, quality = Path(name, "log"), Path(name, "quality")
        quality.mkdir()
        try:
            described = describe_workload(experiment.workload, isolation, log, experiment.baseline)
            content = described.fingerprint
            settings = settings_of(experiment, content)
            configuration = experiment.space.catalog.complete(manifest["configuration"])
            return content, measure_quality_again(
                settings, configuration, folder, isolation, log, quality
            )
        finally:
            isolation.close()


def _not_compared(why: str) -> Finding:
    return Finding(metric="quality", verdict="not compared", detail=why)
