"""Interleaved benchmark: candidates timed in turns (A B C, C B A, ...) on the same cores.

Slow drift of the machine affects all candidates equally, so their ratios stay valid. Each candidate
runs in fresh processes, which sleep while another candidate runs. If other processes keep the
machine busy, the next turn waits, up to `Protocol.wait_s` in total.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tunefront.evaluators.evaluation.built import built_measurements
from tunefront.evaluators.evaluation.settings import EvaluationSettings, devices, memory_limit
from tunefront.evaluators.extensions import catalog_of
from tunefront.evaluators.interfaces.tensors import read_requests, size_of_pass, speed_of
from tunefront.evaluators.isolation.codec import from_plain
from tunefront.evaluators.isolation.cores import lease_cores
from tunefront.evaluators.isolation.preload import open_imports
from tunefront.evaluators.isolation.process import Child, Isolation
from tunefront.evaluators.isolation.task import Task
from tunefront.evaluators.measures.base import Measure, MeasureScope, Reading
from tunefront.evaluators.measures.builtin import BUILTIN_MEASURES
from tunefront.evaluators.measures.machine import wait_until_quiet
from tunefront.evaluators.statistics.measurement import Measurement
from tunefront.evaluators.statistics.timing import Block, Timing
from tunefront.evaluators.store.locks import in_use
from tunefront.spaces import (
    Configuration,
    EvaluationError,
    Resources,
    WorkloadError,
    detect_hardware,
    resources_of,
)

from .messages import MEASURE, MeasureRequest, ReadBack
from .turn_channel import TurnChannel


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A measurement target: a built candidate of an interleaved run.

    Attributes:
        configuration: The configuration that it runs with; complete.
        candidate: Folder of the built candidate.
        requests: Folder of the requests for its batch size.
    """

    configuration: Configuration
    candidate: Path
    requests: Path

    @property
    def resources(self) -> Resources:
        """Resources of all its processes together."""
        return resources_of(self.configuration)

    @property
    def replicas(self) -> int:
        """Number of replicas: copies of the model that run at the same time."""
        return self.configuration.integer("replicas")

    @property
    def cores(self) -> int:
        """Cores of each replica, for all its ranks."""
        return self.resources.cores // self.replicas

    @property
    def clocked_by(self) -> int | None:
        """Threads of each replica if CPU time can be the clock; None on other devices."""
        return None if self.resources.gpus else self.cores


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetResult:
    """A target result: the timing and measurements of one target.

    Attributes:
        timing: Its timed blocks.
        measurements: Speed, size on disk, and what the measures of the run report.
        facts: Seconds of loading and of warm-up, the clock that was used and, after the last turn,
            properties read back from the running candidate.
    """

    timing: Timing
    measurements: Mapping[str, Measurement]
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class InterleavedRun:
    """An interleaved run.

    Attributes:
        target_results: For each target its result, or the error that ended it.
        machine: State of the machine: load, foreign CPU time, clocks, and GPUs if used.
        waited_s: Seconds spent waiting for a quiet machine.
        queued_s: Seconds spent waiting for free cores, before the run.
    """

    target_results: Sequence[TargetResult | EvaluationError]
    machine: Mapping[str, float]
    waited_s: float
    queued_s: float = 0.0


EnoughTurns = Callable[[Sequence[Timing], float], bool]
"""Whether the timings so far suffice; also takes the seconds since the first turn, less waiting."""
EndsEarly = Callable[[InterleavedRun], bool]
"""Whether to stop early, given the interim result of the run."""
INTERIM_TURNS = 3
"""Undisturbed turns of each target after which the interim result is taken."""


def take_turns(
    setting: EvaluationSettings,
    targets: Sequence[Target],
    isolation: Isolation,
    log: Path,
    enough: EnoughTurns,
    ends_early: EndsEarly | None = None,
    measures: Sequence[Measure] = BUILTIN_MEASURES,
) -> InterleavedRun:
    """Run an interleaved benchmark of some targets.

    If a target fails, the others continue. If the first target fails, the run ends, because the
    others are measured only to be compared with it.

    Args:
        setting: The evaluation settings.
        targets: The targets.
        isolation: Starts the processes.
        log: File for the processes' output.
        enough: Called after every turn; the run ends when it returns True.
        ends_early: Called once, when each target has `LOOK_TURNS` undisturbed turns; the run ends
            if it returns True.
        measures: Measured in addition to the timing; a measure with an obstacle is left out.

    Raises:
        TimeoutError: If the cores are not free within an hour.
    """
    wanted = max(target.resources.cores for target in targets)
    places = sum(target.replicas for target in targets)
    read = [folder for c in targets for folder in (c.candidate, c.requests)]
    start = time.monotonic()
    with (
        in_use(*read),
        lease_cores(wanted) as cores,
        TurnChannel(places) as channel,
        ExitStack() as stack,
    ):
        queued_s = time.monotonic() - start
        benchmark = _Benchmark(setting, channel, cores, measures)
        for target in targets:
            benchmark.add(target, isolation, log, stack)
        return replace(benchmark.play(enough, ends_early), queued_s=queued_s)


