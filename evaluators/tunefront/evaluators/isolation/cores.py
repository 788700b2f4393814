"""Exclusive leases of physical cores, so that measured trials never share a core or its caches.

The leases of all searches of one user on a machine are a queue: first come, first served. Exclusive
use is guaranteed by a file lock for each core, the order by a file for each waiting process. Both
are locks of the kernel, which releases them when a process exits. GPUs are leased in the same way
(gpus.py); a process that needs both leases its GPUs first.
"""

import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from tunefront.spaces import EvaluationError, MachineError
from tunefront.spaces.machine.control_groups import control_group_limits
from tunefront.spaces.machine.topology import (
    Core,
    by_node,
    near_first,
    physical_cores,
    spread,
    within_quota,
)

from .codec import CodecError, from_plain, to_plain
from .private_folder import (
    living_file,
    living_files,
    open_private,
    private_folder,
    user_folder,
)

LEASES_FOLDER = "TUNEFRONT_LEASES"
"""Environment variable with another folder for the leases; searches share cores if it differs."""
LEASE_POLL_S = 0.05
REPORT_POLL_S = 1.0
"""Seconds after which a wait is reported, and interval at which its reason is looked up."""
STOPPED = frozenset("tT")
"""States of a process in `/proc` that is suspended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lessee:
    """What cores and GPUs are leased for, as other searches report it.

    Attributes:
        name: Name of the search, or the command.
        pid: Process to end in order to free them.
        host: Name of the machine that it runs on.
    """

    name: str
    pid: int
    host: str

    @classmethod
    def this_process(cls, name: str = "tunefront") -> "Lessee":
        """Return this process as lessee."""
        return cls(name=name, pid=os.getpid(), host=socket.gethostname())

    @property
    def text(self) -> str:
        """Text such as `quickstart` (pid 4711)."""
        if self.host != socket.gethostname():
            return f"`{self.name}` (pid {self.pid} on {self.host})"
        return f"`{self.name}` (pid {self.pid}{', suspended' if _suspended(self.pid) else ''})"


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreWait:
    """A wait for cores or GPUs.

    Attributes:
        cores: Number of cores that are needed.
        gpus: Number of GPUs that are needed.
        holders: What holds cores or GPUs that could be leased.
        ahead: What has waited for them longer.
    """

    cores: int = 0
    gpus: int = 0
    holders: tuple[Lessee, ...] = ()
    ahead: tuple[Lessee, ...] = ()

    @property
    def text(self) -> str:
        """Text such as "waiting for 2 cores; `quickstart` (pid 4711) holds them"."""
        if self.gpus:
            wanted = f"{self.gpus} GPU{'' if self.gpus == 1 else 's'}"
        else:
            wanted = "a core" if self.cores == 1 else f"{self.cores} cores"
        it = "it" if self.cores + self.gpus == 1 else "them"
        parts = [f"waiting for {wanted}"]
        if self.holders:
            names = " and ".join(holder.text for holder in self.holders)
            parts.append(f"{names} {'holds' if len(self.holders) == 1 else 'hold'} {it}")
        if self.ahead:
            names = " and ".join(lessee.text for lessee in self.ahead)
            parts.append(f"{names} {'is' if len(self.ahead) == 1 else 'are'} next")
        return "; ".join(parts)


OnWait = Callable[[CoreWait | None], None]
"""Called when a wait begins, when its reason changes, and with None when it ends."""


def wait_unreported(wait: CoreWait | None) -> None:
    """Ignore a wait."""


@contextmanager
def lease_cores(
    count: int,
    cores: Sequence[Core] | None = None,
    *,
    near: Sequence[frozenset[int]] = (),
    lessee: Lessee | None = None,
    on_wait: OnWait = wait_unreported,
    deadline: float | None = None,
) -> Iterator[Sequence[int]]:
    """Lease physical cores for `count` threads, waiting until they are free; yield a CPU for each.

    Each thread has a separate physical core as long as there are as many: of hyperthreads one is
    used and the other stays idle, because two threads on one core slow each other. With more
    threads all cores are leased, and then the second CPU of each core is used, and so on.

    A process waits for all that came before it and need one of the same cores, so that one that
    needs several cores is not overtaken for ever by those that need one. Suspended processes keep
    their place, but others do not wait for them unless they hold cores.

    Args:
        count: Number of threads.
        cores: The cores to lease from; None for those of this process's CPU affinity, as many as
            the CPU quota of its control groups pays for.
        near: The CPUs near each of the GPUs that the threads use; free cores near them come first,
            and the CPUs are yielded in equal parts for each GPU.
        lessee: What the cores are leased for; this process if None.
        on_wait: Called when a wait of more than a second begins, changes and ends.
        deadline: Time on the monotonic clock at which the wait is given up; None to wait until the
            cores are free.

    Raises:
        EvaluationError: With the cause "timeout", if the cores are not free at the deadline; the
            message names what holds them.
        MachineError: If the folder of the leases is not safe.
    """
    usable = near_first(_usable() if cores is None else cores, near)
    units = {f"core-{core.number}": core for core in usable}
    wanted = CoreWait(cores=min(count, len(usable)))
    request = LeaseRequest(wanted, lambda: list(units), lessee or Lessee.this_process())
    with request.granted(on_wait, deadline) as held:
        yield spread(by_node([units[name] for name in held], near))[:count]


def _wait(request: "LeaseRequest", on_wait: OnWait, deadline: float | None) -> ExitStack:
    """Wait until the units of a request are leased, and return the leases."""
    reported: CoreWait | None = None
    report_at = time.monotonic() + REPORT_POLL_S
    try:
        while (leases := request.lock()) is None:
            now = time.monotonic()
            if now >= report_at:
                report_at = now + REPORT_POLL_S
                if (wait := request.wait()) != reported:
                    reported = wait
                    on_wait(wait)
            if deadline is not None and now > deadline:
                raise EvaluationError(f"at the deadline still {request.wait().text}", "timeout")
            time.sleep(LEASE_POLL_S)
    finally:
        if reported is not None:
            on_wait(None)
    return leases


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """Content of the file of a leased unit or of a waiting process.

    Attributes:
        lessee: What leases or waits.
        units: The cores or GPUs that it holds or could use.
    """

    lessee: Lessee
    units: tuple[str, ...]

    @property
    def text(self) -> str:
        """The file's content."""
        return json.dumps(to_plain(self))

    @classmethod
    def read(cls, text: str) -> "_Entry | None":
        """Return the entry of a file's content; None if it is incomplete."""
        try:
            return from_plain(cls, json.loads(text))
        except (ValueError, CodecError):
            return None


