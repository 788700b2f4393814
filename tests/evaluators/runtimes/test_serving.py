"""serve.py in a clean process, asked over HTTP, for real."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import numpy as np
import pytest

from tunefront.evaluators.evaluation.built import CandidateRecord
from tunefront.evaluators.exports.folder import (
    RUN_SCRIPT,
    write_recorded_outputs,
    write_server,
)
from tunefront.evaluators.exports.open import deployment_of
from tunefront.evaluators.interfaces.builtin import interface_of
from tunefront.evaluators.runtimes.base import Source
from tunefront.spaces import detect_hardware

from .conftest import INPUTS, RUNTIME_OF, configuration_of, request_of

TENSORS = interface_of("tensors")

START_S = 90


class Server:
    """An export's serve.py as its users start it."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        self.log = folder.parent / f"{folder.name}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-I", folder / "serve.py", "--port", str(port), *arguments],
                stdout=log,
                stderr=log,
                cwd="/",
            )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with urlopen(f"{self.address}/health", timeout=5):
                    return
            except (URLError, OSError):
                time.sleep(0.1)
        raise TimeoutError(self.log.read_text())

    def health(self) -> Any:
        with urlopen(f"{self.address}/health", timeout=30) as answer:
            return json.load(answer)

    def predict(self, body: bytes) -> tuple[int, Any]:
        headers = {"Content-Type": "application/json"}
        request = Request(f"{self.address}/predict", body, headers, method="POST")
        try:
            with urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except HTTPError as error:
            with error:
                return error.code, json.load(error)


@pytest.fixture(scope="module", params=["torch", "onnxruntime"])
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, Server]]:
    """A folder like an export's, and its server."""
    from .conftest import calibration, flat

    folder = tmp_path_factory.mktemp(str(request.param))
    shared = tmp_path_factory.mktemp("shared")

    def made(name: str, fill: Callable[[Path], None]) -> Path:
        (shared / name).mkdir()
        fill(shared / name)
        return shared / name

    source = Source(
        module=cache(flat),
        inputs=INPUTS,
        calibration=calibration(),
        shared=made,
        hardware=detect_hardware(),
    )
    settings = RUNTIME_OF[request.param].build(source, configuration_of(request.param), folder)
    record = CandidateRecord(
        configuration=configuration_of(request.param),
        settings=settings,
        parameters=1,
        reference_parameters=1,
    )
    record.write(folder)
    script = deployment_of(folder, record).script
    (folder / RUN_SCRIPT).write_text(script + TENSORS.sample_script())
    write_server(folder, INPUTS, request_of(2, 16))
    write_recorded_outputs(folder, TENSORS, request_of(2, 16))
    server = Server(folder)
    yield folder, server
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(timeout=30) in (0, -signal.SIGTERM), server.log.read_text()


def test_it_says_what_it_serves(served: tuple[Path, Server]) -> None:
    health = served[1].health()
    assert health["status"] == "ok"
    number = {"dtype": "int64", "shape": ["batch", "sequence"], "most_numbers": 64 * 2 * 16}
    assert health["inputs"] == {"input_ids": number, "attention_mask": number}


def test_its_answer_is_what_was_recorded(served: tuple[Path, Server]) -> None:
    folder, server = served
    example = subprocess.run(
        [sys.executable, "-I", folder / "serve.py", "--example"], capture_output=True, check=True
    )
    before = server.health()["answered"]
    status, answer = server.predict(example.stdout)
    assert status == 200, answer
    (recorded,) = TENSORS.read_sample(folder)[1]
    (output,) = answer["outputs"]
    np.testing.assert_allclose(np.array(output, dtype=np.float32), recorded, rtol=1e-5, atol=1e-6)
    assert server.health()["answered"] == before + 1


def test_another_batch_and_length_are_fine(served: tuple[Path, Server]) -> None:
    request = {name: array.tolist() for name, array in request_of(3, 7).items()}
    status, answer = served[1].predict(json.dumps({"inputs": request}).encode())
    assert status == 200, answer
    assert np.array(answer["outputs"][0]).shape == (3, 32)


@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        (b"not json", 422, "the body must be JSON"),
        (b'{"inputs": {"input_ids": [[1]]}}', 422, "the inputs must be attention_mask, input_ids"),
        (
            b'{"inputs": {"input_ids": [[1, 2]], "attention_mask": [[1]]}}',
            422,
            "inputs.attention_mask: shape (batch, sequence) is needed, but got (1, 1) "
            "(sequence is 2 in input_ids)",
        ),
        (b'"' + b"x" * 2**24 + b'"', 413, "the body is too large; 327,680 bytes are the most"),
    ],
)
def test_bad_requests_are_told_and_do_no_harm(
    served: tuple[Path, Server], body: bytes, status: int, why: str
) -> None:
    server = served[1]
    found, told = server.predict(body)
    assert found == status
    assert told["detail"].startswith(why)
    assert server.health()["status"] == "ok"


def test_only_this_machine_can_ask_unless_told_otherwise(served: tuple[Path, Server]) -> None:
    import psutil

    (listening,) = [
        connection
        for connection in psutil.Process(served[1].process.pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening.laddr.ip == "127.0.0.1"


def test_serving_leaves_nothing_in_the_folder(served: tuple[Path, Server]) -> None:
    known = {"run.py", "serve.py", "connections.py", "inputs.json", "samples.npz"}
    left = {path.name for path in served[0].iterdir()} - known
    assert left <= {"candidate.json", "model.pt2", "model.onnx"}


def test_scripts_hold_the_same_loading(served: tuple[Path, Server]) -> None:
    folder = served[0]
    assert "def load():" in (folder / "run.py").read_text()
    assert 'module_in(HERE, "run")' in (folder / "serve.py").read_text()


@pytest.mark.parametrize("runtime", [*RUNTIME_OF, "sharded"])
def test_every_script_opens_and_runs(runtime: str) -> None:
    import ast

    ranks = 2 if runtime == "sharded" else 1
    record = CandidateRecord(
        configuration=configuration_of(
            "torch" if runtime == "sharded" else runtime, tensor_parallel=ranks
        ),
        settings={"options": {}},
        parameters=1,
        reference_parameters=1,
    )
    deployment = deployment_of(Path(), record)
    assert bool(deployment.not_served) is (runtime == "sharded")
    body = ast.parse(deployment.script + TENSORS.sample_script()).body
    functions = {f.name: len(f.args.args) for f in body if isinstance(f, ast.FunctionDef)}
    assert functions.items() >= {"load": 0, "run": 2}.items()
    assert ast.unparse(body[-1]).startswith("if __name__ == '__main__':")