class _Participant:
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
        self.items, self.tokens = size_of_pass(read_requests(target.requests))
        self.blocks: list[list[Block]] = []
        self.pids: list[int] = []
        self.load_s = self.warmup_s = 0.0
        self.result: TargetResult | None = None
        self.failure: EvaluationError | None = None
        self._measures = measures
        self._readings: list[Reading] = []

    def check(self, place: int) -> None:
        """Raise an error if the process at this place has ended."""
        self.children[place].check()

    @property
    def timing(self) -> Timing:
        """A copy of the timing so far; later blocks do not change it."""
        return Timing(
            blocks=tuple(self.blocks),
            items=self.items,
            tokens=self.tokens,
            threads=self.target.clocked_by,
        )

    @property
    def reports(self) -> bool:
        """Whether a measure needs values that the processes read themselves."""
        return any(measure.inside for measure in self._measures)

    def start_readings(self, pids: Sequence[int], cores: Sequence[int]) -> None:
        """Begin the readings of its processes, before they load the model."""
        self.pids = list(pids)
        self._readings = [measure.start(self.pids, cores) for measure in self._measures]

    def before_block(self) -> None:
        """Read what is read before a turn."""
        for reading in self._readings:
            reading.before_block()

    def add_turn(self, blocks: list[Block]) -> None:
        """Keep the blocks of a turn and read what is read after it."""
        for reading in self._readings:
            reading.after_block(blocks)
        self.blocks.append(blocks)

    def take_reports(self, replies: Sequence[Mapping[str, Any]]) -> None:
        """Give the values that the processes have read to the measures that need them."""
        for measure, reading in zip(self._measures, self._readings, strict=True):
            if measure.inside:
                reading.take_reports([reply["reports"][measure.inside] for reply in replies])

    def measure(self) -> TargetResult:
        """Return the result of the turns so far, without properties read back."""
        timing = self.timing
        measurements = {**speed_of(timing), **built_measurements(self.target.candidate)}
        for reading in self._readings:
            measurements |= reading.measurements(timing)
        facts = {"load_s": self.load_s, "warmup_s": self.warmup_s, "clock": timing.clock}
        self.result = TargetResult(timing=timing, measurements=measurements, facts=facts)
        return self.result

    def target_result(self) -> TargetResult | EvaluationError:
        """Return the target's result or error; call it after `end` was sent to its processes."""
        if self.failure is not None:
            return self.failure
        if self.result is None:
            return EvaluationError("not measured: the reference candidate failed first", "crash")
        try:
            first, *_ = [child.result() for child in self.children.values()]
        except EvaluationError as error:
            return error
        return replace(self.result, facts={**first.facts, **self.result.facts})