class LeaseRequest:
    """A request for units (cores or GPUs): its place in the queue and its leases.

    Args:
        wanted: The number of units, and how a wait for them is reported.
        usable: Returns the names of the units that can be leased now, the preferred ones first.
        lessee: What they are leased for.
    """

    def __init__(
        self, wanted: CoreWait, usable: Callable[[], Sequence[str]], lessee: Lessee
    ) -> None:
        self._wanted = wanted
        self._count = wanted.cores + wanted.gpus
        self._usable = usable
        self._lessee = lessee
        self._folder = leases_folder()
        self._place = f"{time.monotonic_ns():020}-{os.getpid()}"
        self.held: list[str] = []

    @contextmanager
    def granted(self, on_wait: OnWait, deadline: float | None) -> Iterator[Sequence[str]]:
        """Lease the units, waiting until they are free; yield their names.

        Args:
            on_wait: Called when a wait of more than a second begins, changes and ends.
            deadline: Time on the monotonic clock at which the wait is given up.

        Raises:
            EvaluationError: With the cause "timeout", if they are not free at the deadline.
        """
        leases = self.lock()
        if leases is None:
            with self._queued():
                leases = _wait(self, on_wait, deadline)
        with leases:
            yield self.held

    @contextmanager
    def _queued(self) -> Iterator[None]:
        """Take a place in the queue until the context is left."""
        entry = _Entry(lessee=self._lessee, units=tuple(self._usable()))
        queue = private_folder(self._folder / "queue")
        with living_file(queue / self._place, entry.text):
            yield

    def lock(self) -> ExitStack | None:
        """Return the leases; None if units are in use or others come first."""
        units = self._usable()
        if self._ahead(units):
            return None
        with ExitStack() as locks:
            self.held = []
            for unit in units:
                if len(self.held) < self._count and self._lock(unit, locks):
                    self.held.append(unit)
            return locks.pop_all() if len(self.held) == self._count else None

    def _lock(self, unit: str, locks: ExitStack) -> bool:
        stream = locks.enter_context(os.fdopen(open_private(self._file(unit)), "r+"))
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        with suppress(OSError):  # without room on the disk the holder stays unknown
            stream.truncate(0)
            stream.write(_Entry(lessee=self._lessee, units=(unit,)).text)
            stream.flush()
        return True

    def _file(self, unit: str) -> Path:
        return self._folder / f"{unit}.lock"

    def _ahead(self, units: Sequence[str]) -> list[Lessee]:
        """Return what has waited longer for one of the same units and is not suspended."""
        found: list[Lessee] = []
        for file in living_files(self._folder / "queue"):
            if file.name >= self._place or _suspended(int(file.name.rpartition("-")[2])):
                continue
            entry = _Entry.read(file.text)
            if entry is not None and not set(units).isdisjoint(entry.units):
                found.append(entry.lessee)
        return found

    def wait(self) -> CoreWait:
        """Return what this request waits for."""
        units = self._usable()
        holders = [holder for unit in units if (holder := self._holder(unit)) is not None]
        ahead = dict.fromkeys(self._ahead(units))
        return replace(
            self._wanted,
            holders=tuple(dict.fromkeys(holders)),
            ahead=tuple(one for one in ahead if one not in holders),
        )

    def _holder(self, unit: str) -> Lessee | None:
        """Return what holds a unit; None if it is free or the holder is unknown."""
        with os.fdopen(open_private(self._file(unit)), "r+") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                entry = _Entry.read(stream.read())
                return entry.lessee if entry is not None else None
        return None


def leases_folder() -> Path:
    """Return the folder of the leases, the same for all searches of this user on this machine.

    It does not depend on `TMPDIR`, which can differ between terminals; `TUNEFRONT_LEASES` names
    another one.

    Raises:
        MachineError: If other users can access the folder.
    """
    named = os.environ.get(LEASES_FOLDER)
    try:
        return private_folder(Path(named)) if named else user_folder()
    except MachineError as error:
        text = f"leases of cores: {error}; or name another folder in {LEASES_FOLDER}"
        raise MachineError(text) from error


def _usable() -> Sequence[Core]:
    limits = control_group_limits()
    return within_quota(physical_cores(os.sched_getaffinity(0)), limits.cores)


def _suspended(pid: int) -> bool:
    """Return whether a process is suspended; False if it is not known here."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state in STOPPED
