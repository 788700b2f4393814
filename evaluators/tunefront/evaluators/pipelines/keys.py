"""The keys of what an evaluation leaves in the store."""

from collections.abc import Mapping

from tunefront.evaluators.evaluation.settings import EvaluationSettings
from tunefront.evaluators.isolation.codec import to_plain
from tunefront.evaluators.store.store import environment_of, key_of
from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import (
    STAGE_OF,
    Configuration,
    Stage,
    Value,
    check_complete,
    detect_hardware,
)


def candidate_key(setting: EvaluationSettings, configuration: Configuration) -> str:
    """Return the store key of the built candidate."""
    return _stage_key(setting, configuration, "runtime")


def model_key(setting: EvaluationSettings, configuration: Configuration) -> str:
    """Return the store key of the model stage's product."""
    return _stage_key(setting, configuration, "model")


def _stage_key(setting: EvaluationSettings, configuration: Configuration, stage: Stage) -> str:
    check_complete(configuration)
    return key_of(
        kind=stage,
        workload=setting.fingerprint,
        spec=content_of(setting.workload),
        choices=_plain(configuration.up_to(stage, STAGE_OF)),
        environment=environment_of(detect_hardware()),
    )


def content_of(spec: WorkloadSpec) -> dict[str, object]:
    """Return the spec without its folder; the fingerprint covers the content of the files."""
    return {**to_plain(spec), "folder": ""}


def _plain(choices: Mapping[str, Value]) -> dict[str, Value]:
    return {
        name: value if isinstance(value, str | bool) else float(value)
        for name, value in choices.items()
    }
