"""Sums of two int8 products stay within 16 bits where the processor adds them there.

x86 without VNNI multiplies unsigned activations with signed weights and adds two neighbouring
products in 16 bits: 255 x w + 255 x w' must not leave them, whatever the activations are.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.processors import hardware_with

from tunefront.evaluators.runtimes.base import Source
from tunefront.evaluators.statistics.arrays import Array

from .conftest import RUNTIME_OF, configuration_of

MakeSource = Callable[..., Source]
LARGEST = 2**15 - 1


def onnx_weights(folder: Path) -> list[Array]:
    """The int8 matrices of the graph."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(folder / "model.onnx")).graph
    arrays = [numpy_helper.to_array(tensor) for tensor in graph.initializer]
    return [array for array in arrays if array.dtype == np.int8 and array.ndim == 2]


def openvino_weights(folder: Path) -> list[Array]:
    """The int8 matrices that the graph multiplies by; tables that are only looked up are none."""
    import openvino

    found: list[Array] = []
    for op in openvino.Core().read_model(folder / "model.xml").get_ops():
        if op.get_type_name() != "MatMul":
            continue
        source = op.input_value(1).get_node()
        while source.get_type_name() in ("Convert", "Multiply"):
            source = source.input_value(0).get_node()
        if source.get_type_name() == "Constant":
            assert source.get_element_type().get_type_name() == "i8"
            found.append(np.array(source.data))
    return found


BUILDS: dict[tuple[str, str], Callable[[Path], list[Array]]] = {
    ("onnxruntime", "w8 dynamic"): onnx_weights,
    ("openvino", "w8 static"): openvino_weights,
}


def largest_sum(weights: list[Array]) -> int:
    """The largest sum of two products of any unsigned 8-bit activations."""
    return max(2 * 255 * int(np.abs(array.astype(np.int32)).max()) for array in weights)


@pytest.mark.parametrize("processor", ["avx2", "avx512-vnni"])
@pytest.mark.parametrize(("runtime", "quantization"), BUILDS)
@pytest.mark.parametrize("module", ["flat", pytest.param("encoder", marks=pytest.mark.soak)])
def test_weights_are_narrow_exactly_where_sums_saturate(
    make_source: MakeSource,
    tmp_path: Path,
    runtime: str,
    quantization: str,
    processor: str,
    module: str,
) -> None:
    source = make_source(module, hardware_with(processor))
    RUNTIME_OF[runtime].build(
        source, configuration_of(runtime, quantization=quantization), tmp_path
    )
    weights = BUILDS[runtime, quantization](tmp_path)
    assert len(weights) >= 3
    fits = largest_sum(weights) <= LARGEST
    assert fits == hardware_with(processor).int8_products_saturate
