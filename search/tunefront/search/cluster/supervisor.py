"""Ray supervisor: starts the Ray process for the search driver, monitors it, ends its processes.

Ray fails hard: if its raylet dies, a driver hangs; if its GCS dies, the driver process is killed;
its handlers abort on SIGTERM. Ray therefore runs in a child process (service.py). The search
detects its exit within seconds, restarts it, and runs the unfinished trials again.
"""

import os
import queue
import re
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
from tunefront.evaluators.interfaces.polled.capacity import CapacityResult
from tunefront.evaluators.isolation.codec import from_plain, to_plain
from tunefront.evaluators.isolation.private_folder import TEMPORARY, user_folder
from tunefront.evaluators.pipelines.base import RoundResult
from tunefront.spaces import ClusterError

from .channel import Channel
from .jobs import CapacityJob, Job, TurnsJob
from .nodes import Node, NodePool, usable_nodes

RUN_JOB = "tunefront.search.cluster.jobs:run_job"
TAG = "TUNEFRONT_SEARCH"
"""Environment variable that marks every process of a search, so that all of them can be ended."""
RAY_TITLE = "ray::"
"""Beginning of the titles that Ray's workers and agents give themselves."""
RAY_START_S = 180.0
MESSAGE_TIMEOUT_S = 120.0
"""Time without a message or heartbeat after which Ray is considered to have failed."""
SUPERVISOR_POLL_S = 1.0
LONGEST_FOLDER = 40
"""Maximum length of the path of Ray's folder: socket paths below it have at most 107 bytes."""


class RayLost(Exception):
    """Ray has exited or does not reply; the trials that were running are lost."""


class RayNotStarted(RayLost):
    """Ray did not start, or was not started."""


class Jobs(Protocol):
    """A source of jobs and receiver of their results."""

    def waiting(self) -> bool:
        """Return whether no job can start at the moment."""
        ...

    def next_job(self) -> Job | None:
        """Return the next job; None if there are no more."""
        ...

    def tell(self, number: int, evaluation: Evaluation) -> None:
        """Record a trial's evaluation."""
        ...

    def worker_exited(self, number: int) -> None:
        """Record that a trial's worker or node exited without a result."""
        ...


