"""A model on a GPU, run by CUDA graphs: all kernels of a request are launched by one call.

A graph is for requests of one size. It is captured when the first request of a size comes, and
reads and writes the same memory every time. Exports contain this code.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from tunefront.evaluators.runtimes.device_copies import Outputs
from tunefront.evaluators.runtimes.run_script import by_graphs
from tunefront.spaces import Configuration, EvaluationError

MOST_GRAPHS = 64
"""Sizes of requests whose graphs are kept; the one that was not used for longest is dropped."""
WARM_UPS = 3
"""Requests before a capture, in which libraries choose kernels and take workspaces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedRequest:
    """The graph of a request, and the memory that it reads and writes."""

    graph: Any
    inputs: dict[str, torch.Tensor]
    outputs: Outputs


class GraphedModel:
    """Runs a model by CUDA graphs; an output is valid until the next request.

    Args:
        model: Returns outputs on the GPU for named tensors there, without waiting for the GPU.
    """

    def __init__(self, model: Callable[..., Outputs]) -> None:
        self._model = model
        self._graphs: OrderedDict[tuple[Any, ...], CapturedRequest] = OrderedDict()
        self._pool: Any = None
        self.replays = 0

    def __call__(self, **given: torch.Tensor) -> Outputs:
        """Run one request.

        Raises:
            EvaluationError: If the model can't be captured (cause "unsupported").
        """
        size = tuple((name, tensor.dtype, *tensor.shape) for name, tensor in given.items())
        if size not in self._graphs:
            if len(self._graphs) >= MOST_GRAPHS:
                self._graphs.popitem(last=False)
            self._graphs[size] = self._captured(given)
        self._graphs.move_to_end(size)
        found = self._graphs[size]
        for name, tensor in given.items():
            found.inputs[name].copy_(tensor)
        found.graph.replay()
        self.replays += 1
        return found.outputs

    def _captured(self, given: dict[str, torch.Tensor]) -> CapturedRequest:
        """Capture the graph of requests of a size; graphs share memory, since none overlap."""
        inputs = {name: tensor.clone() for name, tensor in given.items()}
        stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                self._model(**inputs)
        torch.cuda.current_stream().wait_stream(stream)
        graph: Any = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self._pool):
                outputs = self._model(**inputs)
        except Exception as error:  # torch raises many types; all mean: it can't be captured
            raise EvaluationError(f"CUDA graphs: {error}", cause="unsupported") from error
        self._pool = graph.pool()
        return CapturedRequest(graph=graph, inputs=inputs, outputs=outputs)


def model_by(configuration: Configuration, model: Callable[..., Any]) -> Callable[..., Any]:
    """Return a model that runs as the configuration demands: by CUDA graphs, or as it is."""
    return GraphedModel(model) if by_graphs(configuration) else model


def replayed(model: object) -> bool:
    """Return whether a model has run requests by CUDA graphs."""
    return isinstance(model, GraphedModel) and model.replays > 0
