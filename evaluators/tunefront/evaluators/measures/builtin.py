"""The built-in measures."""

from collections.abc import Sequence

from .base import Measure
from .energy import Energy
from .gpu import GpuMemory, GpuState
from .machine import MachineLoad
from .memory import HostMemory

BUILTIN_MEASURES: Sequence[Measure] = (
    HostMemory(),
    GpuMemory(),
    Energy(),
    MachineLoad(),
    GpuState(),
)