class RaySupervisor:
    """The Ray supervisor of one search, a context manager; Ray runs in a separate process.

    A start that fails is no error of `__enter__` or `restart`: `trials` and `turns` then raise
    `RayNotStarted`, as if Ray had exited, and the search restarts it.

    Args:
        folder: The search's folder; Ray's log and, if the path is short enough, files go below it.
        cores: Number of cores of a local Ray.
        gpus: Number of GPUs of a local Ray; those that Ray detects if None.
    """

    def __init__(self, folder: Path, cores: int, gpus: int | None = None) -> None:
        self._folder = folder.absolute()
        self._options = {"cores": cores, "gpus": gpus}
        self._service: _Service | None = None
        self._problem = "it was not started"
        self.nodes: tuple[Node, ...] = ()

    @property
    def node_pool(self) -> NodePool:
        """The node pool: the nodes that trials can run on."""
        return usable_nodes(self.nodes)

    def __enter__(self) -> "RaySupervisor":
        end_processes(self._folder)
        self._try_start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    def restart(self) -> None:
        """End all remaining Ray processes of this search and start Ray again."""
        self._end()
        try:
            self._try_start()
        except ClusterError as error:  # of a cluster that was there before
            self._problem = str(error)

    def trials(self, jobs: Jobs, concurrent: int, body: str = RUN_JOB) -> None:
        """Run trials until there are no more jobs, or one Tune run has reached its limit.

        Args:
            jobs: The source of jobs, which receives the results.
            concurrent: Maximum number of concurrent trials.
            body: `module:function` that a worker calls with a job.

        Raises:
            RayLost: If Ray has exited or did not start; the running trials have no result.
        """
        self._running().send(do="trials", concurrent=concurrent, body=body)
        while True:
            message = self._running().receive()
            if message["kind"] == "next":
                self._running().send(**_offer(jobs))
            elif message["kind"] == "ended":
                if message["evaluation"] is None:
                    jobs.worker_exited(message["number"])
                else:
                    jobs.tell(message["number"], from_plain(Evaluation, message["evaluation"]))
            elif message["kind"] == "done":
                return

    def turns(self, job: TurnsJob) -> Sequence[RoundResult | None]:
        """Run a confirmation round; see `run_turns` for the result.

        Raises:
            RayLost: If Ray has exited or did not start.
        """
        self._running().send(do="turns", job=to_plain(job))
        return from_plain(list[RoundResult | None], self._result())

    def capacity(self, job: CapacityJob) -> CapacityResult:
        """Search for the capacity of a finalist; see `measure_capacity`.

        Raises:
            RayLost: If Ray has exited or did not start.
        """
        self._running().send(do="probes", job=to_plain(job))
        return from_plain(CapacityResult, self._result())

    def _result(self) -> object:
        """Wait for the result of an order, in plain values."""
        while (message := self._running().receive())["kind"] != "done":
            continue
        return message["result"]

    def _running(self) -> "_Service":
        if self._service is None:
            raise RayNotStarted(self._problem)
        return self._service

    def _try_start(self) -> None:
        """Start Ray; if it does not start, keep the reason and end what is left of it.

        Raises:
            ClusterError: If the cluster is refused.
        """
        try:
            self._start()
        except (RayLost, OSError) as error:
            self._problem = str(error)
            self._end()
        except BaseException:
            self._end()
            raise

    def _start(self) -> None:
        ray_folder = ray_folder_of(self._folder)
        shutil.rmtree(ray_folder, ignore_errors=True)
        ray_folder.mkdir(mode=0o700, parents=True)
        options = {**self._options, "folder": str(ray_folder), "search": str(self._folder)}
        self._service = _Service(self._folder)
        self._service.send(**options)
        self.nodes = self._service.wait_until_ready()

    def _end(self) -> None:
        if self._service is not None:
            self._service.close()
            self._service = None
        end_processes(self._folder)
        shutil.rmtree(ray_folder_of(self._folder), ignore_errors=True)


def _offer(jobs: Jobs) -> dict[str, Any]:
    """Return the reply to a request for a job: `wait`, `end` or `job`."""
    if jobs.waiting():
        return {"wait": True}
    job = jobs.next_job()
    return {"end": True} if job is None else {"job": to_plain(job)}


def ray_log(folder: Path) -> Path:
    """Return the file with the output of Ray's process, in the search's folder."""
    return folder / "logs" / "ray.log"


def ray_folder_of(folder: Path) -> Path:
    """Return the folder for Ray's files: `ray` in the search's folder, or a short temporary path.

    Ray puts the path into command lines, addresses and patterns of its logs; the temporary one is
    used unless the path has plain characters only. It is in a folder that only this user can
    access, below `/tmp` if `TMPDIR` is long or odd itself.

    With a cluster the folder is always in the search's folder: it holds only Tune's files, no
    sockets, and every node needs to see it.
    """
    own = folder / "ray"
    if _suits_ray(own) or os.environ.get("RAY_ADDRESS"):
        return own
    name = sha256(os.fsencode(folder)).hexdigest()[:10]
    first = user_folder(Path(tempfile.gettempdir())) / name
    return first if _suits_ray(first) else user_folder(TEMPORARY) / name


def _suits_ray(folder: Path) -> bool:
    plain = re.fullmatch(r"[\w./-]*", str(folder), re.ASCII)
    return plain is not None and len(str(folder)) <= LONGEST_FOLDER


