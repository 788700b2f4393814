"""Quantization is read back from the weights' types, whichever operators use them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.processors import hardware_under_test

from tunefront.evaluators.runtimes.number_format import NumberFormat
from tunefront.evaluators.runtimes.onnxruntime.runtime import _quantization, _quantize
from tunefront.spaces import NOT_QUANTIZED


def weights(name: str, *shape: int) -> onnx.TensorProto:
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return numpy_helper.from_array(values, name)


def model_of(node: onnx.NodeProto, shape: tuple[int, ...], *tensors: onnx.TensorProto) -> bytes:
    """A model of one operator with float input `x` and output `y`."""
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        list(tensors),
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


def convolution() -> tuple[bytes, tuple[int, ...]]:
    shape = (1, 3, 8, 8)
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    return model_of(node, shape, weights("w", 4, 3, 3, 3)), shape


def recurrent() -> tuple[bytes, tuple[int, ...]]:
    node = helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=4)
    return model_of(node, (5, 1, 3), weights("w", 1, 16, 3), weights("r", 1, 16, 4)), (5, 1, 3)


def product() -> tuple[bytes, tuple[int, ...]]:
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    return model_of(node, (2, 32), weights("w", 32, 16)), (2, 32)


MODELS = {"Conv": convolution, "LSTM": recurrent, "MatMul": product}


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_dynamic_quantization_is_seen_in_every_kind_of_layer(
    make: Callable[[], tuple[bytes, tuple[int, ...]]], tmp_path: Path
) -> None:
    content, shape = make()
    source, target = tmp_path / "source.onnx", tmp_path / "target.onnx"
    source.write_bytes(content)
    assert _quantization(onnx.load(source))["quantization_bits"] == NOT_QUANTIZED
    narrow = hardware_under_test().int8_products_saturate  # weights of 7 bits: twice the steps
    wanted = NumberFormat(precision="fp32", bits=8, method="dynamic", group_size=32)
    _quantize(source, target, wanted, narrow=narrow)
    facts = _quantization(onnx.load(target))
    assert (facts["quantization_bits"], facts["quantization_method"]) == (8, "dynamic")
    session = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    exact = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    found, expected = (np.asarray(one.run(None, {"x": x})[0]) for one in (session, exact))
    np.testing.assert_allclose(found, expected, atol=0.4 if narrow else 0.2)
