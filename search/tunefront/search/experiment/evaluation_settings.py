"""What all evaluations of an experiment share, and what its measurements depend on."""

from collections.abc import Mapping
from typing import Any

from tunefront.evaluators import (
    QUALITY_DROP,
    Setting,
    quality_metrics,
    stages_folder,
)
from tunefront.spaces import (
    detect_hardware,
)

from .experiment import Experiment

JUDGING = ("task", "max_length", "items", "metric", "direction", "inputs", "quality")
"""Of the workload, what figures depend on beside model and data."""


TRIAL_MEMORY_SHARE = 0.9
"""Of the machine's memory, for all trials at a time together."""


def setting_of(experiment: Experiment, fingerprint: str) -> Setting:
    """What all evaluations of the search share."""
    hardware = detect_hardware()
    return Setting(
        workload=experiment.workload,
        fingerprint=fingerprint,
        store=str(stages_folder()),
        protocol=experiment.protocol,
        timeouts=experiment.timeouts,
        build_cores=max(1, hardware.cores // experiment.concurrent_trials),
        memory_mb=int(TRIAL_MEMORY_SHARE * hardware.memory_mb / experiment.concurrent_trials),
        baseline=experiment.baseline,
        quality_limit=_quality_limit(experiment),
        quality_matters=any(
            o.metric in quality_metrics(experiment.workload) or o.metric == QUALITY_DROP.name
            for o in experiment.objectives
        ),
    )


def _quality_limit(experiment: Experiment) -> float | None:
    """The tightest bound on the loss of quality, in percent."""
    bounds = [
        limit.bound
        for limit in experiment.limits
        if limit.metric == QUALITY_DROP.name and limit.test == "<="
    ]
    return min(bounds) if bounds and experiment.early_stop else None


def identity(experiment: Experiment, described: Mapping[str, Any]) -> dict[str, object]:
    """What figures depend on beside the configuration, in words."""
    hardware = detect_hardware()
    spec = experiment.workload.to_dict()
    judging = {name: spec[name] for name in JUDGING if spec[name] is not None}
    return {
        "model and data": described["fingerprint"],
        "workload": ", ".join(f"{name} {value}" for name, value in judging.items()),
        "machine": f"{hardware.summary()} [{hardware.fingerprint}]",
        "libraries": ", ".join(f"{n} {v}" for n, v in sorted(hardware.libraries.items())),
    }
