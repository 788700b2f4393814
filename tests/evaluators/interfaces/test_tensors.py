"""The interface `tensors`: recorded outputs and their comparison. test_timing.py times blocks."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tunefront.evaluators.interfaces.builtin import (
    RequestSet,
    read_request_sets,
    write_request_sets,
)
from tunefront.evaluators.interfaces.endpoint import Facts
from tunefront.evaluators.interfaces.load import Load
from tunefront.evaluators.interfaces.tensors import TOLERANCE, Inputs, TensorEndpoint, Tensors
from tunefront.evaluators.statistics.arrays import Array
from tunefront.spaces import EvaluationError, ExportError

TENSORS = Tensors()
REQUEST: Inputs = {"a": np.ones((2, 3), dtype=np.float32), "b": np.zeros((2,), dtype=np.int64)}
RECORDED = [np.array([[1.0, -2.0], [4.0, 0.5]], dtype=np.float32)]


class Constant(TensorEndpoint):
    def __init__(self, output: Array) -> None:
        self.output = output

    def call(self, inputs: Inputs) -> Sequence[Array]:
        return [self.output]

    def facts(self) -> Facts:
        return {}


def test_requests_are_written_and_read(tmp_path: Path) -> None:
    made = RequestSet(interface=TENSORS, load=Load(), requests=[REQUEST, REQUEST])
    write_request_sets([made], tmp_path)
    again = read_request_sets(tmp_path)[""]
    assert len(again.requests) == 2
    for name, array in REQUEST.items():
        np.testing.assert_array_equal(again.requests[1][name], array)
    assert again.size(0).items == 4
    assert again.parts == 1


def test_a_sample_is_written_and_read(tmp_path: Path) -> None:
    TENSORS.write_sample(REQUEST, RECORDED, tmp_path)
    inputs, outputs = TENSORS.read_sample(tmp_path)
    assert inputs.keys() == REQUEST.keys()
    np.testing.assert_array_equal(outputs[0], RECORDED[0])
    (tmp_path / "samples.npz").write_bytes(b"no archive")
    with pytest.raises(ExportError, match=r"samples\.npz can't be read"):
        TENSORS.read_sample(tmp_path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_output_that_is_not_finite_is_an_error(value: float) -> None:
    with pytest.raises(EvaluationError, match="NaN or infinite") as caught:
        TENSORS.respond(Constant(np.array([1.0, value], dtype=np.float32)), REQUEST)
    assert caught.value.cause == "invalid output"


@pytest.mark.parametrize(
    ("now", "precision", "holds"),
    [
        (RECORDED[0], "fp32", True),
        (RECORDED[0] + 0.003, "fp32", True),  # of the largest output, 4
        (RECORDED[0] + 0.005, "fp32", False),
        (RECORDED[0] + 0.1, "bf16", True),
        (RECORDED[0] + 0.2, "bf16", False),
        (np.full_like(RECORDED[0], np.nan), "fp32", False),
        (RECORDED[0][:1], "fp32", False),
    ],
)
def test_outputs_are_compared_by_their_largest_difference(
    now: Array, precision: str, holds: bool
) -> None:
    assert TENSORS.compare(RECORDED, [now], TOLERANCE[precision]).holds is holds


def test_another_number_of_outputs_is_a_difference() -> None:
    found = TENSORS.compare(RECORDED, [], TOLERANCE["fp32"])
    assert (found.holds, found.detail) == (False, "0 outputs, recorded 1")
