"""The night's side of Ray: starts the process that holds it, watches it, ends all it started.

Ray's own ends are hard: without its raylet a driver hangs, without its GCS the driver's process is
ended, and its handlers abort on SIGTERM. So Ray lives in a child process (service.py); the night
sees within seconds that it is gone, starts another, and runs again what was under way.
"""

import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import psutil

from tunefront.evaluators import Evaluation
from tunefront.spaces import ClusterError

from .channel import Wire
from .jobs import Job, TurnsJob
from .nodes import Node, NodePool, places_of

RUN_JOB = "tunefront.search.cluster.jobs:run_job"
TAG = "TUNEFRONT_NIGHT"
"""Marks every process of a search, in its environment, so that none is left behind."""
RAY_START_S = 180.0
SILENCE_S = 120.0
"""Without a sign of life for so long, Ray counts as gone."""
SUPERVISOR_POLL_S = 1.0
LONGEST_FOLDER = 42
"""Ray's sockets lie below its folder, and the path of a socket has at most 107 bytes."""


class HostLost(Exception):
    """Ray is gone, with what was running on it."""


class Jobs(Protocol):
    """Where jobs come from, and where results go."""

    def waiting(self) -> bool:
        """Whether nothing may start yet."""
        ...

    def next_job(self) -> Job | None:
        """The next trial; None at the end."""
        ...

    def tell(self, number: int, evaluation: Evaluation) -> None:
        """Record how a trial ended."""
        ...

    def lost(self, number: int) -> None:
        """A trial's worker or node is gone; nothing is known of the trial."""
        ...


class Host:
    """Ray for one search, in a process of its own, while the context lasts.

    Args:
        folder: The search's folder; Ray's files and log go below it.
        cores: Cores that trials may ask for.
        gpus: GPUs that trials may ask for; those that Ray finds where None.
    """

    def __init__(self, folder: Path, cores: int, gpus: int | None = None) -> None:
        self._folder = folder.absolute()
        self._options = {"cores": cores, "gpus": gpus}
        self._service: _Service | None = None
        self.nodes: tuple[Node, ...] = ()

    @property
    def places(self) -> NodePool:
        """Where trials may run."""
        return places_of(self.nodes)

    def __enter__(self) -> "Host":
        end_processes(self._folder)
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    def restart(self) -> None:
        """End whatever is left of Ray, and start it anew."""
        self._end()
        self._start()

    def trials(self, jobs: Jobs, concurrent: int, body: str = RUN_JOB) -> None:
        """Run trials until there are no more jobs.

        Args:
            jobs: Asked for jobs, told of ends.
            concurrent: Trials at a time, at the most.
            body: `module:function` that a worker calls with a job.

        Raises:
            HostLost: If Ray is gone; nothing is known of the trials that were under way.
        """
        self._running().say(do="trials", concurrent=concurrent, body=body)
        while True:
            message = self._running().hear()
            if message["kind"] == "next":
                self._running().say(**_offer(jobs))
            elif message["kind"] == "ended":
                if message["evaluation"] is None:
                    jobs.lost(message["number"])
                else:
                    jobs.tell(message["number"], Evaluation.from_dict(message["evaluation"]))
            elif message["kind"] == "done":
                return

    def turns(self, job: TurnsJob) -> Sequence[Mapping[str, Any]]:
        """A round of turns; see `run_turns`.

        Raises:
            HostLost: If Ray is gone.
        """
        self._running().say(do="turns", job=job.to_dict())
        while (message := self._running().hear())["kind"] != "done":
            continue
        found: Sequence[Mapping[str, Any]] = message["result"]
        return found

    def _running(self) -> "_Service":
        if self._service is None:
            raise HostLost("Ray was not started")
        return self._service

    def _start(self) -> None:
        ray_folder = ray_folder_of(self._folder)
        shutil.rmtree(ray_folder, ignore_errors=True)
        ray_folder.mkdir(mode=0o700, parents=True)
        options = {**self._options, "folder": str(ray_folder), "search": str(self._folder)}
        self._service = _Service(self._folder, options)
        self.nodes = self._service.wait_until_ready()

    def _end(self) -> None:
        if self._service is not None:
            self._service.close()
            self._service = None
        end_processes(self._folder)
        shutil.rmtree(ray_folder_of(self._folder), ignore_errors=True)


