"""A measure of a user: page faults of the candidate's processes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tunefront.evaluators import Measure, Measurement, Metric, Reading, Timing
from tunefront.spaces import Configuration, Extension, Hardware

FAULTS = Metric(
    name="page_faults",
    unit="faults",
    direction="minimize",
    summary="pages that the candidate's processes had to map, loading included",
    kind="memory",
    single_reading=True,
)

EXTENSION = Extension(
    name="page-faults", metrics=(FAULTS,), provides={"measure": "toy_measure:PageFaults"}
)


class PageFaults(Measure):
    """Minor page faults from before the model is loaded, read by process id."""

    metrics = (FAULTS,)

    def obstacle(self, hardware: Hardware, configuration: Configuration | None) -> str | None:
        return None if Path("/proc/self/stat").exists() else "this system has no /proc"

    def start(self, processes: Sequence[int], cores: Sequence[int]) -> Reading:
        return FaultsReading(processes)


class FaultsReading(Reading):
    def __init__(self, processes: Sequence[int]) -> None:
        self.before = {pid: faults_of(pid) for pid in processes}

    def measurements(self, timing: Timing) -> Mapping[str, Measurement]:
        total = sum(max(0, faults_of(pid) - before) for pid, before in self.before.items())
        return {FAULTS.name: Measurement.exact(float(total), FAULTS.unit)}


def faults_of(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0
    return int(fields[7])
