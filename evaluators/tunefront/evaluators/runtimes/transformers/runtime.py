"""The engine `transformers`: a checkpoint in the chosen precision (`model/`)."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunefront.evaluators.interfaces.endpoint import Facts
from tunefront.evaluators.interfaces.generation import GenerationEndpoint
from tunefront.evaluators.interfaces.generation.run_script import engine_source
from tunefront.evaluators.interfaces.torch_generation import TorchGeneration, check_layers
from tunefront.evaluators.runtimes.base import Built, Deployment, Runtime, Source
from tunefront.evaluators.runtimes.number_format import quantization_facts
from tunefront.evaluators.runtimes.run_script import tf32_lines
from tunefront.evaluators.runtimes.weights import WeightStatistics, total
from tunefront.spaces import NOT_QUANTIZED, Configuration, EvaluationError

if TYPE_CHECKING:
    import torch

MODEL = "model"
"""Folder of the checkpoint in a candidate."""


class Transformers(Runtime):
    """Greedy decoding by `transformers` on torch, on the CPU or a GPU."""

    name = "transformers"

    def build(
        self, source: Source, configuration: Configuration, folder: Path
    ) -> Mapping[str, object]:
        """Save the checkpoint in the precision of the configuration.

        Raises:
            EvaluationError: If `transformers` can't load it, or not without code that comes with
                it (cause "unsupported").
        """
        from tunefront.evaluators.interfaces.torch_tensors import DTYPES

        checkpoint = source.checkpoint()
        if "auto_map" in json.loads((checkpoint / "config.json").read_text()):
            raise EvaluationError(
                "the model needs code that comes with it (auto_map in config.json), which an "
                "export would run without a check; use another runtime",
                cause="unsupported",
            )
        model: Any = _loaded(checkpoint, dtype=DTYPES[configuration.text("precision")])
        check_layers(model)
        model.save_pretrained(folder / MODEL)
        return {}

    def open(self, built: Built, configuration: Configuration) -> GenerationEndpoint:
        """Load the checkpoint to the device."""
        import torch

        from tunefront.evaluators.interfaces.torch_tensors import switch_tf32
        from tunefront.evaluators.runtimes.cuda import target_device

        device = configuration.text("device")
        switch_tf32(configuration.text("precision"), device)
        torch.set_num_threads(configuration.integer("threads"))
        attention = configuration.text("attention_implementation")
        model = _loaded(built.folder / MODEL, dtype="auto", attn_implementation=attention)
        return TransformersEndpoint(
            model.to(target_device(device)),
            configuration.integer("max_batch"),
            configuration.integer("prompt_lookup_tokens"),
        )

    def deployment(self, built: Built, configuration: Configuration) -> Deployment:
        """Return a script that needs torch and transformers."""
        script = _SCRIPT.format(
            model=MODEL,
            device=configuration.text("device"),
            threads=configuration.integer("threads"),
            attention=configuration.text("attention_implementation"),
            lookup=configuration.integer("prompt_lookup_tokens"),
            max_batch=configuration.integer("max_batch"),
            engine=engine_source(TorchGeneration),
            tf32=tf32_lines(configuration),
        )
        return Deployment(script=script, requirements=("torch", "transformers"))


class TransformersEndpoint(TorchGeneration):
    """A checkpoint, opened in `transformers`."""

    def facts(self) -> Facts:
        """Read the properties from the model."""
        from tunefront.evaluators.runtimes.cuda import gpu_facts

        matrices = [p for p in self.model.parameters() if p.ndim >= 2]
        statistics = total(_statistics(matrix) for matrix in matrices)
        return {
            "runtime": "transformers",
            **super().facts(),
            **quantization_facts(),
            "kv_cache_bits": NOT_QUANTIZED,
            "tensor_parallel": 1,
            "weight_bits": statistics.weight_bits,
            "sparsity": statistics.sparsity,
            "parameters": statistics.count,
            **gpu_facts(matrix.device for matrix in matrices),
        }


def _loaded(folder: Path, **more: object) -> "torch.nn.Module":
    """Load a causal language model in eval mode, without downloading or running further code.

    Raises:
        EvaluationError: If loading fails (cause "unsupported").
    """
    import transformers

    logging: Any = transformers.utils.logging
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    auto: Any = transformers.AutoModelForCausalLM
    try:
        model = auto.from_pretrained(folder, use_safetensors=True, local_files_only=True, **more)
    except (OSError, ValueError, KeyError, AttributeError, ImportError) as error:
        raise EvaluationError(f"transformers: {error}", cause="unsupported") from error
    loaded: torch.nn.Module = model.eval()
    return loaded


def _statistics(tensor: "torch.Tensor") -> WeightStatistics:
    return WeightStatistics(
        count=tensor.numel(),
        bits=tensor.numel() * tensor.element_size() * 8,
        zeros=int((tensor == 0).sum()),
    )


_SCRIPT = '''\
"""Generates text with the exported model. Needs torch and transformers, nothing else."""
from __future__ import annotations

import pathlib

import torch
import transformers
{engine}

HERE = pathlib.Path(__file__).parent
PARALLEL = {max_batch}
"""Requests that are decoded together."""


def load():
    """The model, on as many threads as it was measured with."""
    torch.set_num_threads({threads})
{tf32}    transformers.utils.logging.disable_progress_bar()
    model = transformers.AutoModelForCausalLM.from_pretrained(
        HERE / "{model}",
        dtype="auto",
        attn_implementation="{attention}",
        local_files_only=True,
        use_safetensors=True,
    )
    return TorchGeneration(model.to("{device}").eval(), PARALLEL, lookup={lookup})


def run(model, prompt, new_tokens):
    """Token ids in, a list of token ids out."""
    return list(stream(model, prompt, new_tokens))
'''
