"""A task: a typed function call that runs in one or several fresh processes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

TaskRequestT = TypeVar("TaskRequestT")
ResultT = TypeVar("ResultT")
PartT = TypeVar("PartT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(Generic[ResultT]):
    """A function call that runs in fresh processes.

    With several processes, all call the function with the same request. They start together, with
    `RANK`, `LOCAL_RANK`, `WORLD_SIZE`, `LOCAL_WORLD_SIZE` and `TUNEFRONT_RENDEZVOUS` (the path of a
    file that does not exist yet, for `init_method="file://..."`) in their environment. The result
    is that of rank 0; the first failure ends all processes and is the task's error.

    Attributes:
        function: `module:function`. The function's annotations define how the request is decoded.
        request: Its only argument: a frozen dataclass that the codec supports. If it has a field
            `folder`, the task writes there.
        result: The type that the function returns.
        imports: Modules that the fork server imports; a function after a colon is called. Tasks
            with the same imports share a fork server.
        log: File to which stdout and stderr are appended.
        timeout_s: Seconds after which it is killed, from the call of `Child.result`.
        needs: Further modules, which the fork server imports once, if they are installed, before
            it forks.
        processes: Number of processes.
        cores: CPU affinity, in equal parts for each process; that of the fork server if empty.
        devices: Names of the GPUs that it uses, UUIDs or names of MIG instances, in equal parts for
            each process. Its processes run in fresh interpreters, see `child/interpreter.py`, and
            see only these; without any they see no GPU.
        environment: Environment variables set in addition.
        paths: Folders at the end of the import path, where modules of a user's extensions are.
        memory_mb: Limit of the private memory of each process in MB (2**20 bytes); none if 0.
    """

    function: str
    request: object
    result: type[ResultT]
    imports: Sequence[str]
    log: Path
    timeout_s: float
    needs: Sequence[str] = ()
    processes: int = 1
    cores: Sequence[int] = ()
    devices: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    paths: Sequence[str] = ()
    memory_mb: int = 0

    def __post_init__(self) -> None:
        if self.processes < 1:
            raise ValueError(f"processes must be at least 1, but got {self.processes}")

    def cores_of(self, rank: int) -> Sequence[int]:
        """Return the cores of one process; processes share all if there are fewer than one each."""
        return self._part(self.cores, rank)

    def devices_of(self, rank: int) -> Sequence[str]:
        """Return the GPUs of one process; processes share all if there are fewer than one each."""
        return self._part(self.devices, rank)

    def _part(self, shared: Sequence[PartT], rank: int) -> Sequence[PartT]:
        each = len(shared) // self.processes
        return shared[rank * each : (rank + 1) * each] if each else shared

    def environment_of(self, rank: int, rendezvous: Path) -> Mapping[str, str]:
        """Return the environment variables of one process.

        `CUDA_VISIBLE_DEVICES` is always that of `devices`, in the order of the PCI bus, as NVML
        counts them.

        Args:
            rank: Number of the process.
            rendezvous: File over which the processes find one another.
        """
        visible = {
            "CUDA_VISIBLE_DEVICES": ",".join(self.devices_of(rank)),
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        }
        if self.processes == 1:
            return {**self.environment, **visible}
        size = str(self.processes)
        return {
            **self.environment,
            **visible,
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": size,
            "LOCAL_WORLD_SIZE": size,
            "TUNEFRONT_RENDEZVOUS": str(rendezvous),
        }
