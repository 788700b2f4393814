"""Runs each evaluation step in a fresh process, which isolates memory, threads and crashes.

One fork server for each import profile (forkserver.py) reduces the cost of a fresh process from the
seconds that imports take to milliseconds.
"""

import contextlib
import itertools
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, cast

from tunefront.evaluators.store.disk import full_folder
from tunefront.spaces import EvaluationError, FailureCause, WorkloadError

Kit = Literal["build", "torch", "inductor", "onnxruntime", "openvino"]

KITS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "build": ("torch", "tunefront.evaluators.pipelines.steps"),
        "torch": (
            "torch",
            "tunefront.evaluators.pipelines.steps",
            "tunefront.evaluators.isolation.preload:programs",
        ),
        "inductor": (
            "torch",
            "tunefront.evaluators.pipelines.steps",
            "tunefront.evaluators.isolation.preload:packages",
        ),
        "onnxruntime": ("numpy", "onnxruntime", "tunefront.evaluators.pipelines.steps"),
        "openvino": ("numpy", "openvino", "tunefront.evaluators.pipelines.steps"),
    }
)
"""Import profiles: the modules that each fork server imports; a function after a colon is called.

Candidates are measured under the profile of their runtime, which imports only what a deployment
would import; all other steps but profiling use `build`.
"""

STEPS_MODULE = "tunefront.evaluators.pipelines.steps"
LOG_LINES = 20
MOST_LOG_BYTES = 64 * 2**20
"""Largest log of a step; a step that writes more is killed."""
KEPT_LOG_BYTES = 256 * 2**10
"""Size of the end of a log that is kept after the step."""
LOG_POLL_S = 1.0
"""Interval in seconds at which the log size of a running step is checked."""
DISK_EXPLAINS: tuple[FailureCause, ...] = ("exception", "crash", "unsupported")
"""Failure causes that are reported as "disk full" if a disk that the step writes to is full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A function call that runs in a fresh process.

    Attributes:
        name: A function of `pipelines/steps.py`, or `module:function`.
        payload: Its argument: plain JSON values.
        kit: The import profile of the fork server that it is forked from.
        needs: Further modules that it imports; the fork server imports each once (preload.py), and
            calls the function named after a colon.
        log: File to which stdout and stderr are appended.
        timeout_s: Seconds after which it is killed, from the call of `Child.result`.
        cores: Its CPU affinity; that of the fork server if empty.
        environment: Environment variables set in addition.
        memory_mb: Limit of its private memory in MB (2**20 bytes); no limit if 0.
    """

    name: str
    payload: Mapping[str, object]
    kit: Kit
    log: Path
    timeout_s: float
    needs: Sequence[str] = ()
    cores: Sequence[int] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    memory_mb: int = 0


class Isolation:
    """Runs steps in fresh processes; `close`, or the exit of this process, kills them all."""

    def __init__(self) -> None:
        self._servers: dict[Kit, _Server] = {}
        self._lock = threading.Lock()

    def run(self, step: Step) -> Mapping[str, Any]:
        """Run a step and return its result.

        Raises:
            EvaluationError: With its cause, if the step failed, crashed or timed out.
            WorkloadError: If the error is in the user's model or data.
        """
        with self.start(step) as child:
            return child.result()

    @contextlib.contextmanager
    def start(self, step: Step) -> "Iterator[Child]":
        """Start a step; when the context closes, its process group is killed."""
        scratch = Path(tempfile.mkdtemp(prefix="tunefront-"))
        try:
            child = self._server(step.kit).start(step, scratch)
            try:
                yield child
            finally:
                child.end()
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
            cut_log(step.log)

    def warm(self, kit: Kit) -> None:
        """Start the fork server of an import profile without waiting for its imports."""
        self._server(kit)

    def close(self) -> None:
        """Stop all fork servers and kill their children."""
        with self._lock:
            for server in self._servers.values():
                server.close()
            self._servers.clear()

    def _server(self, kit: Kit) -> "_Server":
        with self._lock:
            server = self._servers.get(kit)
            if server is not None and not server.alive:
                server.close()
                server = None
            if server is None:
                server = self._servers[kit] = _Server(kit)
            return server


