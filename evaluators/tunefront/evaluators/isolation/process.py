"""Each evaluation step in a process of its own: its memory, its threads, its crash.

A fork server for every kit of libraries (forkserver.py) makes a fresh process cost milliseconds
instead of the seconds that importing takes.
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
"""What a fork server has imported: for measuring only what a deployment would import."""

STEPS_MODULE = "tunefront.evaluators.pipelines.steps"
LOG_LINES = 20
MOST_LOG_BYTES = 64 * 2**20
"""What a step may write to its log."""
KEPT_LOG_BYTES = 256 * 2**10
"""The end of a log that stays."""
LOG_POLL_S = 1.0
"""How often the log of a step under way is looked at."""
DISK_EXPLAINS: tuple[FailureCause, ...] = ("exception", "crash", "unsupported")
"""Causes that are doubted where a disk that the step writes to is full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to do in a fresh process.

    Attributes:
        name: A function of `steps.py`, or `module:function`.
        payload: Its argument, plain JSON values.
        kit: The libraries it needs.
        needs: Modules that it imports beside them; its fork server does so once (preload.py), and
            calls what stands after a colon.
        log: Where its output goes.
        timeout_s: When it is ended.
        cores: The cores it may use; all where empty.
        environment: Variables set for it.
        memory_mb: Limit of its private memory; none where 0.
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
    """Runs steps in fresh processes; `close` (or the end of this process) ends them all."""

    def __init__(self) -> None:
        self._servers: dict[Kit, _Server] = {}
        self._lock = threading.Lock()

    def run(self, step: Step) -> Mapping[str, Any]:
        """The step's result.

        Raises:
            EvaluationError: With its cause, where the step failed, crashed or hung.
            WorkloadError: Where the user's model or data is at fault.
        """
        with self.start(step) as child:
            return child.result()

    @contextlib.contextmanager
    def start(self, step: Step) -> "Iterator[Child]":
        """A step under way; whatever is left of it at the end is killed."""
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
        """Start the fork server of a kit, without waiting for its imports."""
        self._server(kit)

    def close(self) -> None:
        """End all fork servers and their children."""
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
    """The client's side of one fork server."""

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
        """Whether it still serves."""
        return self._process.poll() is None

    def start(self, step: Step, scratch: Path) -> "Child":
        """Ask for a child."""
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
        """End it and its children."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # a dead one does not read what is left
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
    """A step under way."""

    def __init__(self, step: Step, result: Path, answers: "queue.Queue[Mapping[str, Any]]") -> None:
        self._step = step
        self._result = result
        self._answers = answers
        self._pid: int | None = None

    def result(self) -> Mapping[str, Any]:
        """Wait for the end, for the step's time from now; see `Isolation.run` for the errors."""
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
        """Raise what `result` would, if it has ended."""
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
        """Kill it, if it is still there."""
        while not self._answers.empty():
            answer = self._answers.get()
            self._pid = int(answer["pid"]) if "pid" in answer else None
        if self._pid is not None:
            try:
                os.killpg(self._pid, signal.SIGKILL)
            except ProcessLookupError:
                return

    def _look(self) -> None:
        """End it where it writes more than a log may hold."""
        log = self._step.log
        if log.exists() and log.stat().st_size > MOST_LOG_BYTES:
            self.end()
            raise EvaluationError(
                f"wrote more than {MOST_LOG_BYTES / 2**20:g} MB to its log; its end is in {log}",
                cause="crash",
            )

    def _outcome(self, status: int) -> Mapping[str, Any]:
        """The result, or what the step ended with; a full disk explains every other end."""
        try:
            return self._judged(status)
        except EvaluationError as error:
            full = full_folder(self._written_to()) if error.cause in DISK_EXPLAINS else None
            if full is None:
                raise
            raise EvaluationError(f"no room left in {full}: {error}", cause="disk full") from error

    def _written_to(self) -> list[Path]:
        """The folders that the step writes to."""
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
    """The end of a step's output; empty where there was none."""
    if not log.exists():
        return []
    return log.read_text(errors="replace").splitlines()[-count:]


def cut_log(log: Path, kept: int = KEPT_LOG_BYTES) -> None:
    """Cut a log to its last bytes; whoever still writes to it goes on at its new end."""
    with contextlib.suppress(OSError), log.open("r+b") as stream:
        size = stream.seek(0, os.SEEK_END)
        if size > kept:
            stream.seek(size - kept)
            end = stream.read()
            stream.seek(0)
            stream.write(end)
            stream.truncate()
