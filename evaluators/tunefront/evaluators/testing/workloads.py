"""The conformance suite of workloads whose model is a torch module."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from tunefront.evaluators.interfaces.tensors import Inputs
from tunefront.evaluators.interfaces.torch_tensors import tensors
from tunefront.evaluators.pipelines.tasks.workload_check import starts_with
from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.workloads.base import TensorWorkload

from .cases import NotConformant


@dataclass(frozen=True)
class WorkloadCase:
    """A workload with its module, loaded when it is first needed.

    Attributes:
        workload: The workload.
    """

    workload: TensorWorkload

    @cached_property
    def module(self) -> torch.nn.Module:
        """The reference module."""
        return self.workload.load_module()

    def run(self, request: Inputs) -> Sequence[Array]:
        """Run the module on a request."""
        with torch.inference_mode():
            return [self.module(**tensors(request)).numpy()]


def the_module_is_fp32_on_the_cpu_in_eval_mode(case: WorkloadCase) -> None:
    """`load_module` returns an fp32 module on the CPU in eval mode.

    Raises:
        NotConformant: If it does not.
    """
    floats = [p for p in case.module.parameters() if p.is_floating_point()]
    if {p.dtype for p in floats} - {torch.float32} or {p.device.type for p in floats} - {"cpu"}:
        raise NotConformant("load_module() must return a module in fp32 on the CPU")
    if any(part.training for part in case.module.modules()):
        raise NotConformant("load_module() must return a module in eval mode; call .eval()")


def requests_have_the_declared_shape(case: WorkloadCase) -> None:
    """`requests` returns as many requests of as many items as requested, named as `inputs`.

    Raises:
        NotConformant: If it does not.
    """
    named = [spec.name for spec in case.workload.inputs]
    for batch_size, count in ((1, 1), (3, 2)):
        made = case.workload.requests(batch_size, count)
        if len(made) != count or any(set(request) != set(named) for request in made):
            raise NotConformant(
                f"requests({batch_size}, {count}) must return {count} requests with the arrays "
                f"{named}, but returned {[list(request) for request in made]}"
            )
        for request in made:
            for name, array in request.items():
                if len(array) != batch_size:
                    raise NotConformant(
                        f"requests({batch_size}, {count}): {name} must hold {batch_size} items, "
                        f"but has shape {array.shape}"
                    )


def requests_are_the_same_at_every_call(case: WorkloadCase) -> None:
    """Two calls of `requests` return the same arrays.

    Raises:
        NotConformant: If they differ.
    """
    first, second = (case.workload.requests(2, 2) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        if any(not np.array_equal(one[name], other[name]) for name in one):
            raise NotConformant("requests() must return the same arrays at every call")


def every_batch_size_has_the_same_items(case: WorkloadCase) -> None:
    """Requests of any batch size hold the same items in the same order, if their sizes vary.

    Raises:
        NotConformant: If they do not.
    """
    narrow, wide = case.workload.requests(2, 1)[0], case.workload.requests(4, 1)[0]
    if case.workload.sizes_vary and not starts_with(narrow, wide):
        raise NotConformant(
            "requests() must return the same items for every batch size, cut into batches: "
            "requests(4, 1) does not start with the items of requests(2, 1)"
        )


def the_module_returns_one_finite_tensor(case: WorkloadCase) -> None:
    """The module takes a request by name and returns one finite fp32 tensor, a row per item.

    Raises:
        NotConformant: If it does not.
    """
    output = case.run(case.workload.requests(3, 1)[0])[0]
    if output.dtype != np.float32 or len(output) != 3 or not np.isfinite(output).all():
        raise NotConformant(
            "the module must return one finite float32 tensor with a row for each item, but "
            f"returned {output.dtype} of shape {output.shape}"
        )


def quality_reports_the_declared_metrics(case: WorkloadCase) -> None:
    """`quality` reports every metric of `metrics`, with as many weights as items.

    Raises:
        NotConformant: If it does not.
    """
    found = case.workload.quality(case.run, None)
    declared = {metric.name for metric in case.workload.metrics}
    if not set(found.metrics) <= declared or case.workload.primary.name not in found.metrics:
        raise NotConformant(
            f"quality() must report the metrics {sorted(declared)}, but reports "
            f"{sorted(found.metrics)}"
        )
    if len(found.items) != len(found.weights):
        raise NotConformant(
            f"quality() must return a weight for each item, but returned {len(found.items)} items "
            f"and {len(found.weights)} weights"
        )


WORKLOAD_CHECKS: tuple[Callable[[WorkloadCase], None], ...] = (
    the_module_is_fp32_on_the_cpu_in_eval_mode,
    requests_have_the_declared_shape,
    requests_are_the_same_at_every_call,
    every_batch_size_has_the_same_items,
    the_module_returns_one_finite_tensor,
    quality_reports_the_declared_metrics,
)
