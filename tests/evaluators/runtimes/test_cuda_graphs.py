"""CUDA graphs: one for each size of request, with stand-ins for those of CUDA."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tests.evaluators.runtimes.conftest import configuration_of, request_of

from tunefront.evaluators.interfaces.torch_tensors import tensors
from tunefront.evaluators.runtimes import cuda_graphs
from tunefront.evaluators.runtimes.base import Built, Source
from tunefront.evaluators.runtimes.cuda_graphs import GraphedModel, model_by, replayed
from tunefront.evaluators.runtimes.inductor.runtime import Inductor
from tunefront.evaluators.runtimes.run_script import opened_by, with_graphs
from tunefront.evaluators.runtimes.torch.runtime import TorchEager, TorchEndpoint
from tunefront.spaces import EvaluationError

MakeSource = Callable[..., Source]


class Recorder:
    """In place of CUDA: what was run during a capture is run again by a replay."""

    def __init__(self) -> None:
        self.captured: list[Any] = []
        self.pools: list[Any] = []
        self.graph: Graph | None = None

    @contextmanager
    def capture(self, graph: "Graph", pool: Any) -> Iterator[None]:
        self.pools.append(pool)
        self.captured.append(graph)
        self.graph = graph
        yield
        self.graph = None

    def model(self, **given: torch.Tensor) -> torch.Tensor:
        """Twice the input; during a capture the graph gets the work and the memory."""
        output = given["x"] * 2
        if self.graph is not None:
            inputs = given["x"]
            self.graph.work = lambda: output.copy_(inputs * 2)
        return output


class Graph:
    """In place of `torch.cuda.CUDAGraph`."""

    def __init__(self) -> None:
        self.work: Callable[[], object] = lambda: None

    def replay(self) -> None:
        self.work()

    def pool(self) -> str:
        return "pool"


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    found = Recorder()
    stream = SimpleNamespace(wait_stream=lambda other: None)

    @contextmanager
    def entered(other: object) -> Iterator[None]:
        yield

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", found.capture)
    monkeypatch.setattr(torch.cuda, "Stream", lambda: stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: stream)
    monkeypatch.setattr(torch.cuda, "stream", entered)
    return found


def test_each_size_is_captured_once_and_replayed_with_the_values_of_the_request(
    recorder: Recorder,
) -> None:
    """All graphs share a pool of memory, that of the first."""
    model = GraphedModel(recorder.model)
    assert not replayed(model)
    for length, value in ((3, 1.0), (5, 2.0), (3, 3.0), (5, 4.0)):
        output = model(x=torch.full((1, length), value))
        assert isinstance(output, torch.Tensor)
        assert output.tolist() == [[2 * value] * length]
    assert len(recorder.captured) == 2
    assert recorder.pools == [None, "pool"]
    assert model.replays == 4
    assert replayed(model)


def test_the_graph_that_was_not_used_for_longest_is_dropped(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_graphs, "MOST_GRAPHS", 2)
    model = GraphedModel(recorder.model)
    for length in (1, 2, 1, 3, 1):
        model(x=torch.ones(length))
    assert len(recorder.captured) == 3
    model(x=torch.ones(2))
    assert len(recorder.captured) == 4


def test_a_model_that_can_not_be_captured_is_unsupported(recorder: Recorder) -> None:
    def waits(**given: torch.Tensor) -> torch.Tensor:
        if recorder.graph is not None:
            raise RuntimeError("operation not permitted when stream is capturing")
        return given["x"]

    with pytest.raises(EvaluationError, match="^CUDA graphs: operation not permitted") as caught:
        GraphedModel(waits)(x=torch.ones(1))
    assert caught.value.cause == "unsupported"


@pytest.mark.parametrize("graphs", [False, True])
def test_the_choice_is_applied_and_read_back(
    graphs: bool, make_source: MakeSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A candidate whose graphs have not run yet has none."""
    chosen = configuration_of("torch", cuda_graphs=graphs)
    settings = TorchEager().build(make_source("flat"), configuration_of("torch"), tmp_path)
    endpoint = TorchEager().open(Built(folder=tmp_path, settings=settings), chosen)
    assert isinstance(endpoint, TorchEndpoint)
    assert endpoint.facts()["cuda_graphs"] is False
    assert isinstance(endpoint._model, GraphedModel) is graphs
    if graphs:
        monkeypatch.setattr(endpoint._model, "replays", 1)
    assert endpoint.facts()["cuda_graphs"] is graphs


def test_without_the_choice_a_model_is_as_it_is() -> None:
    module = torch.nn.Identity()
    assert model_by(configuration_of("torch"), module) is module
    assert not replayed(module)


@pytest.mark.parametrize("runtime", [TorchEager(), Inductor()])
@pytest.mark.parametrize("graphs", [False, True])
def test_an_exports_script_runs_by_graphs_too(
    runtime: TorchEager | Inductor, graphs: bool, tmp_path: Path
) -> None:
    """It contains the code that was measured, and Python reads it."""
    chosen = configuration_of(runtime.name, device="cuda", cuda_graphs=graphs)
    script = runtime.deployment(Built(folder=tmp_path, settings={}), chosen).script
    assert ("return GraphedModel(torch." in script) is graphs
    assert ("class GraphedModel" in script) is graphs
    assert ("run_single_threaded=True" in script) is (graphs and runtime.name == "inductor")
    assert "tunefront" not in script
    (tmp_path / "run.py").write_text(script)
    program = "import run; print(run.load.__doc__)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "as many threads as it was measured with" in done.stdout


def test_lines_are_added_only_where_graphs_are_used() -> None:
    plain = configuration_of("torch", device="cuda")
    assert opened_by(plain, "model") == "model"
    assert with_graphs(plain, "text") == "text"
    given = tensors(request_of(1, 4))
    assert set(given) == {"input_ids", "attention_mask"}
