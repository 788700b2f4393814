"""Exclusive leases of GPUs, in the same queue as those of cores; broken GPUs are set aside.

A GPU on which a probe has failed is not leased again for a while by any search of this user, since
a broken GPU fails fastest and would be given most of the trials.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tunefront.spaces import EvaluationError, Gpu, detect_hardware
from tunefront.spaces.machine.gpu_use import gpu_uses

from .cores import (
    CoreWait,
    LeaseRequest,
    Lessee,
    OnWait,
    lease_cores,
    leases_folder,
    wait_unreported,
)
from .private_folder import private_folder

SET_ASIDE_S = 900.0
"""Seconds for which a GPU that broke during a trial is not leased; then it is tried again."""
MEMORY_BACK_S = 10.0
"""Longest wait in seconds, after a lease, until the driver has freed the memory of its processes.

The driver takes seconds for a process that was killed.
"""
MEMORY_SLACK_MB = 64.0
"""Memory in MB that may be in use more than before the lease."""
MEMORY_POLL_S = 0.1


@contextmanager
def lease_gpus(
    count: int,
    gpus: Sequence[Gpu] | None = None,
    *,
    lessee: Lessee | None = None,
    on_wait: OnWait = wait_unreported,
    deadline: float | None = None,
) -> Iterator[Sequence[Gpu]]:
    """Lease GPUs, waiting until they are free; yield them.

    The order is that of `lease_cores`: a request for several GPUs is not overtaken by later ones.
    When the context is left, the memory that its processes used is waited for.

    Args:
        count: Number of GPUs; with 0 nothing is leased.
        gpus: The GPUs to lease from; None for those that are visible to this process.
        lessee: What the GPUs are leased for; this process if None.
        on_wait: Called when a wait of more than a second begins, changes and ends.
        deadline: Time on the monotonic clock at which the wait is given up; None to wait until the
            GPUs are free.

    Raises:
        EvaluationError: With the cause "timeout", if the GPUs are not free at the deadline; with
            the cause "device", if fewer than `count` can be used.
        MachineError: If the folder of the leases is not safe.
    """
    if not count:
        yield ()
        return
    offered = detect_hardware().gpus if gpus is None else gpus
    units = {_unit(gpu.uuid): gpu for gpu in offered if gpu.uuid}

    def usable() -> Sequence[str]:
        aside = gpus_set_aside()
        left = [name for name, gpu in units.items() if gpu.uuid not in aside]
        if len(left) < count:
            raise EvaluationError(_too_few(count, len(left), aside), cause="device")
        return left

    request = LeaseRequest(CoreWait(gpus=count), usable, lessee or Lessee.this_process())
    with request.granted(on_wait, deadline) as held:
        leased = [units[name] for name in held]
        with _memory_given_back(leased):
            yield leased


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A lease of cores and GPUs.

    Attributes:
        cores: A CPU for each thread.
        devices: Names of the GPUs.
    """

    cores: Sequence[int]
    devices: tuple[str, ...] = ()


@contextmanager
def lease_cores_and_gpus(
    count: int,
    gpus: int,
    *,
    lessee: Lessee | None = None,
    on_wait: OnWait = wait_unreported,
    deadline: float | None = None,
) -> Iterator[Lease]:
    """Lease GPUs, then cores for `count` threads, near the GPUs where they can be had.

    What holds cores therefore never waits for GPUs. Arguments and errors are those of `lease_gpus`
    and `lease_cores`.
    """
    with (
        lease_gpus(gpus, lessee=lessee, on_wait=on_wait, deadline=deadline) as leased,
        lease_cores(
            count,
            near=[gpu.cpus for gpu in leased],
            lessee=lessee,
            on_wait=on_wait,
            deadline=deadline,
        ) as cores,
    ):
        yield Lease(cores=cores, devices=tuple(gpu.uuid for gpu in leased))


def _unit(uuid: str) -> str:
    """Return the name of a GPU's lease; names of MIG instances can have slashes."""
    return f"gpu-{uuid.replace('/', '_')}"


def _too_few(count: int, left: int, aside: Mapping[str, str]) -> str:
    needed = f"{count} GPU{'' if count == 1 else 's'} needed, but {left} can be used"
    reasons = [f"{uuid} was set aside: {reason}" for uuid, reason in aside.items()]
    return "; ".join([needed, *reasons])


def set_gpu_aside(uuid: str, reason: str, seconds: float = SET_ASIDE_S) -> None:
    """Keep a broken GPU from being leased for some seconds."""
    record = {"uuid": uuid, "reason": reason, "at": time.time(), "seconds": seconds}
    with suppress(OSError):  # without room on the disk it is leased again, and probed again
        _aside_file(uuid).write_text(json.dumps(record))


def take_gpu_back(uuid: str) -> None:
    """Let a GPU that was set aside, and works again, be leased."""
    with suppress(OSError):
        _aside_file(uuid).unlink()


def gpus_set_aside() -> dict[str, str]:
    """Return why GPUs are set aside, by UUID."""
    found: dict[str, str] = {}
    for path in sorted(_aside_folder().glob("*.json")):
        with suppress(OSError, ValueError, KeyError):
            record = json.loads(path.read_text())
            if 0 <= time.time() - float(record["at"]) < float(record["seconds"]):
                found[str(record["uuid"])] = str(record["reason"])
    return found


def _aside_file(uuid: str) -> Path:
    return _aside_folder() / f"{_unit(uuid)}.json"


def _aside_folder() -> Path:
    return private_folder(leases_folder() / "set-aside")


@contextmanager
def _memory_given_back(gpus: Sequence[Gpu]) -> Iterator[None]:
    """Wait at the end until the GPUs have their memory back, at most `MEMORY_BACK_S` seconds."""
    uuids = [gpu.uuid for gpu in gpus]
    before = gpu_uses(uuids)
    try:
        yield
    finally:
        deadline = time.monotonic() + MEMORY_BACK_S
        while time.monotonic() < deadline and any(
            use.used_mb > before[uuid].used_mb + MEMORY_SLACK_MB
            for uuid, use in gpu_uses(uuids).items()
            if uuid in before
        ):
            time.sleep(MEMORY_POLL_S)
