"""ONNX Runtime keeps the contract of runtimes."""

import pytest

from .conformance import Conformance, dynamic_differs_from_its_weights, group_size_is_applied
from .conftest import Build, precisions_of


class TestOnnxRuntime(Conformance):
    runtime = "onnxruntime"


@pytest.mark.parametrize("precision", precisions_of("onnxruntime", "w8 dynamic"))
def test_dynamic_quantization_does_more_than_its_weights(build: Build, precision: str) -> None:
    dynamic_differs_from_its_weights(build, "onnxruntime", precision)


def test_the_group_size_is_applied(build: Build) -> None:
    group_size_is_applied(build, "onnxruntime")
