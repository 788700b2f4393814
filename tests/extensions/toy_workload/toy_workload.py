"""A task of a user: a small network that has learned to add the first two of four numbers."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tunefront.evaluators.interfaces.tensors import Inputs, TensorSpec
from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.statistics.estimates import mean_of
from tunefront.evaluators.workloads.base import EnoughItems, Run, TensorWorkload
from tunefront.evaluators.workloads.quality import Quality
from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import Extension, Metric

if TYPE_CHECKING:
    import torch

ITEMS = 64

EXTENSION = Extension(name="addition", provides={"workload": "toy_workload:Addition"})


def numbers(seed: int, count: int) -> Array:
    """Return rows of four numbers."""
    return np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)


class Addition(TensorWorkload):
    """A network that adds the first two numbers; quality is how near it comes."""

    task = "addition"
    architecture = "other"
    metrics = (
        Metric(
            name="closeness",
            unit="",
            direction="maximize",
            summary="mean of 1 / (1 + absolute error)",
        ),
    )
    inputs = (TensorSpec(name="input", dims=("batch", 4)),)

    def __init__(self, spec: WorkloadSpec) -> None:
        self.spec = spec

    def load_module(self) -> "torch.nn.Module":
        """Return the network; its weights are written down instead of learned."""
        import torch

        torch.manual_seed(0)
        enter, middle, leave = (
            torch.nn.Linear(4, 16),
            torch.nn.Linear(16, 16),
            torch.nn.Linear(16, 1),
        )
        with torch.no_grad():
            for layer in (enter, middle, leave):
                layer.weight.mul_(0.01)
                layer.bias.zero_()
            # Two channels carry the positive and the negative part of the sum.
            for channel, sign in enumerate((1.0, -1.0)):
                enter.weight[channel, :2] = sign
                middle.weight[channel, channel] = 1.0
                leave.weight[0, channel] = sign
        relu = torch.nn.ReLU()
        return torch.nn.Sequential(enter, relu, middle, torch.nn.ReLU(), leave).eval()

    def requests(self, batch_size: int, count: int) -> list[Inputs]:
        """Return random numbers, the same at every call."""
        return [{"input": numbers(seed, batch_size)} for seed in range(count)]

    def quality(
        self, run: Run, reference: Mapping[str, Array] | None, enough: EnoughItems | None = None
    ) -> Quality:
        """Compare with the sums, all items at once."""
        rows = numbers(1000, ITEMS)
        outputs = run({"input": rows})[0][:, 0]
        items = (1 / (1 + np.abs(outputs - rows[:, 0] - rows[:, 1]))).astype(np.float64)
        return Quality(
            metrics={"closeness": mean_of(items)}, items=items, weights=np.ones_like(items)
        )

    def files(self) -> tuple[Path, ...]:
        """Return this file: the weights are written in it."""
        return (Path(__file__),)
