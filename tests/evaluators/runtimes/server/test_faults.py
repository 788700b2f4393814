"""What goes wrong with a server: each cause by its name, with the server's last lines."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest

from tunefront.evaluators.interfaces.generation import GenerationRequest, ServerSpec, generate
from tunefront.evaluators.runtimes.server import runtime as server_runtime
from tunefront.evaluators.runtimes.server.process import ServerProcess
from tunefront.evaluators.testing.generation import EngineCase
from tunefront.spaces import EvaluationError

from .conftest import COMMAND, PROGRAM, ServerCase

ENDED_S = 30.0


def runs(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + ENDED_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def error_of(case: EngineCase) -> EvaluationError:
    """The error of opening a case and generating."""
    with pytest.raises(EvaluationError) as caught, closing(case.open()) as endpoint:
        generate(endpoint, [*case.source.prompts] * 2)
    return caught.value


@pytest.mark.parametrize(
    ("flags", "cause", "message"),
    [
        (
            "--fault exit",
            "crash",
            "the server ended with exit code 1 before it was ready at /health; its last lines: "
            "ValueError: no such checkpoint",
        ),
        (
            "--fault oom",
            "oom",
            "the server ended with exit code 1 before it was ready at /health; its last lines: "
            "ValueError: CUDA out of memory",
        ),
        (
            "--max-num-sequences 7",
            "unsupported",
            "the server ended with exit code 2 before it was ready at /health; its last lines: ",
        ),
        (
            "--fault crash",
            "crash",
            "the server ended with exit code 77 while it served requests; its last lines: "
            "Segmentation fault in kernel 7",
        ),
        (
            "--fault killed",
            "oom",
            "the server ended with signal 9 while it served requests; its last lines: (none)",
        ),
        (
            "--fault interface",
            "unsupported",
            "the server answers, but not in the OpenAI-compatible interface: /v1/models has status "
            '404 Not Found and no list of models: \'{"detail": "Not Found"}\'',
        ),
        (
            "--fault no-stream",
            "exception",
            "a request failed: the response is no stream of events: it has the content type "
            'application/json: {"choices": [{"text": "all at once"}]}',
        ),
        (
            "--texts-only",
            "exception",
            'a request failed: status 422: {"detail": "the prompt must be a string"}',
        ),
        (
            "--fault short",
            "invalid output",
            "a request for 8 tokens returned 4; the engine must generate exactly as many",
        ),
        (
            "--fault many --token-ids",
            "exception",
            "a request failed: the server counts 7 tokens, but has sent 8",
        ),
    ],
)
def test_each_fault_has_its_cause(
    server_case: ServerCase, flags: str, cause: str, message: str
) -> None:
    error = error_of(server_case(flags))
    assert error.cause == cause
    assert str(error).startswith(message), error


def test_the_last_lines_of_a_bad_flag_name_it(server_case: ServerCase) -> None:
    assert "unrecognized arguments: --max-num-sequences 7" in str(
        error_of(server_case("--max-num-sequences 7"))
    )


def test_a_server_that_hangs_is_ended(
    server_case: ServerCase, capfd: pytest.CaptureFixture[str]
) -> None:
    error = error_of(server_case("--fault hang", {"start_s": 1.0}))
    assert error.cause == "timeout"
    assert str(error).startswith(
        "the server was not ready after 1 s: /health was not answered with status 200; set "
        "server.ready and server.start_s"
    )
    assert "the server's last lines:" in capfd.readouterr().err


def test_a_port_that_is_taken_is_an_error(
    server_case: ServerCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server ends by itself, or another one is seen to answer in its place."""
    with closing(server_case("--token-ids").open()) as other:
        port = psutil.Process((other.processes() or [0])[0]).net_connections("tcp")[0].laddr.port
        monkeypatch.setattr(server_runtime, "free_port", lambda: port)
        case = server_case("", {"command": "sleep 1000 {port}"})
        with pytest.raises(EvaluationError, match=f"port {port} is served by a process that") as at:
            case.open()
    assert at.value.cause == "unsupported"


def test_a_program_that_does_not_exist(server_case: ServerCase) -> None:
    case = server_case("", {"command": "/nowhere/serve --port {port}"})
    with pytest.raises(EvaluationError, match="can't be started: /nowhere/serve: No such") as at:
        case.open()
    assert at.value.cause == "unsupported"


def test_a_choice_that_does_not_reach_the_server_is_not_applied(server_case: ServerCase) -> None:
    """A script between drops the flags; the server runs with its defaults."""
    script = f'{sys.executable} {PROGRAM} --model "$1" --port "$2"; true'
    command = f"sh -c '{script}' drops {{model}} {{port}} {{kv}}"
    case = server_case("", {"command": command}, kv="fp8")
    with closing(case.open()) as endpoint:
        facts = endpoint.facts()
    assert "kv" not in facts
    problem = server_runtime.flags_not_applied(case.configuration, facts, case.record)
    assert problem is not None and problem.startswith("kv: fp8 requested, but the process that")


