"""What fork servers import, so that the processes they make need not."""

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tunefront.evaluators import builtin_catalog, stages_folder
from tunefront.evaluators.isolation.preload import (
    PROGRAMS,
    imports_of,
    load_installed,
    open_imports,
    vector_instructions,
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


@pytest.fixture
def detected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Folders in which Inductor detected the instructions, in a cache of the test's own."""
    from torch._inductor import cpu_vec_isa

    found: list[Path] = []
    monkeypatch.setenv("TUNEFRONT_CACHE", str(tmp_path))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    monkeypatch.setattr(
        cpu_vec_isa,
        "pick_vec_isa",
        lambda: found.append(Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])),
    )
    return found


def test_what_detects_instructions_is_compiled_once_for_all_processes(detected: list[Path]) -> None:
    vector_instructions()
    vector_instructions()
    made, *used = detected
    assert made.is_relative_to(stages_folder())
    assert len(used) == 2
    assert used[0] == used[1]
    assert "TORCHINDUCTOR_CACHE_DIR" not in os.environ, "tasks have folders of their own"


def test_a_user_s_own_inductor_cache_is_used(
    detected: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "own")
    vector_instructions()
    assert detected == [Path("own")]


def test_a_detection_that_fails_is_left_to_the_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._inductor import cpu_vec_isa

    def fail() -> None:
        raise RuntimeError("no compiler")

    monkeypatch.setenv("TUNEFRONT_CACHE", str(tmp_path))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    monkeypatch.setattr(cpu_vec_isa, "pick_vec_isa", fail)
    vector_instructions()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
