"""A core has one user at a time, and the first to come is the first to have it."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tunefront.evaluators.isolation import cores as module
from tunefront.evaluators.isolation.cores import CoreWait, Lessee, lease_cores, leases_folder
from tunefront.spaces import EvaluationError, MachineError, detect_hardware
from tunefront.spaces.machine.topology import Core

CORES = detect_hardware().leasable_cores
THREADED = [Core(number=1000 + n, cpus=(1000 + n, 1004 + n)) for n in range(4)]
"""Four cores with two hyperthreads each, numbered beyond those of this machine."""


def test_a_lease_names_usable_cores() -> None:
    with lease_cores(CORES) as held:
        assert len(held) == CORES
        assert set(held) <= os.sched_getaffinity(0)


def test_more_than_there_are_gives_all() -> None:
    with lease_cores(13, cores=THREADED) as held:
        assert held == list(range(1000, 1008))


@pytest.mark.parametrize(
    ("threads", "cpus"),
    [
        (1, [1000]),
        (2, [1000, 1001]),
        (4, [1000, 1001, 1002, 1003]),
        (6, [1000, 1001, 1002, 1003, 1004, 1005]),
    ],
)
def test_each_thread_has_a_core_as_long_as_there_are_as_many(threads: int, cpus: list[int]) -> None:
    """Also in the first part of a lease, where a candidate with fewer threads runs."""
    with lease_cores(threads, cores=THREADED) as held:
        assert held == cpus


def refuses(cores: list[Core]) -> bool:
    """Whether no core of these is free."""
    try:
        with lease_cores(1, cores, deadline=0.0):
            return False
    except EvaluationError:
        return True


def test_hyperthreads_of_one_core_are_not_lent_to_two_trials() -> None:
    with lease_cores(3, cores=THREADED) as first, lease_cores(1, cores=THREADED) as second:
        assert (first, second) == ([1000, 1001, 1002], [1003])
        assert refuses(THREADED)
    with lease_cores(5, cores=THREADED):  # all four cores
        assert refuses(THREADED)
    assert not refuses(THREADED)


def test_a_core_is_the_same_in_a_process_that_may_use_its_other_hyperthread_only() -> None:
    with lease_cores(1, cores=[Core(number=1000, cpus=(1000,))]):
        assert refuses([Core(number=1000, cpus=(1004,))])


def test_a_core_is_never_lent_twice_at_a_time() -> None:
    busy: set[int] = set()
    guard = threading.Lock()
    clashes: list[int] = []

    def use(_: int) -> None:
        with lease_cores(1) as held:
            with guard:
                clashes.extend(core for core in held if core in busy)
                busy.update(held)
            threading.Event().wait(0.01)
            with guard:
                busy.difference_update(held)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(24)))
    assert not clashes


def test_at_the_deadline_the_message_names_what_holds_the_cores() -> None:
    holder = Lessee.this_process("quickstart")
    told = rf"at the deadline still waiting for 4 cores; `quickstart` \(pid {os.getpid()}\) holds"
    with (
        lease_cores(2, THREADED, lessee=holder),
        pytest.raises(EvaluationError, match=told) as raised,
        lease_cores(4, THREADED, deadline=0.0),
    ):
        pass
    assert raised.value.cause == "timeout"


class Queue:
    """Threads that lease some of four cores; each holds them until it is released."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.waits: dict[str, list[CoreWait | None]] = {}
        self._release: dict[str, threading.Event] = {}
        self._threads: list[threading.Thread] = []

    def add(self, name: str, count: int, cores: Sequence[Core] = THREADED) -> None:
        """Start a thread, and return when it leases or waits."""
        self._release[name] = threading.Event()
        known = threading.Event()
        self.waits[name] = []

        def on_wait(wait: CoreWait | None) -> None:
            self.waits[name].append(wait)
            known.set()

        def lease() -> None:
            lessee = Lessee.this_process(name)
            with lease_cores(count, cores, lessee=lessee, on_wait=on_wait):
                self.order.append(name)
                known.set()
                self._release[name].wait()

        self._threads.append(threading.Thread(target=lease))
        self._threads[-1].start()
        assert known.wait(60)

    def release(self, name: str) -> None:
        self._release[name].set()

    def end(self) -> None:
        for event in self._release.values():
            event.set()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    monkeypatch.setattr(module, "REPORT_POLL_S", 0.0)
    found = Queue()
    yield found
    found.end()


