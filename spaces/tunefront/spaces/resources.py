"""Resources that a configuration needs while it runs."""

from collections.abc import Mapping
from dataclasses import dataclass

from .choice import Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Processes that run at the same time, with their threads and GPUs.

    Attributes:
        processes: Number of processes: every rank of every replica.
        threads: Threads of each process.
        gpus: GPUs of all processes, one for each; 0 on the CPU.
    """

    processes: int
    threads: int
    gpus: int

    @property
    def cores(self) -> int:
        """Cores of all processes, one for each thread."""
        return self.processes * self.threads


def resources_of(configuration: Mapping[str, Value]) -> Resources:
    """Return the resources of values of `replicas`, `tensor_parallel`, `threads` and `device`."""
    processes = int(configuration["replicas"]) * int(configuration["tensor_parallel"])
    return Resources(
        processes=processes,
        threads=int(configuration["threads"]),
        gpus=processes if configuration["device"] == "cuda" else 0,
    )
