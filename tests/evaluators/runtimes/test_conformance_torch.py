"""PyTorch eager keeps the contract of runtimes."""

import pytest

from .conformance import (
    Conformance,
    dynamic_differs_from_its_weights,
    group_size_is_applied,
    most_sensitive_layers_stay_unquantized,
)
from .conftest import Build, precisions_of


class TestTorch(Conformance):
    runtime = "torch"


@pytest.mark.parametrize(
    "precision",
    [
        pytest.param(one, marks=[pytest.mark.soak] if one == "fp32" else [])
        for one in precisions_of("torch", "w8 dynamic")
    ],
)
def test_dynamic_quantization_does_more_than_its_weights(build: Build, precision: str) -> None:
    dynamic_differs_from_its_weights(build, "torch", precision)


def test_the_group_size_is_applied(build: Build) -> None:
    group_size_is_applied(build, "torch")


@pytest.mark.parametrize(
    "quantization", ["w8 rtn", pytest.param("w8 dynamic", marks=pytest.mark.soak)]
)
def test_the_most_sensitive_layers_stay_unquantized(build: Build, quantization: str) -> None:
    most_sensitive_layers_stay_unquantized(build, "torch", quantization)
