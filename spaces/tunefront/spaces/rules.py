"""Rules that exclude combinations that can't run, each with its reason."""

from collections.abc import Callable
from dataclasses import dataclass

from .hardware import Hardware
from .resources import GenerationMemory


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The context of a configuration that rules depend on.

    Attributes:
        hardware: The machine that trials run on.
        task: The workload's task.
        parallel_on_cpu: Whether ranks of `tensor_parallel` can run as processes on the CPU.
        memory: What the memory of the workload's model follows from; None if it is not known, or
            not known before model and data have been checked.
    """

    hardware: Hardware
    task: str
    parallel_on_cpu: bool = False
    memory: GenerationMemory | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule that excludes configurations that can't run.

    Attributes:
        name: A short name for records.
        choices: Names of the choices it depends on; an inactive one has its default value.
        reason: Called with the context and the values of `choices`, in their order; returns the
            reason for exclusion, or None.
    """

    name: str
    choices: tuple[str, ...]
    reason: Callable[..., str | None]
