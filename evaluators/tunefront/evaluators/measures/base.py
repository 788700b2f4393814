"""The contract of a measure: what is measured while a candidate runs, in addition to its timing."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from tunefront.evaluators.statistics.measurement import Measurement
from tunefront.evaluators.statistics.timing import Block, Timing
from tunefront.spaces import Configuration, Hardware
from tunefront.spaces.metric import Metric

MeasureScope = Literal["candidate", "machine"]
LONG_BLOCKS = 2
"""Blocks of a measure that needs longer ones than those of the turns."""


class Reading:
    """One use of a measure: what it has read so far. Every method may be left as it is here.

    Its methods are called in the process that controls the benchmark, never during a timed block.
    """

    def watch(self, processes: Sequence[int]) -> None:
        """Watch these processes instead of those given at the start.

        Called after loading, if an engine in separate processes does the work: the process that
        only sends requests to it does not count.

        Args:
            processes: Ids of the engine's processes, one for each replica or more.
        """

    def before_work(self) -> None:
        """Read before the candidate loads or warms up.

        Of candidates that use GPUs, only this one works from now until `after_work`.
        """

    def after_work(self) -> None:
        """Read right after it has loaded or warmed up."""

    def before_block(self) -> None:
        """Read before the candidate's turn; its processes sleep and start right afterwards."""

    def after_block(self, blocks: Sequence[Block]) -> None:
        """Read right after the candidate's turn; threads of its processes can still spin.

        Args:
            blocks: The blocks of this turn, one for each replica; they ran at the same time.
        """

    def foreign(self) -> float:
        """Return the share that other processes used, in the last turn, of what it watches."""
        return 0.0

    def take_reports(self, reports: Sequence[Mapping[str, float]]) -> None:
        """Take the results of `Measure.inside`, one for each process; the last call counts."""

    def measurements(self, timing: Timing) -> Mapping[str, Measurement]:
        """Return the measurements by metric name; the processes are alive and asleep.

        Called after the first turns, for the interim result, and after the last turn.

        Args:
            timing: The candidate's blocks so far.
        """
        return {}

    def warnings(self) -> Sequence[str]:
        """Return why its values may be wrong, for `Evaluation.warnings`."""
        return ()

    def state(self) -> Mapping[str, float]:
        """Return a state by name, for `Evaluation.machine`: of the machine, or of what it watches.

        Those of the two sides of a ratio can be compared if the scope is `candidate`.
        """
        return {}


class Measure(ABC):
    """A measure: metrics that are read during the timing of a candidate.

    A measure has no state; `start` begins a reading. Processes are read from outside by their ids,
    so that engines in processes of their own are measured like any other.

    Attributes:
        metrics: Metrics that its readings can report; those of the kind `memory` with the most
            general meaning first. Empty for a measure that only has a state.
        scope: `candidate`: one reading for each candidate, from before it loads its model.
            `machine`: one reading for all candidates together, from after their warm-up.
        inside: `module:function` that the measured process itself calls after its turns, for
            values that cannot be read from outside; it takes no arguments and returns numbers by
            name. Empty if nothing is read inside, which leaves the process undisturbed.
    """

    metrics: tuple[Metric, ...] = ()
    scope: ClassVar[MeasureScope] = "candidate"
    inside: ClassVar[str] = ""

    @abstractmethod
    def obstacle(self, hardware: Hardware, configuration: Configuration | None) -> str | None:
        """Return why it cannot be used; None if it can.

        Args:
            hardware: The machine.
            configuration: The configuration that would be measured; None means the machine
                alone: whether any configuration can be measured there.
        """

    def block_s(self, configuration: Configuration) -> float:
        """Return how long blocks must be for it, in seconds; 0 if those of the turns suffice.

        For a measure that needs longer ones, `LONG_BLOCKS` are run after the warm-up; its readings
        are called before and after these, and not in turns.

        Args:
            configuration: The configuration that is measured.
        """
        return 0.0

    @abstractmethod
    def start(self, processes: Sequence[int], cores: Sequence[int]) -> Reading:
        """Begin a reading.

        Args:
            processes: Ids of the processes to watch, one for each replica; their descendants
                belong to them, also those that start later. With the scope `candidate` they have
                loaded their libraries and requests, but no model.
            cores: Cores that the benchmark runs on; all if empty.
        """