def test_a_request_for_all_cores_is_not_overtaken_by_later_ones_for_one(queue: Queue) -> None:
    queue.add("holds", 1)
    queue.add("all", 4)
    for name in ("a", "b", "c"):
        queue.add(name, 1)  # three cores are free, but `all` came first
    assert queue.order == ["holds"]
    queue.release("holds")
    while "all" not in queue.order:
        threading.Event().wait(0.01)
    assert queue.order == ["holds", "all"]
    queue.release("all")
    queue.end()
    assert queue.order[:2] == ["holds", "all"]
    assert sorted(queue.order[2:]) == ["a", "b", "c"]


def test_a_wait_names_what_holds_the_cores_and_what_comes_first(queue: Queue) -> None:
    queue.add("holds", 1)
    queue.add("all", 4)
    queue.add("a", 1)
    pid = os.getpid()
    first, second = queue.waits["all"][0], queue.waits["a"][0]
    assert first is not None
    assert first.text == f"waiting for 4 cores; `holds` (pid {pid}) holds them"
    assert second is not None
    assert second.text == (
        f"waiting for a core; `holds` (pid {pid}) holds it; `all` (pid {pid}) is next"
    )
    queue.release("holds")
    queue.release("all")
    queue.end()
    assert [wait for wait in queue.waits["all"] if wait is None] == [None]


def test_a_request_for_other_cores_does_not_wait(queue: Queue) -> None:
    queue.add("holds", 1, THREADED[:2])
    queue.add("both", 2, THREADED[:2])
    queue.add("others", 2, THREADED[2:])
    assert queue.order == ["holds", "others"]


WAITING = """
import sys
from tunefront.evaluators.isolation.cores import lease_cores
from tunefront.spaces.machine.topology import Core
cores = [Core(number=1000 + n, cpus=(1000 + n, 1004 + n)) for n in range(4)]
with lease_cores(4, cores, on_wait=lambda wait: print("waits", flush=True)):
    print("leases", flush=True)
    sys.stdin.read()
"""


@contextmanager
def waiting_process() -> Iterator["subprocess.Popen[str]"]:
    """A process that waits for all four cores."""
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdin is not None
    with process.stdout, process.stdin:
        assert process.stdout.readline() == "waits\n"
        yield process
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_one_that_was_suspended_or_killed_while_it_waited_is_not_waited_for(number: int) -> None:
    with lease_cores(1, THREADED), waiting_process() as process:
        assert refuses(THREADED)
        process.send_signal(number)
        if number == signal.SIGKILL:
            process.wait()
        while number == signal.SIGSTOP and psutil.Process(process.pid).status() != "stopped":
            threading.Event().wait(0.01)
        assert not refuses(THREADED)


def test_leases_do_not_depend_on_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    folders = []
    for name in ("a", "b"):
        monkeypatch.setenv("TMPDIR", str(tmp_path / name))
        folders.append(leases_folder())
    assert folders[0] == folders[1]
    monkeypatch.delenv("TUNEFRONT_LEASES")
    assert leases_folder() == Path(f"/tmp/tunefront-{os.getuid()}")


def test_a_link_in_place_of_a_lease_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEFRONT_LEASES", str(tmp_path / "leases"))
    target = tmp_path / "target"
    target.write_text("kept")
    (leases_folder() / "core-1000.lock").symlink_to(target)
    with pytest.raises(OSError, match="symbolic link"), lease_cores(1, THREADED):
        pass
    assert target.read_text() == "kept"


def test_another_machine_is_named() -> None:
    assert Lessee(name="a", pid=7, host="gpu-1").text == "`a` (pid 7 on gpu-1)"


def test_a_folder_that_others_can_open_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEFRONT_LEASES", str(tmp_path / "leases"))
    (tmp_path / "leases").mkdir(mode=0o755)
    with pytest.raises(MachineError, match=r"has mode 755 and must have 700.*chmod 700"):
        leases_folder()
