"""The keys of what an evaluation leaves in the store."""

from collections.abc import Mapping
from dataclasses import replace

from tunefront.evaluators.evaluation.settings import EvaluationSettings
from tunefront.evaluators.extensions import content_of_extensions
from tunefront.evaluators.interfaces.generation import Generation, LoadSpec
from tunefront.evaluators.isolation.codec import to_plain
from tunefront.evaluators.store.store import environment_of, fingerprint_of, key_of
from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import Configuration, Value, detect_hardware

from .workload import build_workload, catalog_for


def candidate_key(settings: EvaluationSettings, configuration: Configuration) -> str:
    """Return the store key of the built candidate."""
    catalog = catalog_for(settings.workload)
    choices = catalog.up_to(configuration, "runtime")
    return _key("runtime", build_spec(settings.workload), settings, configuration, choices)


def model_key(settings: EvaluationSettings, configuration: Configuration) -> str:
    """Return the store key of the model stage's product."""
    catalog = catalog_for(settings.workload)
    choices = catalog.up_to(configuration, "model")
    return _key("model", build_spec(settings.workload), settings, configuration, choices)


def quality_key(settings: EvaluationSettings, configuration: Configuration) -> str:
    """Return the store key of the candidate's quality.

    It covers every choice that changes outputs, those of the execution stage included; of the
    baseline, too, if its outputs are those that all others are compared with.
    """
    catalog = catalog_for(settings.workload)
    choices = catalog.outputs_of(configuration)
    spec = quality_spec(settings.workload)
    key = _key("quality", spec, settings, configuration, choices)
    baseline = Configuration(settings.baseline)
    if not build_workload(spec).compared_with_baseline or not baseline:
        return key
    compared = _key("quality", spec, settings, baseline, catalog.outputs_of(baseline))
    return key_of(kind="quality against the baseline", quality=key, baseline=compared)


def gpu_memory_key(settings: EvaluationSettings, configuration: Configuration) -> str:
    """Return the store key of a configuration's measured memory on GPUs."""
    return _key("gpu memory", settings.workload, settings, configuration, configuration)


def build_spec(spec: WorkloadSpec) -> WorkloadSpec:
    """Return the workload as builds get it: with the prompts of the data, without load and SLO.

    What a build does not get can't change its product, so that a changed load builds nothing again.
    """
    generates = Generation.name in catalog_for(spec).extension(spec.task).interfaces
    return replace(spec, load=LoadSpec(output_tokens=1) if generates else None, slo={})


def quality_spec(spec: WorkloadSpec) -> WorkloadSpec:
    """Return the workload as quality gets it: of the load only the largest length of a response."""
    output_tokens = spec.load.output_tokens if spec.load else None
    load = LoadSpec(output_tokens=output_tokens) if output_tokens else None
    return replace(spec, load=load, slo={})


def _key(
    kind: str,
    spec: WorkloadSpec,
    settings: EvaluationSettings,
    configuration: Configuration,
    choices: Mapping[str, Value],
) -> str:
    catalog_for(settings.workload).check_complete(configuration)
    return key_of(
        kind=kind,
        workload=settings.fingerprint,
        spec=content_of(spec),
        choices=_plain(choices),
        environment=environment_of(detect_hardware()),
    )


def trace_content(spec: WorkloadSpec) -> str:
    """Return a hash of the trace that the load replays; empty without one."""
    trace = spec.load.trace if spec.load else None
    return fingerprint_of((spec.path(trace),)) if trace else ""


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
