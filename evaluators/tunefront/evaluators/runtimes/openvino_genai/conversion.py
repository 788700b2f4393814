"""Conversion of a causal language model of `transformers` to a graph with its KV cache as state.

OpenVINO GenAI replaces the attention of such a graph by paged attention. Its inputs are `input_ids`
and `position_ids` `(batch, tokens)`, `attention_mask` `(batch, past and tokens)` and `beam_idx`
`(batch)`, its output `logits` `(batch, tokens, vocabulary)`.
"""

import warnings
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tunefront.evaluators.interfaces.generation import limits_of
from tunefront.evaluators.runtimes.openvino.quantization import save_graph
from tunefront.evaluators.runtimes.openvino.telemetry import without_telemetry
from tunefront.evaluators.statistics.arrays import Array
from tunefront.spaces import EvaluationError

from .scoring import STATEFUL_GRAPH, PagedModel

CHECKED_TOKENS = 32
"""Tokens whose scores by the graph are compared with the model's."""
LARGEST_DIFFERENCE = 1e-3
"""Largest difference of a score, as a share of the largest score, that is rounding.

SmolLM2-135M: 3e-5.
"""
_Pair = tuple[torch.Tensor, torch.Tensor]
_IDS = ("input_ids", "attention_mask", "position_ids")


def convert_checkpoint(checkpoint: Path, folder: Path) -> None:
    """Convert a checkpoint to an fp32 graph in a folder.

    Raises:
        EvaluationError: If the model can't be converted, or the graph with paged attention computes
            other scores than the model (cause "unsupported").
    """
    without_telemetry()
    model = _load(checkpoint)
    try:
        past = _first_past(model)
        graph = _stateful(_traced(model, past), past)
    except EvaluationError:
        raise
    except Exception as error:  # torch.export and OpenVINO raise many types; all: not convertible
        raise EvaluationError(f"openvino-genai: {error}", cause="unsupported") from error
    save_graph(graph, folder / STATEFUL_GRAPH, half=False)
    _check(model, folder)


def _load(checkpoint: Path) -> Any:
    from transformers import AutoModelForCausalLM

    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            checkpoint, dtype=torch.float32, attn_implementation="sdpa", local_files_only=True
        )
    except (OSError, ValueError, ImportError) as error:
        raise EvaluationError(f"{checkpoint}: {error}", cause="unsupported") from error
    model.eval()
    return model


def _first_past(model: Any) -> list[_Pair]:
    """Run two tokens of two texts and return the keys and values, by layer.

    Shapes are `(batch, heads, tokens, features)`.

    Raises:
        EvaluationError: If a layer attends to a part of the earlier tokens only, or in another way
            (cause "unsupported"): paged attention would attend to all of them.
    """
    from transformers.cache_utils import DynamicLayer

    with torch.no_grad():
        output = model(torch.zeros(2, 2, dtype=torch.int64), use_cache=True)
    cache = output.cache if hasattr(output, "cache") else output.past_key_values
    for number, layer in enumerate(cache.layers):
        if type(layer) is not DynamicLayer:
            raise EvaluationError(
                f"openvino-genai: layer {number} has a {type(layer).__name__}, but only models "
                "whose layers attend to all earlier tokens can be converted; use another runtime",
                cause="unsupported",
            )
    return [(layer.keys, layer.values) for layer in cache.layers]


