"""What a built graph is: its quantization, its weights, the numbers in its KV cache."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunefront.evaluators.runtimes.number_format import quantization_facts
from tunefront.evaluators.runtimes.weights import WeightStatistics, total
from tunefront.spaces import NOT_QUANTIZED, Value

GRAPH_FILE = "model.onnx"
_PACKED = {"MatMulNBits": (1, (2, 3)), "GatherBlockQuantized": (0, (2, 3))}
"""Operators with packed weights: place of the weights, and of their scales and zero points."""
_ATTENTION = "GroupQueryAttention"
_ROTARY = (7, 8)
"""Inputs of `GroupQueryAttention` with cosines and sines, which are no weights."""
_STATE = ("past_key_values.",)
_TEXT = {"input_ids", "attention_mask", "position_ids"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """Packed weights of an operator.

    Attributes:
        bits: Bits of a weight.
        group: Weights that share a scale.
    """

    bits: int
    group: int


class GenAiGraph:
    """A graph that the model builder wrote; weights are read one at a time, when they are needed.

    Args:
        folder: The folder with the graph.
    """

    def __init__(self, folder: Path) -> None:
        import onnx

        self._folder = folder
        self._model: Any = onnx.load(str(folder / GRAPH_FILE), load_external_data=False)
        self._nodes: list[Any] = list(self._model.graph.node)

    def pads(self) -> bool:
        """Return whether prompts of different lengths can be in one batch, padded at the end.

        They can if the lengths of the prompts, which `GroupQueryAttention` receives, are all that
        the model knows of the past; a state that is updated token by token would see the padding.
        """
        inputs = {one.name for one in self._model.graph.input}
        known = all(name in _TEXT or name.startswith(_STATE) for name in inputs)
        kinds = {node.op_type for node in self._nodes}
        return known and _ATTENTION in kinds and "MultiHeadAttention" not in kinds

    def quantization(self) -> dict[str, Value]:
        """Return the facts about quantization; activations are tried on one product."""
        packed = [one for _, one in self._packed()]
        if not packed:
            return quantization_facts()
        products = [node for node in self._nodes if node.op_type == "MatMulNBits"]
        dynamic = bool(products) and self._activations_are_quantized(products[0])
        bits, groups = {one.bits for one in packed}, {one.group for one in packed}
        return quantization_facts(max(bits), "dynamic" if dynamic else "rtn", max(groups))

    def kv_cache_bits(self) -> int:
        """Return the bits of a number in the KV cache; 16 if it is not quantized."""
        from onnx import TensorProto

        small = {TensorProto.INT8: 8, TensorProto.UINT8: 4}
        for one in self._model.graph.input:
            if one.name.startswith(_STATE):
                return small.get(one.type.tensor_type.elem_type, NOT_QUANTIZED)
        return NOT_QUANTIZED

    def weights(self) -> WeightStatistics:
        """Return the statistics of the weights; packed ones count with their bits, without scales.

        Padding of the last group is not counted.
        """
        packed = {node.input[_PACKED[node.op_type][0]]: one for node, one in self._packed()}
        left_out = set(self._no_weights())
        parts: list[WeightStatistics] = []
        for tensor in self._model.graph.initializer:
            if len(tensor.dims) < 2 or tensor.name in left_out:
                continue
            if tensor.name in packed:
                parts.append(self._packed_statistics(tensor, packed[tensor.name].bits))
                continue
            array = self._array(tensor)
            if array.dtype.kind == "f":
                zeros = int((array == 0).sum())
                parts.append(WeightStatistics(count=array.size, bits=array.nbytes * 8, zeros=zeros))
        return total(parts)

    def _packed_statistics(self, tensor: Any, bits: int) -> WeightStatistics:
        count = self._unpadded().get(tensor.name)
        if count is None:
            count = self._array(tensor).nbytes * 8 // bits
        return WeightStatistics(count=count, bits=count * bits, zeros=0)

    def _unpadded(self) -> Mapping[str, int]:
        """Return the numbers of weights of packed products, by the name of the weights."""
        found: dict[str, int] = {}
        for node in self._nodes:
            if node.op_type == "MatMulNBits":
                numbers = _integers(node)
                found[node.input[1]] = numbers["K"] * numbers["N"]
        return found

    def _packed(self) -> Iterator[tuple[Any, Packed]]:
        """Yield the operators with packed weights, with their bits and groups."""
        for node in self._nodes:
            if node.op_type in _PACKED:
                numbers = _integers(node)
                yield node, Packed(bits=numbers.get("bits", 4), group=numbers.get("block_size", 0))

    def _no_weights(self) -> Iterator[str]:
        """Yield the names of scales, zero points, and tables of the position encoding."""
        for node in self._nodes:
            places = _PACKED[node.op_type][1] if node.op_type in _PACKED else ()
            if node.op_type == _ATTENTION:
                places = _ROTARY
            yield from (node.input[place] for place in places if place < len(node.input))

    def _array(self, tensor: Any) -> Any:
        """Return the numbers of an initializer, which can be in the file next to the graph."""
        from onnx import TensorProto, numpy_helper

        own = TensorProto()
        own.CopyFrom(tensor)
        return numpy_helper.to_array(own, base_dir=str(self._folder))

    def _activations_are_quantized(self, product: Any) -> bool:
        """Return whether a product has other results than with activations in fp32.

        The attribute `accuracy_level` is no evidence: it is a wish, and without a kernel for it
        the product is computed in fp32.
        """
        import numpy as np

        numbers = _integers(product)
        features = numbers["K"]
        given = np.random.default_rng(0).normal(size=(8, features)).astype(np.float32)
        results = [
            self._product(product, {**numbers, "accuracy_level": level}, given)
            for level in (numbers.get("accuracy_level", 0), 1)
        ]
        return not np.array_equal(*results)

    def _product(self, product: Any, numbers: Mapping[str, int], given: Any) -> Any:
        import onnxruntime
        from onnx import TensorProto, helper, numpy_helper

        names = [name for name in product.input[1:4] if name]
        constants = [
            numpy_helper.from_array(self._array(tensor), tensor.name)
            for tensor in self._model.graph.initializer
            if tensor.name in names
        ]
        attributes: dict[str, Any] = dict(numbers)
        node = helper.make_node(
            "MatMulNBits", ["x", *names], ["y"], domain="com.microsoft", **attributes
        )
        inputs, outputs = (
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", numbers[size]])]
            for name, size in (("x", "K"), ("y", "N"))
        )
        graph = helper.make_graph([node], "one product", inputs, outputs, constants)
        model = helper.make_model(
            graph, opset_imports=self._model.opset_import, ir_version=self._model.ir_version
        )
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        return session.run(None, {"x": given})[0]


def _integers(node: Any) -> dict[str, int]:
    """Return the attributes of a node that are integers."""
    return {one.name: int(one.i) for one in node.attribute if one.type == one.INT}