def end_processes(folder: Path) -> int:
    """Kill all processes that carry this search's tag, and their descendants; return how many.

    Processes that start meanwhile are found by repeating; it stops if none of those found ends
    within 10 s.
    """
    ended = 0
    while found := processes_of(folder):
        for process in found:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        _, alive = psutil.wait_procs(found, timeout=10)
        ended += len(found) - len(alive)
        if len(alive) == len(found):
            break
    return ended


def processes_of(folder: Path) -> list[psutil.Process]:
    """Return the processes that carry a search's tag, Ray's agents, and their descendants.

    Ray's agents overwrite their environment, and the tag with it, when they set their title, and
    outlive a raylet that is killed by a minute or two. They have the search's folder as their
    working directory.
    """
    every = list(psutil.process_iter(["ppid"]))
    found = {process.pid: process for process in every if _belongs_to(process, str(folder))}
    while more := [p for p in every if p.info["ppid"] in found and p.pid not in found]:
        found.update({process.pid: process for process in more})
    return list(found.values())


def _belongs_to(process: psutil.Process, folder: str) -> bool:
    with suppress(psutil.Error, OSError):
        if process.environ().get(TAG) == folder:
            return True
    with suppress(psutil.Error, OSError):
        titled = process.cmdline()[:1]
        return bool(titled) and titled[0].startswith(RAY_TITLE) and process.cwd() == folder
    return False


class _Service:
    """The Ray process, as seen from the search driver."""

    def __init__(self, folder: Path) -> None:
        log = ray_log(folder)
        log.parent.mkdir(parents=True, exist_ok=True)
        self._messages: queue.Queue[Mapping[str, Any] | None] = queue.Queue()
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "tunefront.search.cluster.service"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env={**os.environ, TAG: str(folder)},
                start_new_session=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._channel = Channel(self._process.stdout, self._process.stdin.fileno())
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self._core: list[psutil.Process] = []
        self._last_message_at = time.monotonic()

    def wait_until_ready(self) -> tuple[Node, ...]:
        """Wait until Ray is up; return the nodes of an existing cluster.

        Raises:
            RayLost: If Ray does not start within `RAY_START_S`.
            ClusterError: If the cluster is refused.
        """
        message = self.receive(RAY_START_S)
        if message["kind"] == "refused":
            raise ClusterError(message["reason"])
        try:
            self._core = [psutil.Process(pid) for pid in message["pids"]]
        except psutil.NoSuchProcess as error:
            raise RayLost("its raylet or GCS exited") from error
        return tuple(Node(**node) for node in message["nodes"])

    def send(self, **message: object) -> None:
        """Send a message.

        Raises:
            RayLost: If the process has exited.
        """
        try:
            self._channel.send(**message)
        except OSError as error:
            raise RayLost(self._exit_text()) from error

    def receive(self, timeout_s: float = MESSAGE_TIMEOUT_S) -> Mapping[str, Any]:
        """Receive the next message other than a heartbeat.

        Raises:
            RayLost: If the process, its raylet or its GCS has exited, or no message arrives for
                `timeout_s` seconds.
        """
        while True:
            try:
                message = self._messages.get(timeout=SUPERVISOR_POLL_S)
            except queue.Empty:
                self._check_alive(timeout_s)
                continue
            if message is None:
                raise RayLost(self._exit_text())
            self._last_message_at = time.monotonic()
            if message["kind"] != "heartbeat":
                return message

    def close(self) -> None:
        """Kill the process; the processes that it started are found by their tag."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._listener.join(timeout=10)
        self._process.stdin.close()
        self._process.stdout.close()

    def _check_alive(self, timeout_s: float) -> None:
        for process in self._core:
            if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                raise RayLost("its raylet or GCS exited")
        if time.monotonic() - self._last_message_at > timeout_s:
            raise RayLost(f"no message for {timeout_s:g} s")

    def _listen(self) -> None:
        while (message := self._channel.receive()) is not None:
            self._messages.put(message)
        self._messages.put(None)

    def _exit_text(self) -> str:
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "it closed its connection"
        return f"exit code {code}"
