"""Evaluation settings and identity of an experiment.

The settings are shared by all evaluations of a search. The identity is everything besides the
configuration that measurements depend on.
"""

from tunefront.evaluators import EvaluationSettings, WorkloadDescription, stages_folder
from tunefront.evaluators.isolation.codec import to_plain
from tunefront.spaces import detect_hardware

from .experiment import Experiment
from .metrics import QUALITY_DROP

QUALITY_KEYS = (
    "task",
    "columns",
    "max_length",
    "items",
    "metric",
    "direction",
    "inputs",
    "quality",
    "output",
)
"""Workload keys, other than model and data, that measurements depend on."""


TRIAL_MEMORY_SHARE = 0.9
"""Share of the machine's memory available to all concurrent trials together."""


def settings_of(experiment: Experiment, fingerprint: str) -> EvaluationSettings:
    """Return the settings shared by all evaluations of the search.

    Args:
        experiment: The experiment.
        fingerprint: Fingerprint of model and data.
    """
    hardware = detect_hardware()
    return EvaluationSettings(
        workload=experiment.workload,
        fingerprint=fingerprint,
        store=str(stages_folder()),
        protocol=experiment.protocol,
        timeouts=experiment.timeouts,
        build_cores=max(1, hardware.cores // experiment.concurrent_trials),
        memory_mb=int(TRIAL_MEMORY_SHARE * hardware.memory_mb / experiment.concurrent_trials),
        baseline=experiment.space.catalog.complete(experiment.baseline),
        quality_limit=_quality_limit(experiment),
        quality_matters=any(o.kind == "quality" for o in experiment.objectives),
    )


def _quality_limit(experiment: Experiment) -> float | None:
    """Return the limit of the quality drop in percent.

    None if there is none, or early stopping is off.
    """
    bounds = (one.bound for one in experiment.limits if one.metric == QUALITY_DROP.name)
    return next(bounds, None) if experiment.early_stop else None


def identity(experiment: Experiment, described: WorkloadDescription) -> dict[str, object]:
    """Return a text for each thing besides the configuration that measurements depend on.

    Args:
        experiment: The experiment.
        described: Description of the workload.
    """
    hardware = detect_hardware()
    spec = to_plain(experiment.workload)
    settings = {name: spec[name] for name in QUALITY_KEYS if spec[name] not in (None, {})}
    return {
        "model and data": described.fingerprint,
        "workload": ", ".join(f"{name} {value}" for name, value in settings.items()),
        "machine": f"{hardware.summary()} [{hardware.fingerprint}]",
        "libraries": ", ".join(f"{n} {v}" for n, v in sorted(hardware.libraries.items())),
        "environment variables": ", ".join(f"{n}={v}" for n, v in hardware.variables.items()),
    }
