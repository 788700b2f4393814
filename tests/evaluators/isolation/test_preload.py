"""What fork servers import, so that the processes they make need not."""

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tunefront.evaluators import builtin_catalog
from tunefront.evaluators.isolation.preload import (
    PROGRAMS,
    imports_of,
    load_installed,
    open_imports,
)
from tunefront.evaluators.isolation.process import Isolation
from tunefront.evaluators.isolation.task import Task

HERE = Path(__file__).parents[1]
FEW_MODULES = 60
"""What opening a program may still import in a fresh process; without preloading it is 1,200."""


@pytest.fixture(scope="module")
def isolation() -> Iterator[Isolation]:
    """The steps are found beside this file."""
    with pytest.MonkeyPatch.context() as patch:
        before = os.environ.get("PYTHONPATH")
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(HERE), before])))
        found = Isolation()
        yield found
        found.close()


@pytest.fixture
def task(tmp_path: Path) -> Task[dict[str, Any]]:
    return Task(
        function="preloaded:modules",
        request={},
        result=dict,
        imports=open_imports(builtin_catalog(), "onnxruntime"),
        log=tmp_path / "log",
        timeout_s=60,
    )


def test_a_process_that_opens_a_program_imports_next_to_nothing(
    isolation: Isolation, task: Task[dict[str, Any]], tmp_path: Path
) -> None:
    import torch

    path = tmp_path / "program.pt2"
    program = torch.export.export(torch.nn.Linear(4, 2), (torch.zeros(3, 4),))
    torch.export.save(program, path)
    opening = replace(
        task,
        function="preloaded:opens",
        result=dict,
        imports=open_imports(builtin_catalog(), "torch"),
        request={"program": str(path)},
    )
    found = isolation.run(opening)
    assert found["output"] == [3, 2]
    assert len(found["imported"]) < FEW_MODULES, found["imported"]


def test_what_a_step_needs_is_imported_before_its_process_is_made(
    isolation: Isolation, task: Task[dict[str, Any]]
) -> None:
    assert "colorsys" not in isolation.run(task)["modules"]
    needy = replace(task, needs=("colorsys", "no_such_module"))
    assert "colorsys" in isolation.run(needy)["modules"]
    assert "colorsys" in isolation.run(task)["modules"], "it stays for the next step"


def test_a_library_that_breaks_when_it_is_imported_is_met_by_the_step_alone(
    isolation: Isolation, task: Task[dict[str, Any]]
) -> None:
    assert isolation.run(replace(task, needs=("preloaded_breaks",)))["modules"]


def test_processes_do_not_look_for_garbage_in_what_was_imported(
    isolation: Isolation, task: Task[dict[str, Any]]
) -> None:
    found = isolation.run(task)
    assert found["collects"]
    assert found["tracked"] < 10_000 < found["frozen"]


def test_needs_are_those_of_the_task_and_of_what_is_built() -> None:
    catalog = builtin_catalog()
    assert imports_of(catalog, "custom") == ()
    assert "transformers.modeling_utils" in imports_of(catalog, "causal-lm")
    eager = imports_of(catalog, "custom", catalog.complete({"runtime": "torch"}))
    assert eager == PROGRAMS
    quantized = imports_of(catalog, "custom", catalog.complete({"quantization_bits": 8}))
    assert quantized == (*PROGRAMS, "torchao.quantization")
    chosen = catalog.complete({"runtime": "onnxruntime", "quantization_bits": 8})
    graph = imports_of(catalog, "custom", chosen)
    assert {"onnx", "onnxscript", "torch.onnx"} <= set(graph)
    assert "torchao.quantization" not in graph
    compiled = imports_of(catalog, "custom", catalog.complete({"runtime": "inductor"}))
    assert "torch._inductor.compile_fx" in compiled


def test_what_is_not_installed_is_left_out() -> None:
    load_installed(("no_such_module", "no_such_module:function", "colorsys"))
    assert "colorsys" in sys.modules
