"""No process that forks calls CUDA, whatever libraries it imports."""

import os
from pathlib import Path
from typing import Any

import pytest

from tunefront.evaluators import builtin_catalog
from tunefront.evaluators.isolation.preload import (
    BUILD_IMPORTS,
    imports_of,
    open_imports,
    vector_instructions,
)
from tunefront.evaluators.isolation.process import Isolation
from tunefront.evaluators.isolation.task import Task

HERE = Path(__file__).parents[1]


def test_fork_servers_import_everything_without_a_call_of_cuda(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that any fork server imports, in one whose torch records calls of CUDA."""
    before = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(HERE), before])))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    monkeypatch.setenv("TUNEFRONT_CACHE", str(tmp_path))
    catalog = builtin_catalog()
    on_gpus = [
        name
        for name in catalog.names("runtime")
        if "cuda" in (catalog.extension(name).supports.get("device") or ())
    ]
    assert {"torch", "inductor", "transformers"} <= set(on_gpus)
    opened = [name for runtime in on_gpus for name in open_imports(catalog, runtime)]
    built = [
        name
        for runtime in on_gpus
        for task in catalog.names("workload")
        for name in imports_of(
            catalog, task, catalog.complete({"runtime": runtime, "quantization_bits": 8})
        )
    ]
    task = Task(
        function="cuda_probes:calls",
        request={},
        result=dict[str, Any],
        imports=("cuda_probes:patch", *dict.fromkeys([*BUILD_IMPORTS, *opened])),
        needs=tuple(dict.fromkeys(built)),
        log=tmp_path / "log",
        timeout_s=120,
    )
    isolation = Isolation()
    try:
        found = isolation.run(task)
    finally:
        isolation.close()
    assert {"torch", "torchao", "transformers"} <= set(found["modules"])
    assert found["toolkit"]
    assert found["control"], "the probes do not record"
    assert found["calls"] == []


def test_a_process_with_gpus_detects_no_vector_instructions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-made-up")
    monkeypatch.setattr("tunefront.evaluators.isolation.preload.Store", None)
    monkeypatch.setattr("torch._inductor.cpu_vec_isa.pick_vec_isa", None)
    vector_instructions()