class _Benchmark:
    """An interleaved benchmark: starts the targets' processes and runs their turns."""

    def __init__(
        self,
        setting: EvaluationSettings,
        channel: TurnChannel,
        cores: Sequence[int],
        measures: Sequence[Measure],
    ) -> None:
        self._setting = setting
        self._protocol = setting.protocol
        self._turnstile = channel
        self._cores = cores
        self._measures = measures
        self._players: list[_Participant] = []
        self._waited_s = 0.0

    def add(self, target: Target, isolation: Isolation, log: Path, stack: ExitStack) -> None:
        """Start a target's processes, without waiting."""
        first = sum(len(participant.places) for participant in self._players)
        places = range(first, first + target.replicas)
        measures = self._applicable("candidate", [target.configuration])
        tasks = [
            self._task(target, replica, place, log, measures)
            for replica, place in enumerate(places)
        ]
        children = [stack.enter_context(isolation.start(task)) for task in tasks]
        self._players.append(_Participant(target, places, children, measures))

    def _applicable(
        self, scope: MeasureScope, configurations: Sequence[Configuration]
    ) -> list[Measure]:
        """Return the measures of a scope that have no obstacle for one of the configurations."""
        hardware = detect_hardware()
        return [
            measure
            for measure in self._measures
            if measure.scope == scope
            and any(measure.obstacle(hardware, one) is None for one in configurations)
        ]

    def _task(
        self, target: Target, replica: int, place: int, log: Path, measures: Sequence[Measure]
    ) -> Task[ReadBack]:
        configuration = target.configuration
        workload = self._setting.workload
        catalog = catalog_of(workload.extensions, workload.declared)
        request = MeasureRequest(
            workload=workload,
            candidate=target.candidate,
            configuration=configuration,
            requests=target.requests,
            protocol=self._protocol,
            address=self._turnstile.address,
            place=place,
            inside=tuple(measure.inside for measure in measures if measure.inside),
        )
        return Task(
            function=MEASURE,
            request=request,
            result=ReadBack,
            imports=open_imports(catalog, configuration.text("runtime")),
            log=log,
            timeout_s=self._setting.timeouts.measure_s,
            cores=self._cores[replica * target.cores : (replica + 1) * target.cores],
            environment=devices(),
            memory_mb=memory_limit(self._setting, configuration),
        )

    def play(self, enough: EnoughTurns, ends_early: EndsEarly | None) -> InterleavedRun:
        """Load and warm up all targets, then run turns until `enough` or `ends_early` stops them.

        The order of the targets is reversed in every other turn.
        """
        self._load()
        self._wait()
        for participant in self._present():
            if replies := self._call(participant, "warm"):
                participant.warmup_s = replies[0]["warmup_s"]
        machine = self._machine_readings()
        start = time.monotonic() - self._waited_s
        while (present := self._present()) and self._players[0] in present:
            turn = len(self._players[0].blocks)
            for participant in present if turn % 2 == 0 else reversed(present):
                self._block(participant)
            timings = [participant.timing for participant in self._present()]
            if not timings or enough(timings, time.monotonic() - start - self._waited_s):
                break
            if ends_early and min(int(t.clean.sum()) for t in timings) >= INTERIM_TURNS:
                if self._look(ends_early, machine):
                    break
                ends_early = None
            # CPU time excludes the time that other processes used the core; wall time does not.
            if any(timing.clock == "wall" and not timing.clean[-1] for timing in timings):
                self._wait()
        state = _state_of(machine)
        for participant in self._present():
            self._measure(participant)
            self._turnstile.dismiss(participant.places)
        target_results = [participant.target_result() for participant in self._players]
        return InterleavedRun(target_results=target_results, machine=state, waited_s=self._waited_s)

    def _load(self) -> None:
        """Begin the readings of all targets, then load their models at the same time."""
        limit_s, channel = self._setting.timeouts.measure_s, self._turnstile
        for participant in self._players:
            started = self._ask(
                participant, lambda p: self._turnstile.seated(p.places, limit_s, p.check)
            )
            if started:
                participant.start_readings([int(one["pid"]) for one in started], self._cores)
        for participant in self._present():
            channel.send(participant.places, "load")
        for participant in self._present():
            loaded = self._ask(
                participant, lambda p: self._turnstile.replies(p.places, limit_s, p.check)
            )
            if loaded:
                participant.load_s = loaded[0]["load_s"]

    def _machine_readings(self) -> list[Reading]:
        """Begin the readings of the machine's state."""
        pids = [pid for participant in self._present() for pid in participant.pids]
        used = [participant.target.configuration for participant in self._players]
        return [m.start(pids, self._cores) for m in self._applicable("machine", used)]

    def _look(self, ends_early: EndsEarly, machine: Sequence[Reading]) -> bool:
        """Take the interim result and return whether to stop; False if a target fails meanwhile."""
        state = _state_of(machine)
        results = [self._measure(participant) for participant in self._present()]
        found = [result for result in results if result is not None]
        if len(found) < len(results):
            return False
        return ends_early(
            InterleavedRun(target_results=found, machine=state, waited_s=self._waited_s)
        )

    def _measure(self, participant: _Participant) -> TargetResult | None:
        """Return a target's result so far; None if it has no turns or fails."""
        if not participant.blocks:
            return None
        if participant.reports:
            if not (replies := self._call(participant, "report")):
                return None
            participant.take_reports(replies)
        return participant.measure()

    def _present(self) -> list[_Participant]:
        return [participant for participant in self._players if participant.failure is None]

    def _wait(self) -> None:
        left_s = self._protocol.wait_s - self._waited_s
        if left_s > 0:
            self._waited_s += wait_until_quiet(self._cores, left_s)

    def _block(self, participant: _Participant) -> None:
        """Run one turn of one target: a block of each of its replicas."""
        participant.before_block()
        if replies := self._call(participant, "block"):
            participant.add_turn([from_plain(Block, reply) for reply in replies])

    def _call(self, participant: _Participant, word: str) -> list[Mapping[str, Any]]:
        limit_s = self._setting.timeouts.measure_s
        return self._ask(
            participant, lambda p: self._turnstile.call(p.places, word, limit_s, p.check)
        )

    def _ask(
        self, participant: _Participant, ask: Callable[[_Participant], list[Mapping[str, Any]]]
    ) -> list[Mapping[str, Any]]:
        """Return the replies of `ask`; on an error record it, kill the target, and return []."""
        try:
            return ask(participant)
        except WorkloadError as error:
            participant.failure = EvaluationError(str(error), cause="exception")
        except EvaluationError as error:
            participant.failure = error
        for child in participant.children.values():
            child.end()
        return []


def _state_of(machine: Sequence[Reading]) -> dict[str, float]:
    """Return the machine's state, by all its readings."""
    return {name: value for reading in machine for name, value in reading.state().items()}