class _Server:
    """Client of one fork server."""

    def __init__(self, kit: Kit) -> None:
        environment = {
            **os.environ,
            "OPENBLAS_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "OPENVINO_TELEMETRY_DISABLE": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "PYTHONUNBUFFERED": "1",
        }
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tunefront.evaluators.isolation.forkserver", *KITS[kit]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
        )
        self._answers: dict[int, queue.Queue[Mapping[str, Any]]] = {}
        self._numbers = itertools.count()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def alive(self) -> bool:
        """Whether the fork server is still running."""
        return self._process.poll() is None

    def start(self, step: Step, scratch: Path) -> "Child":
        """Request a child for a step, with `scratch` as the folder for its files.

        Raises:
            EvaluationError: With the cause "crash", if the fork server has exited.
        """
        number = next(self._numbers)
        self._answers[number] = queue.Queue()
        result = scratch / "result.json"
        work = scratch / "work"
        work.mkdir()
        step.log.parent.mkdir(parents=True, exist_ok=True)
        request = {
            "id": number,
            "step": step.name if ":" in step.name else f"{STEPS_MODULE}:{step.name}",
            "payload": dict(step.payload),
            "needs": list(step.needs),
            "result": str(result),
            "log": str(step.log),
            "scratch": str(work),
            "cores": list(step.cores),
            "environment": dict(step.environment),
            "memory_mb": step.memory_mb,
        }
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise EvaluationError(f"fork server ended: {self._last_words()}", "crash") from error
        return Child(step, result, self._answers[number])

    def close(self) -> None:
        """Stop the fork server, which kills its children; kill it if that takes over 10 s."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # buffered requests that it can't read any more
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join(timeout=10)
        self._errors.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                message = json.loads(line)
                if "id" in message:
                    self._answers[message["id"]].put(message)
        for answers in self._answers.values():
            answers.put({"ended": True})

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").splitlines()
        return " | ".join(lines[-3:])


class Child:
    """A running step."""

    def __init__(self, step: Step, result: Path, answers: "queue.Queue[Mapping[str, Any]]") -> None:
        self._step = step
        self._result = result
        self._answers = answers
        self._pid: int | None = None

    def result(self) -> Mapping[str, Any]:
        """Wait for the result, at most `timeout_s` from now; raises as `Isolation.run` does."""
        deadline = time.monotonic() + self._step.timeout_s
        while True:
            try:
                wait_s = max(0.0, deadline - time.monotonic())
                answer = self._answers.get(timeout=min(wait_s, LOG_POLL_S))
            except queue.Empty:
                self._look()
                if time.monotonic() < deadline:
                    continue
                self.end()
                raise EvaluationError(
                    f"not done after {self._step.timeout_s:g} s (see `timeouts`)", cause="timeout"
                ) from None
            if "pid" in answer:
                self._pid = int(answer["pid"])
            elif "status" in answer:
                self._pid = None
                return self._outcome(int(answer["status"]))
            else:
                raise EvaluationError("fork server ended", cause="crash")

    def check(self) -> None:
        """Raise an error if the step has ended, even successfully, or its log is too large."""
        while not self._answers.empty():
            answer = self._answers.get()
            if "pid" in answer:
                self._pid = int(answer["pid"])
                continue
            self._answers.put(answer)
            self.result()
            raise EvaluationError("ended before its turn", cause="crash")
        self._look()

    def end(self) -> None:
        """Kill the step's process group if it is still running."""
        while not self._answers.empty():
            answer = self._answers.get()
            self._pid = int(answer["pid"]) if "pid" in answer else None
        if self._pid is not None:
            try:
                os.killpg(self._pid, signal.SIGKILL)
            except ProcessLookupError:
                return

    def _look(self) -> None:
        """Kill the step and raise an error if its log exceeds `MOST_LOG_BYTES`."""
        log = self._step.log
        if log.exists() and log.stat().st_size > MOST_LOG_BYTES:
            self.end()
            raise EvaluationError(
                f"wrote more than {MOST_LOG_BYTES / 2**20:g} MB to its log; its end is in {log}",
                cause="crash",
            )

    def _outcome(self, status: int) -> Mapping[str, Any]:
        """Return the result or raise the step's error; see `DISK_EXPLAINS` for full disks."""
        try:
            return self._judged(status)
        except EvaluationError as error:
            full = full_folder(self._written_to()) if error.cause in DISK_EXPLAINS else None
            if full is None:
                raise
            raise EvaluationError(f"no room left in {full}: {error}", cause="disk full") from error

    def _written_to(self) -> list[Path]:
        """Return the folders that the step writes to."""
        folder = self._step.payload.get("folder")
        own = [Path(folder)] if isinstance(folder, str) else []
        return [*own, self._result.parent, self._step.log.parent]

    def _judged(self, status: int) -> Mapping[str, Any]:
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            name = signal.Signals(number).name
            if number == signal.SIGKILL:
                raise EvaluationError("killed by SIGKILL: out of memory, most likely", cause="oom")
            raise EvaluationError(f"crashed with {name}", cause="crash")
        if not self._result.exists():
            code = os.waitstatus_to_exitcode(status)
            raise EvaluationError(f"ended with exit code {code} and no result", cause="crash")
        outcome = json.loads(self._result.read_text())
        if "error" not in outcome:
            return cast(Mapping[str, Any], outcome["result"])
        if outcome["kind"] == "workload":
            raise WorkloadError(outcome["error"])
        raise EvaluationError(outcome["error"], cause=cast(FailureCause, outcome["kind"]))


def last_lines(log: Path, count: int = LOG_LINES) -> list[str]:
    """Return the last lines of a step's log; empty if there is no log."""
    if not log.exists():
        return []
    return log.read_text(errors="replace").splitlines()[-count:]


def cut_log(log: Path, kept: int = KEPT_LOG_BYTES) -> None:
    """Cut a log to its last `kept` bytes; processes that append to it continue at the new end."""
    with contextlib.suppress(OSError), log.open("r+b") as stream:
        size = stream.seek(0, os.SEEK_END)
        if size > kept:
            stream.seek(size - kept)
            end = stream.read()
            stream.seek(0)
            stream.write(end)
            stream.truncate()
