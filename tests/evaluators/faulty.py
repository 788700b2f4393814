"""Steps that go wrong, each in its own way; run by test_isolation.py in fresh processes."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunefront.evaluators.benchmark.turn_channel import TurnClient
from tunefront.spaces import EvaluationError, WorkloadError


def fine(payload: Mapping[str, int]) -> dict[str, object]:
    return {
        "doubled": payload["number"] * 2,
        "pid": os.getpid(),
        "cores": sorted(os.sched_getaffinity(0)),
        "folder": os.getcwd(),
        "set": os.environ.get("SET_FOR_IT"),
        "spins": os.environ.get("GOMP_SPINCOUNT"),
        "modules": [name for name in ("torch", "openvino", "onnxruntime") if name in sys.modules],
    }


def raises(payload: Mapping[str, object]) -> dict[str, object]:
    raise ValueError("something unexpected")


def refuses(payload: Mapping[str, object]) -> dict[str, object]:
    raise EvaluationError("no such kernel", cause="unsupported")


def blames_the_data(payload: Mapping[str, object]) -> dict[str, object]:
    raise WorkloadError("data: row 3 is bad")


def segfaults(payload: Mapping[str, object]) -> dict[str, object]:
    ctypes.string_at(0)
    return {}


def aborts(payload: Mapping[str, object]) -> dict[str, object]:
    os.abort()


def is_killed(payload: Mapping[str, object]) -> dict[str, object]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def leaves(payload: Mapping[str, object]) -> dict[str, object]:
    os._exit(3)


def hangs(payload: Mapping[str, object]) -> dict[str, object]:
    time.sleep(600)
    return {}


def says_who_it_is_and_hangs(payload: Mapping[str, object]) -> dict[str, object]:
    print(os.getpid(), flush=True)
    time.sleep(600)
    return {}


def sits(payload: Mapping[str, Any]) -> dict[str, object]:
    """Takes its turns as it is told: `echo` answers, the others are ways not to."""
    seat = TurnClient(payload["address"], payload["place"])
    words: list[str] = []
    for word in seat.calls():
        if word == "end":
            break
        words.append(word)
        if word == "die" or word == f"die if you are {payload['place']}":
            os.kill(os.getpid(), signal.SIGKILL)
        if word == "fail":
            raise EvaluationError("no such kernel", cause="unsupported")
        if word == "hang":
            time.sleep(600)
        seat.send_reply({"word": word, "place_was": payload["place"], "at": time.monotonic()})
    return {"words": words}


def eats_memory(payload: Mapping[str, object]) -> dict[str, object]:
    block = bytearray(4 * 2**30)
    return {"size": len(block)}


def leaves_a_grandchild(payload: Mapping[str, object]) -> dict[str, object]:
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    return {"grandchild": child.pid}


def leaves_a_tree(payload: Mapping[str, object]) -> dict[str, object]:
    """Leave a process, and one below it in another session."""
    script = "setsid sleep 600 >&2 & echo $!; exec sleep 600 >&2"
    child = subprocess.Popen(["sh", "-c", script], start_new_session=True, stdout=subprocess.PIPE)
    assert child.stdout is not None
    return {"tree": [child.pid, int(child.stdout.readline())]}


def is_killed_with_a_server(payload: Mapping[str, str]) -> dict[str, object]:
    """Start a server with a worker in another session, write their ids to files, and be killed."""
    from tunefront.evaluators.runtimes.server.process import ServerProcess

    script = "setsid sleep 600 & echo $! > w; mv w worker; exec sleep 600"
    cores = sorted(os.sched_getaffinity(0))
    server = ServerProcess(["sh", "-c", f"cd {payload['folder']}; {script}"], 1, cores, os.environ)
    (Path(payload["folder"]) / "server").write_text(str(server.pid))
    while not (Path(payload["folder"]) / "worker").exists():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def chatters(payload: Mapping[str, object]) -> dict[str, object]:
    print('{"id": 0, "status": 0}')
    os.write(1, b"\xff\xfe garbage\n")
    print("last words", file=sys.stderr)
    return {"fine": True}


def writes_much(payload: Mapping[str, int]) -> dict[str, object]:
    """So many bytes, then a last line; then it hangs where it is told to."""
    for _ in range(payload["bytes"] // 1000):
        sys.stdout.write("x" * 999 + "\n")
    print("the end", flush=True)
    time.sleep(payload.get("hang_s", 0))
    return {}


def finds_no_room(payload: Mapping[str, str]) -> dict[str, object]:
    """Half a product, then the disk is full."""
    Path(payload["folder"], "half").write_text("half")
    with Path("/dev/full").open("w") as stream:
        stream.write("the other half")
    return {}


def is_vague_about_a_failure(payload: Mapping[str, object]) -> dict[str, object]:
    raise RuntimeError("file write failed")


def leaves_shared_memory(payload: Mapping[str, str]) -> dict[str, object]:
    """As a process does that is killed: one file in use until its end, one that is not ours."""
    for name in (payload["ours"], payload["other"]):
        Path("/dev/shm", name).write_bytes(b"x" * 4096)
    held = Path("/dev/shm", payload["ours"]).open("rb")  # noqa: SIM115
    if payload["end"] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    return {"held": held.fileno()}


def tells_its_limits(payload: Mapping[str, object]) -> dict[str, object]:
    import resource

    return {"core": resource.getrlimit(resource.RLIMIT_CORE)}


def fills_its_folder(payload: Mapping[str, object]) -> dict[str, object]:
    import tempfile

    with tempfile.NamedTemporaryFile(delete=False) as file:
        file.write(b"left behind")
    return {"file": file.name, "exists": Path(file.name).exists()}
