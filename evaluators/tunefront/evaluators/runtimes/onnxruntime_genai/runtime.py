"""ONNX Runtime GenAI on the CPU: graphs of its model builder, fp32 or with 8- or 4-bit weights."""

from collections.abc import Mapping
from pathlib import Path

from tunefront.evaluators.interfaces.generation import GenerationEndpoint
from tunefront.evaluators.interfaces.generation.run_script import engine_source
from tunefront.evaluators.runtimes.base import Built, Deployment, Runtime, Source
from tunefront.evaluators.runtimes.number_format import NumberFormat
from tunefront.spaces import Configuration

from .builder import build_graph
from .endpoint import OnnxGenAiEndpoint
from .graph import GenAiGraph
from .model import model_config

PADS, END_TOKEN = "pads", "end_token"
"""Settings of a build: whether prompts of different lengths can share a batch; see `Batch`."""


class OnnxRuntimeGenAi(Runtime):
    """ONNX Runtime GenAI with the CPU execution provider.

    The library's own default for 4 bits is `quantization_method: dynamic` with `group_size: 32`.
    Profiles are not offered: the library gives no times of operators.
    """

    name = "onnxruntime-genai"

    def build(
        self, source: Source, configuration: Configuration, folder: Path
    ) -> Mapping[str, object]:
        """Run the library's model builder on the checkpoint."""
        build_graph(source.checkpoint(), NumberFormat.of(configuration), folder)
        # The last token of a vocabulary is unused, or the rarest of a byte-pair vocabulary.
        last = int(model_config(folder)["vocab_size"]) - 1
        return {PADS: GenAiGraph(folder).pads(), END_TOKEN: last}

    def open(self, built: Built, configuration: Configuration) -> GenerationEndpoint:
        """Open the graph."""
        return OnnxGenAiEndpoint(
            built.folder,
            threads=configuration.integer("threads"),
            max_batch=configuration.integer("max_batch"),
            pads=bool(built.settings[PADS]),
            end_token=_end_token(built),
        )

    def deployment(self, built: Built, configuration: Configuration) -> Deployment:
        """Return a script that needs onnxruntime-genai and numpy only."""
        script = _SCRIPT.format(
            engine=engine_source(OnnxGenAiEndpoint),
            max_batch=configuration.integer("max_batch"),
            threads=configuration.integer("threads"),
            pads=bool(built.settings[PADS]),
            end_token=_end_token(built),
        )
        return Deployment(script=script, requirements=("onnxruntime-genai",))


def _end_token(built: Built) -> int:
    found = built.settings[END_TOKEN]
    assert isinstance(found, int)
    return found


_SCRIPT = '''\
"""Generates text with the exported model. Needs onnxruntime-genai and numpy, nothing else."""
from __future__ import annotations

import pathlib
{engine}

HERE = pathlib.Path(__file__).parent
PARALLEL = {max_batch}
"""Requests that are decoded together."""


def load():
    """The model, on as many threads as it was measured with."""
    return OnnxGenAiEndpoint(
        HERE, threads={threads}, max_batch=PARALLEL, pads={pads}, end_token={end_token}
    )


def run(model, prompt, new_tokens):
    """Token ids in, token ids out."""
    return list(stream(model, prompt, new_tokens))
'''
