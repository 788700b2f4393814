"""The conformance suite of runtimes finds outputs that are wrong."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from tunefront.evaluators.interfaces.endpoint import Facts
from tunefront.evaluators.interfaces.tensors import Inputs, TensorEndpoint
from tunefront.evaluators.runtimes.base import Built, Runtime, Source
from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.testing.cases import NotConformant, RuntimeCase, layered_source
from tunefront.evaluators.testing.runtimes import outputs_are_close_at_every_size
from tunefront.spaces import Configuration, detect_hardware

from .conftest import CATALOG


class Constant(Runtime, TensorEndpoint):
    """A runtime, and its endpoint, that returns one value in the right shape."""

    name = "constant"

    def __init__(self, value: float) -> None:
        self.value = value

    def build(
        self, source: Source, configuration: Configuration, folder: Path
    ) -> Mapping[str, object]:
        return {}

    def open(self, built: Built, configuration: Configuration) -> "Constant":
        return self

    def call(self, inputs: Inputs) -> Sequence[Array]:
        return [np.full((len(inputs["input"]), 32), self.value, dtype=np.float32)]

    def facts(self) -> Facts:
        return {}


@pytest.mark.parametrize("value", [1.0, np.nan])
def test_outputs_that_are_wrong_or_no_numbers_are_found(value: float, tmp_path: Path) -> None:
    case = RuntimeCase(
        catalog=CATALOG,
        runtime=Constant(value),
        configuration=CATALOG.complete({}),
        make_source=lambda: layered_source(detect_hardware(), tmp_path),
        folder=tmp_path,
    )
    with pytest.raises(NotConformant, match="must have a cosine of at least 0.999999"):
        outputs_are_close_at_every_size(case)