def test_choices_are_read_from_the_environment_too(server_case: ServerCase) -> None:
    command = f"env THE_CACHE={{kv}} {COMMAND.replace('--kv-cache-dtype={kv}', '')}"
    case = server_case("", {"command": command}, kv="fp8", max_num_seqs=2)
    with closing(case.open()) as endpoint:
        facts = endpoint.facts()
    assert facts["kv"] == "fp8" and facts["max_num_seqs"] == 2


def test_a_server_that_ignores_sigterm_and_its_workers_end(
    server_case: ServerCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tunefront.evaluators.runtimes.server.process.STOP_S", 0.2)
    file = tmp_path / "worker"
    endpoint = server_case(f"--ignore-sigterm --pid-of-worker {file}").open()
    worker, pid = int(file.read_text()), (endpoint.processes() or [0])[0]
    assert runs(pid) and runs(worker)
    endpoint.close()
    assert not runs(pid) and not runs(worker)


def test_a_server_and_its_workers_end_with_a_killed_owner(tmp_path: Path) -> None:
    """As after `kill -9` of a trial's process, with nothing that could clean up."""
    file = tmp_path / "worker"
    program = (
        "import os, sys\n"
        "from tunefront.evaluators.runtimes.server.process import ServerProcess\n"
        f"command = ['sh', '-c', 'setsid sleep 1000 & echo $! > {file}; exec sleep 1000']\n"
        "server = ServerProcess(command, 1, [min(os.sched_getaffinity(0))], dict(os.environ))\n"
        "print(server.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdin is not None and owner.stdout is not None
    pid = int(owner.stdout.readline())
    wait_until(lambda: file.exists() and bool(file.read_text().strip()))
    worker = int(file.read_text())
    assert runs(pid) and runs(worker)
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    wait_until(lambda: not runs(pid) and not runs(worker))
    owner.stdin.close()
    owner.stdout.close()


def test_a_server_is_stopped_by_sigterm_first(tmp_path: Path) -> None:
    file = tmp_path / "stopped"
    started = tmp_path / "started"
    script = f"trap 'echo yes > {file}; exit 0' TERM; touch {started}; while :; do sleep 0.01; done"
    cores = [min(os.sched_getaffinity(0))]
    process = ServerProcess(["sh", "-c", script], 1, cores, dict(os.environ))
    wait_until(started.exists)
    process.close()
    assert file.read_text() == "yes\n"


def test_the_port_is_free_afterwards(server_case: ServerCase) -> None:
    with closing(server_case().open()) as endpoint:
        pid = (endpoint.processes() or [0])[0]
        port = psutil.Process(pid).net_connections("tcp")[0].laddr.port
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_a_running_server_is_called_by_its_url(server_case: ServerCase) -> None:
    with closing(server_case("--token-ids").open()) as own:
        expected = generate(own, [GenerationRequest(prompt=(5, 6, 7), new_tokens=4)])
        pid = (own.processes() or [0])[0]
        port = psutil.Process(pid).net_connections("tcp")[0].laddr.port
        case = server_case("", {"command": "", "url": f"http://127.0.0.1:{port}"})
        with closing(case.open()) as endpoint:
            assert endpoint.processes() is None
            found = generate(endpoint, [GenerationRequest(prompt=(5, 6, 7), new_tokens=4)])
        assert [one.tokens for one in found] == [one.tokens for one in expected]
        assert case.runtime.deployment(case.built, case.configuration) is None
    with pytest.raises(EvaluationError, match=f"the server at 127.0.0.1:{port} can't be reached"):
        case.open()


def test_a_key_is_read_from_the_environment(
    server_case: ServerCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {"command": "", "url": "http://127.0.0.1:1", "api_key": "MY_KEY"}
    with pytest.raises(EvaluationError, match="the environment variable MY_KEY is not set"):
        server_case("", keys).open()
    monkeypatch.setenv("MY_KEY", "secret-of-mine")
    case = server_case("", keys)
    assert "secret-of-mine" not in str(case.built.settings)
    with pytest.raises(EvaluationError, match="can't be reached"):
        case.open()


def test_a_workload_without_a_server_has_no_server_runtime(server_case: ServerCase) -> None:
    from dataclasses import replace

    case = server_case()
    bare = replace(case, source=replace(case.source, server=None))
    with pytest.raises(EvaluationError, match="runtime server needs the key workload.server"):
        bare.built  # noqa: B018


def test_a_checkpoint_without_a_tokenizer_is_refused(
    server_case: ServerCase, tmp_path: Path
) -> None:
    from dataclasses import replace

    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "config.json").write_text('{"model_type": "unknown"}')
    case = server_case()
    bare = replace(case, source=replace(case.source, unchanged=tmp_path / "bare"))
    with pytest.raises(EvaluationError, match="the model's tokenizer: ") as caught:
        bare.built  # noqa: B018
    assert caught.value.cause == "unsupported"


def test_a_spec_survives_its_record(server_case: ServerCase) -> None:
    case = server_case("--fault '{\"a\": 1}'")
    assert '{"a": 1}' in ServerSpec(**dict(case.built.settings["server"])).words  # type: ignore[call-overload]