def _offer(jobs: Jobs) -> dict[str, Any]:
    """What a request for work is answered with."""
    if jobs.waiting():
        return {"wait": True}
    job = jobs.next_job()
    return {"end": True} if job is None else {"job": job.to_dict()}


def ray_folder_of(folder: Path) -> Path:
    """Where Ray keeps its files: below the search's folder, or in short where that is too long.

    Of a cluster only Tune's own files are there: no sockets, but every node must see them.
    """
    beside = folder / "ray"
    if len(str(beside)) <= LONGEST_FOLDER or os.environ.get("RAY_ADDRESS"):
        return beside
    name = sha256(str(folder).encode()).hexdigest()[:10]
    return Path(tempfile.gettempdir()) / f"tunefront-{os.getuid()}" / name


def end_processes(folder: Path) -> int:
    """Kill whatever an earlier start of Ray for this search has left; how many there were."""
    ended = 0
    while found := [p for p in psutil.process_iter() if _tag_of(p) == str(folder)]:
        for process in found:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        _, alive = psutil.wait_procs(found, timeout=10)
        ended += len(found) - len(alive)
        if len(alive) == len(found):
            break
    return ended


def _tag_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(TAG)
    except (psutil.Error, OSError):
        return None


class _Service:
    """The process that holds Ray, seen from the night."""

    def __init__(self, folder: Path, options: Mapping[str, object]) -> None:
        log = folder / "logs" / "ray.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = log
        self._messages: queue.Queue[Mapping[str, Any] | None] = queue.Queue()
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tunefront.search.cluster.service"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env={**os.environ, TAG: str(folder)},
                start_new_session=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._wire = Wire(self._process.stdout, self._process.stdin.fileno())
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self._core: list[psutil.Process] = []
        self._heard = time.monotonic()
        self.say(**options)

    def wait_until_ready(self) -> tuple[Node, ...]:
        """Until Ray is up; the nodes of a cluster that was there before.

        Raises:
            ClusterError: If it can't be had, with what Ray said.
        """
        try:
            message = self.hear(RAY_START_S)
        except HostLost as lost:
            raise ClusterError(f"Ray did not start: {lost}; see {self._log}") from lost
        if message["kind"] == "refused":
            raise ClusterError(message["why"])
        self._core = [psutil.Process(pid) for pid in message["pids"]]
        return tuple(Node(**node) for node in message["nodes"])

    def say(self, **message: object) -> None:
        """Send it a line.

        Raises:
            HostLost: If it is gone.
        """
        try:
            self._wire.say(**message)
        except OSError as error:
            raise HostLost(self._end_in_words()) from error

    def hear(self, silence_s: float = SILENCE_S) -> Mapping[str, Any]:
        """Its next message, beats aside.

        Raises:
            HostLost: If it, its raylet or its GCS is gone, or silent for too long.
        """
        while True:
            try:
                message = self._messages.get(timeout=SUPERVISOR_POLL_S)
            except queue.Empty:
                self._look(silence_s)
                continue
            if message is None:
                raise HostLost(self._end_in_words())
            self._heard = time.monotonic()
            if message["kind"] != "beat":
                return message

    def close(self) -> None:
        """End it; what it started is ended by its tag."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._listener.join(timeout=10)
        self._process.stdin.close()
        self._process.stdout.close()

    def _look(self, silence_s: float) -> None:
        for process in self._core:
            if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                raise HostLost("its raylet or GCS has ended")
        if time.monotonic() - self._heard > silence_s:
            raise HostLost(f"no sign of life for {silence_s:g} s")

    def _listen(self) -> None:
        while (message := self._wire.hear()) is not None:
            self._messages.put(message)
        self._messages.put(None)

    def _end_in_words(self) -> str:
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "it closed its line"
        return f"its process ended with {code}"
