"""Scores of given tokens by paged attention, and what the plugin makes of a graph and options.

OpenVINO GenAI returns no logits. The same graph is compiled with the same options and the same
transformation to paged attention that the engine applies, thus with the same kernels, weights and
number format of the KV cache; only the engine's scheduler is missing.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tunefront.evaluators.runtimes.openvino.telemetry import without_telemetry
from tunefront.evaluators.statistics.arrays import Array
from tunefront.spaces import EvaluationError

STATEFUL_GRAPH = "openvino_model.xml"
"""The name that OpenVINO GenAI expects."""
Options = Mapping[str, object]
"""Options of the CPU plugin."""
PORTION_TOKENS = 256
"""Tokens that are scored at once."""
_KEYS, _VALUES = "key_cache.", "value_cache."


class PagedModel:
    """A graph with paged attention, compiled, with one sequence in its KV cache.

    Args:
        path: The graph with the KV cache as state.
        options: Options of the CPU plugin.
    """

    def __init__(self, path: Path, options: Options) -> None:
        without_telemetry()
        import openvino

        core = openvino.Core()
        self._compiled = _compiled(core, core.read_model(path), options)
        self._request: Any = self._compiled.create_infer_request()

    def logits(self, tokens: Sequence[int]) -> Iterator[Array]:
        """Yield the scores `(tokens, vocabulary)` of the next tokens, in fp32, in portions."""
        import openvino

        block = self._empty_cache(len(tokens))
        for start in range(0, len(tokens), PORTION_TOKENS):
            end = min(start + PORTION_TOKENS, len(tokens))
            blocks = np.arange(-(-end // block))
            inputs = {
                "input_ids": np.array(tokens[start:end], np.int64),
                "position_ids": np.arange(start, end, dtype=np.int64),
                "past_lens": np.array([start], np.int32),
                "subsequence_begins": np.array([0, end - start], np.int32),
                "block_indices": blocks.astype(np.int32),
                "block_indices_begins": np.array([0, len(blocks)], np.int32),
                "max_context_len": np.array(end, np.int32),
            }
            for name, array in inputs.items():
                self._request.set_tensor(name, openvino.Tensor(array))
            self._request.infer()
            scores = np.array(self._request.get_output_tensor(0).data, np.float32)
            yield scores.reshape(end - start, -1)

    def _empty_cache(self, tokens: int) -> int:
        """Set keys and values to blocks for a number of tokens; return the size of a block."""
        import openvino

        ports = {port.get_any_name(): port for port in self._compiled.inputs}
        block = int(ports[f"{_VALUES}0"].partial_shape[2].get_length())
        for name, port in ports.items():
            if name.startswith((_KEYS, _VALUES)):
                shape = [size.get_length() for size in list(port.partial_shape)[1:]]
                cache = openvino.Tensor(port.element_type, [-(-tokens // block), *shape])
                self._request.set_tensor(name, cache)
        return block


class OneLayer:
    """The first attention layer of a graph, compiled with options; its weights only are copied.

    The plugin chooses number formats and threads by options and processor for all layers alike.
    """

    def __init__(self, graph: Any, options: Options) -> None:
        import openvino

        self._compiled = _compiled(openvino.Core(), _until_attention(graph), options)

    @property
    def precision(self) -> str:
        """The floating-point format of computation, in OpenVINO's words."""
        return self._property("INFERENCE_PRECISION_HINT")

    @property
    def threads(self) -> int:
        """Number of threads."""
        return int(self._property("INFERENCE_NUM_THREADS"))

    @property
    def kv_cache(self) -> str:
        """The number format of the KV cache, in OpenVINO's words; keys have that of values."""
        (port,) = (p for p in self._compiled.inputs if p.get_any_name().startswith(_VALUES))
        return str(port.element_type.get_type_name())

    @property
    def device(self) -> str:
        """The device, in OpenVINO's words."""
        return str(self._compiled.get_property("EXECUTION_DEVICES")[0])

    def _property(self, name: str) -> str:
        found = self._compiled.get_property(name)
        return str(found.to_string() if hasattr(found, "to_string") else found)


def _compiled(core: Any, graph: Any, options: Options) -> Any:
    """Apply paged attention to a graph, in place, and compile it.

    Raises:
        EvaluationError: If paged attention can't be applied (cause "unsupported").
    """
    from openvino._offline_transformations import paged_attention_transformation

    try:
        paged_attention_transformation(graph)
        return core.compile_model(graph, "CPU", dict(options))
    except RuntimeError as error:
        raise EvaluationError(f"openvino-genai: {error}", cause="unsupported") from error


def _until_attention(graph: Any) -> Any:
    """Return the part of a graph that its first attention depends on."""
    import openvino

    attention = next(
        op for op in graph.get_ordered_ops() if op.get_type_name() == "ScaledDotProductAttention"
    )
    found, left = dict[str, Any](), [attention]
    while left:
        node = left.pop()
        if node.get_name() not in found:
            found[node.get_name()] = node
            left += [node.input_value(place).get_node() for place in range(node.get_input_size())]
    inputs = [one for one in graph.get_parameters() if one.get_name() in found]
    states = [s for s in graph.get_sinks() if s.input_value(0).get_node().get_name() in found]
    model_of: Any = openvino.Model  # the stubs declare a wrong class of `self`
    return model_of([attention.output(0)], states, inputs, "one layer")
