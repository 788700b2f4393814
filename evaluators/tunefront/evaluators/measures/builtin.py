"""The built-in measures, and those of extensions."""

from collections.abc import Callable, Sequence
from typing import cast

from tunefront.spaces import Catalog

from .base import Measure
from .energy import Energy
from .gpu_memory import GpuMemory
from .gpu_state import GpuState
from .machine import MachineLoad
from .memory import HostMemory

BUILTIN_MEASURES: Sequence[Measure] = (
    HostMemory(),
    GpuMemory(),
    Energy(),
    MachineLoad(),
    GpuState(),
)


def measures_of(catalog: Catalog) -> tuple[Measure, ...]:
    """Return the built-in measures, and those that the extensions of a catalogue provide."""
    added = (
        cast(Callable[[], Measure], catalog.provided("measure", name))()
        for name in catalog.names("measure")
    )
    return (*BUILTIN_MEASURES, *added)
