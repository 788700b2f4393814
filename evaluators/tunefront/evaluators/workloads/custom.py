"""User-defined workloads: Python callables imported from the experiment's folder."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tunefront.evaluators.interfaces.tensors import Inputs, TensorSpec
from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.statistics.estimates import mean_of
from tunefront.evaluators.statistics.measurement import Measurement
from tunefront.spaces import Configuration, WorkloadError
from tunefront.spaces.metric import Metric

from .base import EnoughItems, Run, TensorWorkload
from .outputs import Sample, shortened
from .quality import Quality
from .sequential import SAMPLED
from .sources.callables import call, files_of, scores_of
from .spec import WorkloadSpec

if TYPE_CHECKING:
    import torch


class Custom(TensorWorkload):
    """A workload whose model, requests and quality are Python callables.

    `model()` returns a module whose `forward` takes the inputs by name and returns one tensor, or
    several of which the workload's `output` names one (in bf16 and fp16, floating-point inputs are
    cast to the weights' type and outputs to fp32).
    `inputs(batch_size, count)` returns a list of requests (name to array, batch dimension first).
    `quality(run)` returns one number, or one number per item; `run(request)` returns arrays.
    `samples(run)` is optional and returns a few dicts with the texts `input` and `output`, and
    optionally `expected`, `right`, and `item`, the index among the numbers of `quality`.

    A callable with a parameter `configuration` receives the values of all choices by name, those
    that the experiment declares included.
    """

    task = "custom"

    def __init__(self, spec: WorkloadSpec) -> None:
        self.spec = spec
        self.configuration: Configuration | None = None
        self.architecture = spec.architecture or "other"
        self.metrics = (
            Metric(
                name=spec.metric,
                unit="",
                direction=spec.direction,
                summary=f"what {spec.quality} returns",
            ),
        )

    def configure(self, configuration: Configuration) -> None:
        """Keep the configuration for the callables that receive it."""
        self.configuration = configuration

    def load_module(self) -> "torch.nn.Module":
        """Load the module that the user's callable returns.

        Raises:
            WorkloadError: If the callable does not return a `torch.nn.Module`.
        """
        import torch

        module = self._call(self.spec.model)
        if not isinstance(module, torch.nn.Module):
            raise WorkloadError(
                f"model: {self.spec.model} must return a torch.nn.Module, "
                f"but returned {type(module).__name__}"
            )
        from .modules import with_casts

        return with_casts(module.eval(), self.spec.output)

    def requests(self, batch_size: int, count: int) -> list[Inputs]:
        """Return the requests of the user's callable.

        Raises:
            WorkloadError: If it is not a list of `count` mappings with `batch_size` items each.
        """
        name = str(self.spec.inputs)
        made = self._call(name, batch_size, count)
        if not isinstance(made, list) or len(made) != count:
            raise WorkloadError(f"inputs: {name} must return a list of {count} requests")
        return [self._request(name, batch_size, request) for request in made]

    def _request(self, name: str, batch_size: int, request: object) -> Inputs:
        if not isinstance(request, Mapping) or not request:
            raise WorkloadError(f"inputs: {name} must return mappings of name to array")
        arrays = {str(key): np.asarray(value) for key, value in request.items()}
        for key, array in arrays.items():
            if array.ndim == 0 or len(array) != batch_size:
                raise WorkloadError(
                    f"inputs: {name}({batch_size}, ...): {key!r} must hold {batch_size} items, "
                    f"but has shape {array.shape}"
                )
        return arrays

    @cached_property
    def inputs(self) -> tuple[TensorSpec, ...]:  # type: ignore[override]
        """Inputs inferred from 4 requests of batch size 2; dimensions that differ are dynamic."""
        seen = self.requests(2, 4)
        return tuple(
            TensorSpec(
                name=name,
                dims=(
                    "batch",
                    *(
                        sizes[0] if len(set(sizes)) == 1 else f"{name}_{axis}"
                        for axis, sizes in enumerate(
                            zip(*(request[name].shape[1:] for request in seen), strict=True), 1
                        )
                    ),
                ),
            )
            for name in seen[0]
        )

    def quality(
        self, run: Run, reference: Mapping[str, Array] | None, enough: EnoughItems | None = None
    ) -> Quality:
        """Return the user's metric; of one number per item the mean, with its interval.

        All items are always evaluated: `enough` is not used.

        Raises:
            EvaluationError: If the result is not a finite number or a list of finite numbers (cause
                "invalid output").
        """
        name = str(self.spec.quality)
        items = scores_of(name, self._call(name, run))
        single = Measurement.exact(float(items[0]), "")
        measurement = mean_of(items) if len(items) > 1 else single
        return Quality(
            metrics={self.spec.metric: measurement}, items=items, weights=np.ones_like(items)
        )

    def samples(self, run: Run, quality: Quality) -> Sequence[Sample]:
        """Return the first 12 examples of the user's callable; none if no callable is named.

        Raises:
            WorkloadError: If the result is not a list of valid examples.
        """
        name = self.spec.samples
        if name is None:
            return ()
        made = self._call(name, run)
        if not isinstance(made, list | tuple):
            raise WorkloadError(f"samples: {name} must return a list, not {type(made).__name__}")
        return [_sample(name, place, row) for place, row in enumerate(made[:SAMPLED])]

    def files(self) -> Sequence[Path]:
        """Return the source files of the user's callables."""
        named = (self.spec.model, self.spec.inputs, self.spec.quality, self.spec.samples)
        return files_of([name for name in named if name is not None], self.spec.folder)

    def _call(self, written: str, *arguments: object) -> object:
        return call(written, self.spec.folder, *arguments, configuration=self.configuration)


def _sample(name: str, place: int, row: object) -> Sample:
    """Convert one of the user's examples.

    Raises:
        WorkloadError: If it is not a dict with valid fields.
    """
    fields = dict(row) if isinstance(row, Mapping) else {}
    texts = [fields.get("input"), fields.get("output"), fields.get("expected", "")]
    item, right = fields.get("item", place), fields.get("right")
    usable = all(isinstance(text, str) for text in texts) and isinstance(item, int) and item >= 0
    if not usable or not (right is None or isinstance(right, bool)):
        raise WorkloadError(
            f"samples: {name} must return dicts of texts named input and output (expected, too, if "
            f"known; right as True or False; item as a number from 0), but got {row!r}"
        )
    source, output, expected = (shortened(str(text)) for text in texts)
    return Sample(item=item, input=source, output=output, expected=expected, right=right)
