"""What a configuration needs of a machine while it runs."""

from collections.abc import Mapping
from dataclasses import dataclass

from .choice import Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Processes that run at the same time, and what they need.

    Attributes:
        processes: Every rank of every replica.
        threads: Of one process.
        gpus: One a process; 0 on the CPU.
    """

    processes: int
    threads: int
    gpus: int

    @property
    def cores(self) -> int:
        """One a thread, over all processes."""
        return self.processes * self.threads


def resources_of(configuration: Mapping[str, Value]) -> Resources:
    """The resources of a complete configuration."""
    processes = int(configuration["replicas"]) * int(configuration["tensor_parallel"])
    return Resources(
        processes=processes,
        threads=int(configuration["threads"]),
        gpus=processes if configuration["device"] == "cuda" else 0,
    )
