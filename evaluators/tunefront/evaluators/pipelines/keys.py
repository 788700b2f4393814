"""The keys of what an evaluation leaves in the store."""

from collections.abc import Mapping

from tunefront.evaluators.evaluation.settings import EvaluationSettings
from tunefront.evaluators.extensions import content_of_extensions
from tunefront.evaluators.isolation.codec import to_plain
from tunefront.evaluators.store.store import environment_of, key_of
from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import Configuration, Value, detect_hardware

from .workload import catalog_for


def candidate_key(settings: EvaluationSettings, configuration: Configuration) -> str:
    """Return the store key of the built candidate."""
    catalog = catalog_for(settings.workload)
    return _key("runtime", settings, configuration, catalog.up_to(configuration, "runtime"))


def model_key(settings: EvaluationSettings, configuration: Configuration) -> str:
    """Return the store key of the model stage's product."""
    catalog = catalog_for(settings.workload)
    return _key("model", settings, configuration, catalog.up_to(configuration, "model"))


def quality_key(settings: EvaluationSettings, configuration: Configuration) -> str:
    """Return the store key of the candidate's quality.

    It covers every choice that changes outputs, those of the execution stage included.
    """
    catalog = catalog_for(settings.workload)
    return _key("quality", settings, configuration, catalog.outputs_of(configuration))


def gpu_memory_key(settings: EvaluationSettings, configuration: Configuration) -> str:
    """Return the store key of a configuration's measured memory on GPUs."""
    return _key("gpu memory", settings, configuration, configuration)


def _key(
    kind: str,
    settings: EvaluationSettings,
    configuration: Configuration,
    choices: Mapping[str, Value],
) -> str:
    catalog_for(settings.workload).check_complete(configuration)
    return key_of(
        kind=kind,
        workload=settings.fingerprint,
        spec=content_of(settings.workload),
        choices=_plain(choices),
        environment=environment_of(detect_hardware()),
    )


def content_of(spec: WorkloadSpec) -> dict[str, object]:
    """Return the description without folders; the fingerprint covers the content of the files.

    Of extensions it has the content. Declared choices are part of configurations.
    """
    return {
        **to_plain(spec),
        "folder": "",
        "extensions": content_of_extensions(spec.extensions),
        "declared": "",
    }


def _plain(choices: Mapping[str, Value]) -> dict[str, Value]:
    return {
        name: value if isinstance(value, str | bool) else float(value)
        for name, value in choices.items()
    }
