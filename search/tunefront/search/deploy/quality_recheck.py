"""Recheck of an export's quality, evaluated as for a trial, if its experiment is available."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunefront.evaluators import Isolation, Measurement, describe_workload, quality_metrics
from tunefront.evaluators.isolation.codec import from_plain
from tunefront.evaluators.pipelines.inference import measure_quality_again
from tunefront.search.experiment.evaluation_settings import settings_of
from tunefront.search.experiment.experiment import Experiment
from tunefront.search.experiment.resolver import load_experiment
from tunefront.search.text import OnMessage
from tunefront.spaces import EvaluationError, TunefrontError, WorkloadError

from .drift import Finding, quality_finding


def reevaluate_quality(
    folder: Path, manifest: Mapping[str, Any], named: Path | None, on_message: OnMessage
) -> list[Finding]:
    """Evaluate the export's quality again and compare it with the recorded values.

    Args:
        folder: The export.
        manifest: Its manifest.
        named: The experiment file; the one named in the manifest if None.
        on_message: Called with one line before the evaluation.

    Returns:
        A finding for every recorded quality metric; if quality can't be evaluated, a single
        `not compared` finding with the reason.

    Raises:
        ExperimentError: If `named` is given and can't be used.
    """
    try:
        experiment = _experiment(manifest, named)
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
        content, now = _evaluate_quality(folder, manifest, experiment)
    except (EvaluationError, WorkloadError) as error:
        return [_not_compared(str(error))]
    return _findings(manifest, experiment, recorded, content, now)


def _findings(
    manifest: Mapping[str, Any],
    experiment: Experiment,
    recorded: Mapping[str, Measurement],
    content: str,
    now: Mapping[str, Measurement],
) -> list[Finding]:
    metrics = quality_metrics(experiment.workload)
    other = manifest.get("judged_on", content) != content
    return [
        Finding(
            metric=name,
            recorded=before,
            now=now[name],
            verdict="not compared",
            detail="model or data differ from those of the recorded quality",
        )
        if other
        else quality_finding(name, before, now[name], metrics[name].direction)
        for name, before in recorded.items()
        if name in now
    ]


def _experiment(manifest: Mapping[str, Any], named: Path | None) -> Experiment | str:
    """Load the experiment, or return the reason why there is none."""
    if named is not None:
        return load_experiment(named)
    written = manifest.get("experiment_file")
    if written is None:
        return "the manifest names no experiment; name its file with --experiment"
    if not Path(written).is_file():
        return f"{written} is not here; name the experiment's file with --experiment"
    overrides = tuple(manifest.get("experiment_overrides", ()))
    return load_experiment(written, overrides, smoke=bool(manifest.get("smoke")))


def _evaluate_quality(
    folder: Path, manifest: Mapping[str, Any], experiment: Experiment
) -> tuple[str, dict[str, Measurement]]:
    """Evaluate quality; return the fingerprint of model and data, and the measurements."""
    isolation = Isolation()
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
