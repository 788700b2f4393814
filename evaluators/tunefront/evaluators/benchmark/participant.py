"""A target in a running benchmark: its processes, its blocks and the readings of its measures."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tunefront.evaluators.evaluation.built import built_measurements
from tunefront.evaluators.interfaces.base import Percentiles
from tunefront.evaluators.interfaces.builtin import (
    AnyInterface,
    highest_set,
    read_request_sets,
    timing_of,
)
from tunefront.evaluators.interfaces.endpoint import GPUS
from tunefront.evaluators.isolation.process import Child
from tunefront.evaluators.measures.base import Measure, Reading
from tunefront.evaluators.measures.processes import with_descendants
from tunefront.evaluators.statistics.arrays import Floats
from tunefront.evaluators.statistics.measurement import Measurement
from tunefront.evaluators.statistics.timing import Block, Timing
from tunefront.spaces import EvaluationError
from tunefront.spaces.metric import at_level

from .messages import ReadBack
from .target import Target, TargetResult


def measured_at(interface: AnyInterface, timing: Timing) -> dict[str, Measurement]:
    """Return the measurements of an interface, named by the load level if there are several."""
    measured = interface.measurements(timing)
    known = [metric for metric in interface.metrics if metric.name in measured]
    return {at_level(metric, timing.level).name: measured[metric.name] for metric in known}


def distributed_at(interface: AnyInterface, timing: Timing) -> dict[str, Percentiles]:
    """Return the distributions of an interface, named as in `measured_at`."""
    found = interface.distributions(timing)
    known = [metric for metric in interface.metrics if metric.name in found]
    return {at_level(metric, timing.level).name: found[metric.name] for metric in known}


def named(timing: Timing, warnings: Iterable[str]) -> list[str]:
    """Return warnings about a timing with the load level before them if there are several."""
    return [f"load {timing.level}: {text}" if timing.level else text for text in warnings]


class Participant:
    """A target in an interleaved benchmark: its processes, its blocks and readings so far."""

    def __init__(
        self,
        target: Target,
        places: Sequence[int],
        children: Sequence[Child[ReadBack]],
        measures: Sequence[Measure],
    ) -> None:
        self.target = target
        self.places = places
        self.children = dict(zip(places, children, strict=True))
        self.sets = read_request_sets(target.requests)
        self.blocks: dict[str, list[list[Block]]] = {level: [] for level in self.sets}
        """Blocks by load level, then by turn, then by replica."""
        self.pids: list[int] = []
        self.load_s = self.warmup_s = 0.0
        self.result: TargetResult | None = None
        self.failure: EvaluationError | None = None
        self._measures: Sequence[Measure] = measures
        self._readings: list[Reading] = []
        self._block_s = [measure.block_s(target.configuration) for measure in measures]

    def check(self, place: int) -> None:
        """Raise an error if the process at this place has ended."""
        self.children[place].check()

    @property
    def turns(self) -> int:
        """Number of turns that it has completed at every load level."""
        return min(len(turns) for turns in self.blocks.values())

    def timing(self, level: str) -> Timing:
        """Return a copy of the timing so far at a load level; later blocks do not change it."""
        return timing_of(self.sets[level], self.blocks[level], self.target.clocked_by)

    @property
    def reports(self) -> bool:
        """Whether a measure needs values that the processes read themselves."""
        return any(measure.inside for measure in self._measures)

    def start_readings(self, pids: Sequence[int], cores: Sequence[int]) -> None:
        """Begin the readings of its processes, before they load the model."""
        self.pids = list(pids)
        self._readings = [measure.start(self.pids, cores) for measure in self._measures]

    def watch_endpoints(self, loaded: Sequence[Mapping[str, Any]]) -> None:
        """Watch the processes that do the work, if they are others than those that were started.

        An endpoint on another machine has none: what is read of processes is left out then.
        """
        if any(one["processes"] is None for one in loaded):
            self._measures, self._readings, self._block_s = (), [], []
            return
        working = [int(pid) for one in loaded for pid in one["processes"]]
        if working == self.pids:
            return
        for reading in self._readings:
            reading.watch(working)
        known = {pid for own in self.pids for pid in with_descendants(own)}
        self.pids += [pid for pid in working if pid not in known]

    @property
    def long_block_s(self) -> float:
        """Seconds of the blocks that measures need in addition to the turns; 0 if none does."""
        return 0.0 if self.target.compared_only else max(self._block_s, default=0.0)

    def before_work(self) -> None:
        """Read what is read before it loads or warms up."""
        for reading in self._readings:
            reading.before_work()

    def after_work(self) -> None:
        """Read what is read after it has loaded or warmed up."""
        for reading in self._readings:
            reading.after_work()

    def before_block(self, *, long: bool = False) -> None:
        """Read what is read before a turn, or before a longer block of some measures."""
        for reading in self._readings_of(long=long):
            reading.before_block()

    def after_long_block(self, blocks: Sequence[Block]) -> None:
        """Read what is read after a longer block."""
        for reading in self._readings_of(long=True):
            reading.after_block(blocks)

    def add_turn(self, level: str, blocks: list[Block]) -> None:
        """Keep the blocks of a turn at a load level and read what is read after it."""
        readings = self._readings_of(long=False)
        for reading in readings:
            reading.after_block(blocks)
        if foreign := max((reading.foreign() for reading in readings), default=0.0):
            blocks = [replace(block, foreign=foreign) for block in blocks]
        self.blocks[level].append(blocks)

    def _readings_of(self, *, long: bool) -> list[Reading]:
        """Return the readings of measures that need longer blocks, or of the others."""
        pairs = zip(self._readings, self._block_s, strict=False)  # none before the start
        return [reading for reading, seconds in pairs if (seconds > 0) == long]

    def take_reports(self, replies: Sequence[Mapping[str, Any]]) -> None:
        """Give the values that the processes have read to the measures that need them."""
        for measure, reading in zip(self._measures, self._readings, strict=True):
            if measure.inside:
                reading.take_reports([reply["reports"][measure.inside] for reply in replies])

    def measure(self, pace: Mapping[str, Floats]) -> TargetResult:
        """Return the result of the turns so far, without properties read back.

        Args:
            pace: The machine's pace in each turn, shape `(turns,)`, by load level.
        """
        timings = {level: replace(self.timing(level), pace=pace[level]) for level in self.sets}
        highest = highest_set(self.sets)
        interface, timing = highest.interface, timings[highest.level]
        measurements = built_measurements(self.target.candidate)
        distributions: dict[str, Percentiles] = {}
        for one in timings.values():
            measurements |= measured_at(interface, one)
            distributions |= distributed_at(interface, one)
        for reading in self._readings:
            measurements |= reading.measurements(timing)
        facts = {"load_s": self.load_s, "warmup_s": self.warmup_s, "clock": timing.clock}
        warnings = (
            *(
                text
                for one in timings.values()
                for text in named(one, interface.warnings(one, self.target.cores))
            ),
            *(text for reading in self._readings for text in reading.warnings()),
        )
        state = {name: value for one in self._readings for name, value in one.state().items()}
        self.result = TargetResult(
            timing=timings.pop(highest.level),
            measurements=measurements,
            facts=facts,
            warnings=warnings,
            state=state,
            lower=timings,
            distributions=distributions,
        )
        return self.result

    def target_result(self) -> TargetResult | EvaluationError:
        """Return the target's result or error; call it after `end` was sent to its processes."""
        if self.failure is not None:
            return self.failure
        if self.result is None:
            return EvaluationError("not measured: the reference candidate failed first", "crash")
        try:
            found = [child.result().facts for child in self.children.values()]
        except EvaluationError as error:
            return error
        return replace(self.result, facts={**found[0], **_on_gpus(found), **self.result.facts})


def _on_gpus(facts: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the GPUs of all replicas as one fact; empty on processors."""
    named = [str(one[GPUS]) for one in facts if GPUS in one]
    return {GPUS: ",".join(named)} if named else {}
