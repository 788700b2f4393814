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


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationMemory:
    """What the memory of a model that generates text follows from.

    Attributes:
        parameters: Number of parameters.
        kv_numbers: Numbers in the KV cache of one sequence.
        tokens: Tokens of one sequence: prompt and response.
        sequences: Most sequences that the load has in progress at the same time; None if the load
            does not limit them.
    """

    parameters: int
    kv_numbers: int
    tokens: int
    sequences: int | None

    def weights_mb(self, bits: int) -> float:
        """Return the memory of the weights with so many bits each, in MB (2**20 bytes)."""
        return self.parameters * bits / 8 / 2**20

    def kv_mb(self, bits: int, sequences: int) -> float:
        """Return the memory of the KV cache with so many bits a number, in MB (2**20 bytes)."""
        return self.kv_numbers * sequences * bits / 8 / 2**20


def resources_of(configuration: Mapping[str, Value]) -> Resources:
    """Return the resources of values of `replicas`, `tensor_parallel`, `threads` and `device`."""
    processes = int(configuration["replicas"]) * int(configuration["tensor_parallel"])
    return Resources(
        processes=processes,
        threads=int(configuration["threads"]),
        gpus=processes if configuration["device"] == "cuda" else 0,
    )
