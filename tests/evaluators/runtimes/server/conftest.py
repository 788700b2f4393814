"""A small server as a candidate: the command of `tiny_server.py` with some flags."""

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tunefront.evaluators import WorkloadSpec, catalog_of
from tunefront.evaluators.exports.open import runtime_of
from tunefront.evaluators.interfaces.generation import ServerSpec
from tunefront.evaluators.runtimes.base import Source
from tunefront.evaluators.testing.cases import kept_below
from tunefront.evaluators.testing.generation import EngineCase
from tunefront.evaluators.workloads.text_generation.workload import TextGeneration
from tunefront.spaces import Value, detect_hardware

PROGRAM = Path(__file__).with_name("tiny_server.py")
COMMAND = (
    f"{sys.executable} {PROGRAM} --model {{model}} --port {{port}} "
    "--max-num-seqs {max_num_seqs} --kv-cache-dtype={kv}"
)
DECLARED: dict[str, dict[str, object]] = {
    "max_num_seqs": {"values": [1, 2, 4], "stage": "execution"},
    "kv": {"values": ["auto", "fp8"], "stage": "execution"},
}
CATALOG = catalog_of((), DECLARED)
ServerCase = Callable[..., EngineCase]


@pytest.fixture
def server_case(chat_spec: WorkloadSpec, tmp_path: Path) -> ServerCase:
    """Returns a case with further flags of the server, keys of the workload, and choices."""

    def make(flags: str = "", keys: dict[str, Any] | None = None, **choices: Value) -> EngineCase:
        server = ServerSpec(**{"command": f"{COMMAND} {flags}", "start_s": 60.0, **(keys or {})})
        workload = TextGeneration(replace(chat_spec, server=server))
        (tmp_path / "built").mkdir(exist_ok=True)
        return EngineCase(
            catalog=CATALOG,
            runtime=runtime_of(CATALOG, "server"),
            configuration=CATALOG.complete({"runtime": "server", **choices}),
            source=Source(
                module=workload.load_module,
                shared=partial(kept_below, tmp_path / "shared"),
                hardware=detect_hardware(),
                prompts=workload.requests(1, 4),
                unchanged=workload.checkpoint(),
                server=server,
            ),
            folder=tmp_path / "built",
        )

    return make
