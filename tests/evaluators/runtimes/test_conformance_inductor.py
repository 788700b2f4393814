"""AOTInductor keeps the contract of runtimes."""

import pytest

from .conformance import (
    Conformance,
    dynamic_differs_from_its_weights,
    most_sensitive_layers_stay_unquantized,
)
from .conftest import Build, precisions_of


class TestInductor(Conformance):
    runtime = "inductor"


@pytest.mark.soak
@pytest.mark.parametrize("precision", precisions_of("inductor", "w8 dynamic"))
def test_dynamic_quantization_does_more_than_its_weights(build: Build, precision: str) -> None:
    dynamic_differs_from_its_weights(build, "inductor", precision)


@pytest.mark.soak
@pytest.mark.parametrize("quantization", ["w8 rtn", "w8 dynamic"])
def test_the_most_sensitive_layers_stay_unquantized(build: Build, quantization: str) -> None:
    most_sensitive_layers_stay_unquantized(build, "inductor", quantization)
