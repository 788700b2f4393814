"""Copies from a GPU: all begin before one is waited for, and each lies in memory of its own."""

import time
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tunefront.evaluators.interfaces.tensors import TOLERANCE, Tensors
from tunefront.evaluators.runtimes import device_copies
from tunefront.evaluators.runtimes.device_copies import call_on, copy_share, host_arrays


def test_outputs_of_a_processor_are_not_copied() -> None:
    output = torch.arange(6.0).reshape(2, 3)
    assert np.shares_memory(host_arrays(output)[0], output.numpy())
    found = call_on("cpu", lambda given: (given["x"] + 1, given["x"] * 2), {"x": np.ones(3)})
    assert [one.tolist() for one in found] == [[2.0] * 3, [2.0] * 3]


class OnGpu:
    """An output on a GPU, as far as copies see it."""

    is_cuda = True

    def __init__(self, value: float) -> None:
        self.value = value


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the stream does, in order; a copy is complete only when the stream was waited for."""
    found: list[str] = []

    def pinned_copy(output: OnGpu) -> torch.Tensor:
        found.append("copy")
        copy = torch.zeros(1)
        pending.append((copy, output.value))
        return copy

    def wait() -> None:
        found.append("wait")
        for copy, value in pending:
            copy.fill_(value)
        pending.clear()

    pending: list[tuple[torch.Tensor, float]] = []
    monkeypatch.setattr(device_copies, "_pinned_copy", pinned_copy)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: SimpleNamespace(synchronize=wait))
    return found


def test_all_copies_begin_before_the_stream_is_waited_for(events: list[str]) -> None:
    outputs: Any = (OnGpu(1.0), OnGpu(2.0))
    found = host_arrays(outputs)
    assert events == ["copy", "copy", "wait"]
    assert [one.tolist() for one in found] == [[1.0], [2.0]]


def test_the_next_request_does_not_change_the_arrays_of_the_last(events: list[str]) -> None:
    first: Any = [OnGpu(1.0)]
    second: Any = [OnGpu(2.0)]
    kept = host_arrays(first)[0]
    host_arrays(second)
    assert kept.tolist() == [1.0]


def test_the_share_of_copies_is_all_but_the_computation(
    events: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 4 s one is the copy there, two are the computation, one is the copy back."""
    clock = SimpleNamespace(now=0.0)

    def passes(seconds: float) -> None:
        clock.now += seconds

    def tensors(inputs: Mapping[str, Any], device: str) -> Mapping[str, Any]:
        passes(1.0)
        return inputs

    def run(given: Mapping[str, torch.Tensor]) -> Sequence[Any]:
        passes(2.0)
        return [OnGpu(1.0)]

    def copied_back(outputs: Sequence[Any]) -> Sequence[Any]:
        passes(1.0)
        return plain(outputs)

    plain = device_copies.host_arrays
    monkeypatch.setattr(device_copies, "host_arrays", copied_back)
    monkeypatch.setattr(device_copies, "tensors", tensors)
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    assert copy_share("cuda", run, {}) == pytest.approx(0.5)


def test_ids_are_compared_by_the_share_that_differs() -> None:
    scores, tokens = np.ones((2, 50), np.float32), np.arange(100).reshape(2, 50)
    changed = tokens.copy()
    changed[0, 0] = 99
    compare = Tensors().compare
    assert compare([scores, tokens], [scores, changed], TOLERANCE["bf16"]).holds
    found = compare([scores, tokens], [scores, changed], TOLERANCE["fp32"])
    assert not found.holds
    assert found.detail == "largest difference 0.01 of the largest output (allowed 0.001)"