class _Step(torch.nn.Module):
    """A model with its KV cache as inputs and outputs."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        # The name since transformers 5.24; the old one is deprecated.
        known = signature(model.forward).parameters
        self.cache_argument = "cache" if "cache" in known else "past_key_values"

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        position_ids: torch.Tensor,
        past: list[_Pair],
    ) -> tuple[torch.Tensor, list[_Pair]]:
        """Return the logits of the tokens, and the longer keys and values."""
        from transformers.cache_utils import DynamicCache

        cache: Any = DynamicCache()
        cache.layers += [_layer(keys, values) for keys, values in past]
        rows = torch.arange(input_ids.shape[1])[:, None] + past[0][0].shape[2]
        columns = torch.arange(attention_mask.shape[1])[None]
        seen = (columns <= rows)[None, None] & (attention_mask[:, None, None] > 0)
        output = self.model(
            input_ids=input_ids,
            attention_mask=seen,
            position_ids=position_ids,
            use_cache=True,
            **{self.cache_argument: cache},
        )
        return output.logits, [(one.keys, one.values) for one in cache.layers]


def _layer(keys: torch.Tensor, values: torch.Tensor) -> Any:
    from transformers.cache_utils import DynamicLayer

    layer: Any = DynamicLayer()  # type: ignore[no-untyped-call]
    layer.lazy_initialization(keys, values)
    layer.keys, layer.values = keys, values
    return layer


def _traced(model: Any, past: list[_Pair]) -> Any:
    """Return the OpenVINO graph of a step after two tokens, for any batch and length."""
    import openvino

    tokens = 3
    example = {
        "input_ids": torch.zeros(2, tokens, dtype=torch.int64),
        "attention_mask": torch.ones(2, past[0][0].shape[2] + tokens, dtype=torch.int64),
        "position_ids": torch.arange(2, 2 + tokens)[None].repeat(2, 1),
        "past": past,
    }
    varying = torch.export.Dim.DYNAMIC
    shapes = {
        **{name: {0: varying, 1: varying} for name in _IDS},
        "past": [({0: varying, 2: varying},) * 2 for _ in past],
    }
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(_Step(model), (), example, dynamic_shapes=shapes)
        return openvino.convert_model(program)


def _stateful(graph: Any, past: list[_Pair]) -> Any:
    """Turn the keys and values of a graph from inputs and outputs into state; in place."""
    from openvino import PartialShape
    from openvino._offline_transformations import apply_make_stateful_transformation

    places = [f"{number}.{kind}" for number in range(len(past)) for kind in ("key", "value")]
    pasts = [f"past_key_values.{place}" for place in places]
    presents = [f"present.{place}" for place in places]
    _name(graph.inputs, [*_IDS, *pasts])
    _name(graph.outputs, ["logits", *presents])
    tensors = [tensor for pair in past for tensor in pair]
    shapes = {
        name: PartialShape([-1, tensor.shape[1], -1, tensor.shape[3]])
        for name, tensor in zip(pasts, tensors, strict=True)
    }
    graph.reshape(shapes)
    _select_beams(graph, pasts)
    apply_make_stateful_transformation(graph, dict(zip(pasts, presents, strict=True)))
    _start_empty(graph)
    graph.validate_nodes_and_infer_types()
    return graph


def _name(ports: list[Any], names: list[str]) -> None:
    """Name the inputs or outputs of a graph, in their order."""
    for port, name in zip(ports, names, strict=True):
        port.get_tensor().set_names({name})


def _select_beams(graph: Any, pasts: list[str]) -> None:
    """Add the input `beam_idx`: from which row of the batch each row continues."""
    from openvino import Type, opset13

    beams = opset13.parameter([-1], Type.i32, name="beam_idx")
    beams.output(0).get_tensor().set_names({"beam_idx"})
    graph.add_parameters([beams])
    for name in pasts:
        port = graph.input(name)
        readers = list(port.get_target_inputs())
        rows = opset13.gather(port, beams, opset13.constant(0))
        for reader in readers:
            reader.replace_source_output(rows.output(0))


def _start_empty(graph: Any) -> None:
    """Let the state begin with no tokens, for the batch of the request."""
    from openvino import opset13

    def whole(*numbers: int) -> Any:
        return opset13.constant(list(numbers), np.int64)

    shape = opset13.shape_of(graph.input("input_ids"), output_type="i64")
    batch = opset13.gather(shape, whole(0), opset13.constant(0))
    for read in (op for op in graph.get_ops() if op.get_type_name() == "ReadValue"):
        kept = read.get_output_partial_shape(0)
        empty = opset13.concat(
            [batch, whole(kept[1].get_length(), 0, kept[3].get_length())], axis=0
        )
        zero = opset13.constant(0.0, read.get_output_element_type(0))
        read.set_arguments([opset13.broadcast(zero, empty)])


def _check(model: Any, folder: Path) -> None:
    """Compare the scores of random tokens by the graph with paged attention and by the model.

    Raises:
        EvaluationError: If they differ by more than rounding (cause "unsupported").
    """
    limits = limits_of(Path(model.config._name_or_path))
    count = min(CHECKED_TOKENS, limits.context or CHECKED_TOKENS)
    tokens = np.random.default_rng(0).integers(0, limits.vocabulary, count)
    with torch.no_grad():
        expected: Array = model(torch.from_numpy(tokens)[None]).logits[0].numpy()
    exact = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}
    paged = PagedModel(folder / STATEFUL_GRAPH, exact)
    found = np.concatenate(list(paged.logits(tokens.tolist())))
    share = float(np.abs(found - expected).max() / np.abs(expected).max())
    if not share <= LARGEST_DIFFERENCE:
        raise EvaluationError(
            f"openvino-genai: the converted model's scores differ from the model's by {share:.2g} "
            f"of the largest score (at most {LARGEST_DIFFERENCE:g} allowed); use another runtime",
            cause="unsupported",
        )
