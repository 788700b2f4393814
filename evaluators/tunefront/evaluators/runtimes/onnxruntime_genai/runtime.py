"""ONNX Runtime GenAI on the CPU: graphs of its model builder, fp32 or with 8- or 4-bit weights."""

from collections.abc import Mapping
from pathlib import Path

from tunefront.evaluators.interfaces.generation import GenerationEndpoint
from tunefront.evaluators.runtimes.base import Built, Deployment, Runtime, Source
from tunefront.evaluators.runtimes.number_format import NumberFormat
from tunefront.evaluators.runtimes.onnxruntime.telemetry import VARIABLE
from tunefront.spaces import Configuration

from .batch import GREEDY
from .builder import build_graph
from .endpoint import OnnxGenAiEndpoint
from .graph import GenAiGraph
from .model import model_config, overlay_of

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
        overlay = overlay_of(_end_token(built), configuration.integer("threads"))
        script = _SCRIPT.format(overlay=overlay, greedy=GREEDY, variable=VARIABLE)
        return Deployment(script=script, requirements=("onnxruntime-genai",))


def _end_token(built: Built) -> int:
    found = built.settings[END_TOKEN]
    assert isinstance(found, int)
    return found


_SCRIPT = '''\
"""Generates text with the exported model. Needs onnxruntime-genai and numpy, nothing else."""
import json
import os
import pathlib

os.environ["{variable}"] = "1"

import numpy as np
import onnxruntime_genai

HERE = pathlib.Path(__file__).parent
OVERLAY = {overlay}
GREEDY = {greedy}


def load():
    """The model, on as many threads as it was measured with."""
    config = onnxruntime_genai.Config(str(HERE))
    config.overlay(json.dumps(OVERLAY))
    return onnxruntime_genai.Model(config)


def stream(model, prompt, new_tokens):
    """Token ids in, token ids out, one by one; no token ends the response."""
    tokens = []
    generator = None
    while len(tokens) < new_tokens:
        if generator is None:
            params = onnxruntime_genai.GeneratorParams(model)
            params.set_search_options(**GREEDY, max_length=len(prompt) + new_tokens)
            generator = onnxruntime_genai.Generator(model, params)
            generator.append_tokens(np.array([*prompt, *tokens], dtype=np.int32))
        generator.generate_next_token()
        tokens.append(int(generator.get_next_tokens()[0]))
        if tokens[-1] == OVERLAY["model"]["eos_token_id"]:  # the library has ended the response
            generator = None
        yield tokens[-1]


def run(model, prompt, new_tokens):
    """Token ids in, token ids out."""
    return list(stream(model, prompt, new_tokens))
'''
