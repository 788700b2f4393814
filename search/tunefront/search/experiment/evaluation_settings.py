"""Evaluation settings and identity of an experiment.

The settings are shared by all evaluations of a search. The identity is everything besides the
configuration that measurements depend on.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

from tunefront.evaluators import EvaluationSettings, WorkloadDescription, stages_folder
from tunefront.evaluators.evaluation.protocol import Protocol
from tunefront.evaluators.isolation.codec import to_plain
from tunefront.evaluators.pipelines.keys import trace_content
from tunefront.spaces import detect_hardware
from tunefront.spaces.catalog.execution import BATCH_SIZE

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
    "load",
    "slo",
)
"""Workload keys, other than model and data, that measurements depend on."""


TRIAL_MEMORY_SHARE = 0.9
"""Share of the machine's memory available to all concurrent trials together."""


LEAST_PART_ITEMS = 8
"""Fewest items of a part of the timed sample."""
PERCENTILE_PARTS = 16
"""Fewest parts of the sample if a percentile is an objective or a limit.

Candidates with small batches have enough requests after some of them.
"""


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
        protocol=_protocol(experiment),
        timeouts=experiment.timeouts,
        build_cores=max(1, hardware.leasable_cores // experiment.concurrent_trials),
        memory_mb=int(TRIAL_MEMORY_SHARE * hardware.memory_mb / experiment.concurrent_trials),
        baseline=experiment.space.catalog.complete(experiment.baseline),
        quality_limit=_quality_limit(experiment),
        quality_matters=bool(_deciding_quality(experiment)),
    )


def _protocol(experiment: Experiment) -> Protocol:
    """Return the protocol with the sample that all batch sizes of the space are timed with.

    It has `requests` requests of the largest batch size, all in every turn. If a percentile is an
    objective or a limit it has as many as that takes, in parts, of which a turn runs one.
    """
    protocol = experiment.protocol
    decisive = [o.metric for o in experiment.objectives] + [o.metric for o in experiment.limits]
    percentiles: dict[str, float] = {}
    for metric in (experiment.metrics[name] for name in decisive):
        if metric.percentile:
            percentiles[metric.level] = max(metric.percentile, percentiles.get(metric.level, 0.0))
    wanted = replace(protocol, percentiles=percentiles)
    needed = max(map(wanted.requests_needed, percentiles), default=0)
    parts, each = 1, protocol.requests
    if needed:
        parts = PERCENTILE_PARTS
        each = math.ceil(max(needed, protocol.requests) / parts)
    return replace(wanted, requests=parts, part_items=each * _common_batch(experiment))


def _common_batch(experiment: Experiment) -> int:
    """Return a number of items that every batch size divides, if it is not much larger than they.

    Otherwise the largest batch size; the others are then timed with almost the same items.
    """
    choices = (one for one in experiment.space.choices if one.name == BATCH_SIZE.name)
    sizes = {int(value) for choice in choices for value in choice.values if isinstance(value, int)}
    baseline = experiment.space.catalog.complete(experiment.baseline)
    sizes.add(baseline.integer(BATCH_SIZE.name))
    common, largest = math.lcm(*sizes), max(*sizes, LEAST_PART_ITEMS)
    return math.ceil(largest / common) * common if common <= 4 * largest else largest


def _quality_limit(experiment: Experiment) -> float | None:
    """Return the limit of the quality drop in percent, which can end quality evaluation early.

    None if there is none, and if quality evaluation cannot end early.
    """
    if not quality_can_end_early(experiment):
        return None
    bounds = (one.bound for one in experiment.limits if one.metric == QUALITY_DROP.name)
    return next(bounds, None)


def quality_can_end_early(experiment: Experiment) -> bool:
    """Return whether a part of the items can be enough.

    Not if early stopping is off, or if another metric than the primary one decides: the others are
    not known of a candidate that was evaluated on a part of the items.
    """
    others = _deciding_quality(experiment) - {experiment.primary.name, QUALITY_DROP.name}
    return experiment.early_stop and not others


def _deciding_quality(experiment: Experiment) -> set[str]:
    """Return the metrics of quality that decide, besides the limit of the quality drop."""
    objectives = {one.metric for one in experiment.objectives}
    limits = {one.metric for one in experiment.limits} - {QUALITY_DROP.name}
    preferred = set() if experiment.prefer is None else {experiment.prefer}
    named = objectives | limits | preferred
    return {name for name in named if experiment.metrics[name].kind == "quality"}


def _given(value: object) -> object:
    """Return a value of the workload without its keys that are not given."""
    if not isinstance(value, Mapping):
        return value
    return {name: one for name, one in value.items() if one is not None}


def identity(experiment: Experiment, described: WorkloadDescription) -> dict[str, object]:
    """Return a text for each thing besides the configuration that measurements depend on.

    Args:
        experiment: The experiment.
        described: Description of the workload.
    """
    hardware = detect_hardware()
    spec = to_plain(experiment.workload)
    settings = {name: _given(spec[name]) for name in QUALITY_KEYS if spec[name] not in (None, {})}
    return {
        "model and data": described.fingerprint,
        "workload": ", ".join(f"{name} {value}" for name, value in settings.items()),
        **({"trace": trace} if (trace := trace_content(experiment.workload)) else {}),
        "machine": f"{hardware.summary(count_gpus=False)} [{hardware.fingerprint}]",
        "libraries": ", ".join(f"{n} {v}" for n, v in sorted(hardware.libraries.items())),
        "environment variables": ", ".join(f"{n}={v}" for n, v in hardware.variables.items()),
    }
