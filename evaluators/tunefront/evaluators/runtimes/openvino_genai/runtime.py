"""OpenVINO GenAI on the CPU: a model of `transformers` as a graph with its KV cache as state."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from tunefront.evaluators.interfaces.generation import ModelLimits, limits_of
from tunefront.evaluators.interfaces.generation.run_script import engine_source
from tunefront.evaluators.runtimes.base import Built, Deployment, Runtime, Source
from tunefront.evaluators.runtimes.number_format import NumberFormat
from tunefront.evaluators.runtimes.openvino.quantization import (
    PRECISION_HINTS,
    guard_gated_mlp,
    plugin_options,
    quantized,
    save_graph,
)
from tunefront.evaluators.runtimes.openvino.telemetry import without_telemetry
from tunefront.spaces import Configuration, EvaluationError

from .endpoint import EngineSettings, OpenVinoGenAiEndpoint
from .scoring import STATEFUL_GRAPH

_KV_FORMATS = {8: "u8", 4: "u4"}
"""Value of the option `KV_CACHE_PRECISION` by value of the choice `kv_cache_bits`, below 16."""


class OpenVinoGenAi(Runtime):
    """OpenVINO GenAI with the CPU plugin."""

    name = "openvino-genai"

    def build(
        self, source: Source, configuration: Configuration, folder: Path
    ) -> Mapping[str, object]:
        """Convert the checkpoint, once for all builds of the model; quantize and save it.

        Raises:
            EvaluationError: If converting (cause "unsupported") or saving ("disk full") fails.
        """
        without_telemetry()
        import openvino

        from .conversion import convert_checkpoint

        checkpoint = source.checkpoint()
        shared = source.shared(
            "openvino-genai", lambda folder: convert_checkpoint(checkpoint, folder)
        )
        wanted = NumberFormat.of(configuration)
        try:
            graph = quantized(openvino.Core().read_model(shared / STATEFUL_GRAPH), source, wanted)
            if wanted.precision == "bf16":
                guard_gated_mlp(graph)
        except Exception as error:  # both tools raise many types; all mean: not convertible
            raise EvaluationError(f"openvino-genai: {error}", cause="unsupported") from error
        save_graph(graph, folder / STATEFUL_GRAPH, half=wanted.precision == "bf16")
        return {"options": _options(configuration), "limits": asdict(limits_of(checkpoint))}

    def open(self, built: Built, configuration: Configuration) -> OpenVinoGenAiEndpoint:
        """Compile for this processor."""
        return OpenVinoGenAiEndpoint(built.folder, _settings(built, configuration))

    def deployment(self, built: Built, configuration: Configuration) -> Deployment:
        """Return a script that needs openvino-genai and numpy only."""
        settings = _settings(built, configuration)
        script = _SCRIPT.format(
            engine=engine_source(OpenVinoGenAiEndpoint, EngineSettings, ModelLimits),
            options=settings.options,
            max_batch=settings.max_batch,
            max_tokens=settings.max_tokens,
            limits=settings.limits,
            lookup=settings.lookup,
            prefix_cache=settings.prefix_cache,
        )
        return Deployment(script=script, requirements=("openvino-genai", "numpy"))


def _settings(built: Built, configuration: Configuration) -> EngineSettings:
    """Return what the pipeline is opened with."""
    limits = built.settings["limits"]
    assert isinstance(limits, dict)
    return EngineSettings(
        options=_opened_with(built, configuration),
        max_batch=configuration.integer("max_batch"),
        max_tokens=configuration.integer("scheduler_max_tokens"),
        limits=ModelLimits(**limits),
        lookup=configuration.integer("prompt_lookup_tokens"),
        prefix_cache=bool(configuration["prefix_cache"]),
    )


def _options(configuration: Configuration) -> dict[str, str | int | float]:
    """Return the options of the plugin; they are stored in the candidate and its script."""
    wanted = NumberFormat.of(configuration)
    precision = PRECISION_HINTS[wanted.precision]
    return {
        **plugin_options(wanted),
        "KV_CACHE_PRECISION": _KV_FORMATS.get(configuration.integer("kv_cache_bits"), precision),
    }


def _opened_with(built: Built, configuration: Configuration) -> dict[str, object]:
    """Return the options of the build with the number of threads."""
    options = built.settings["options"]
    assert isinstance(options, dict)
    return {**options, "INFERENCE_NUM_THREADS": configuration.integer("threads")}


_SCRIPT = '''\
"""Generates text with the exported model. Needs openvino-genai and numpy, nothing else."""
from __future__ import annotations

import pathlib
{engine}

HERE = pathlib.Path(__file__).parent
PARALLEL = {max_batch}
"""Requests that are decoded together."""


def load():
    """The engine, with the settings that it was measured with."""
    settings = EngineSettings(
        options={options},
        max_batch=PARALLEL,
        max_tokens={max_tokens},
        limits={limits},
        lookup={lookup},
        prefix_cache={prefix_cache},
    )
    return OpenVinoGenAiEndpoint(HERE, settings)


def run(model, prompt, new_tokens):
    """Token ids in, token ids out."""
    return list(stream(model, prompt, new_tokens))
'''
