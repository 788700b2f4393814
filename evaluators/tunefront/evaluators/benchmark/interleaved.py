"""Interleaved benchmark: candidates timed in turns (A B C, C B A, ...) on the same cores.

Slow drift of the machine affects all candidates equally, so their ratios stay valid. Each candidate
runs in fresh processes, which sleep while another candidate runs. With several load levels a turn
has a part for each of them, in which all candidates are timed at that level. If other processes
keep the machine or its GPUs busy, the next turn waits, up to `Protocol.wait_s` in total.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tunefront.evaluators.evaluation.settings import EvaluationSettings, memory_limit
from tunefront.evaluators.extensions import catalog_of
from tunefront.evaluators.isolation.codec import from_plain
from tunefront.evaluators.isolation.preload import open_imports
from tunefront.evaluators.isolation.process import Isolation
from tunefront.evaluators.isolation.task import Task
from tunefront.evaluators.measures.base import LONG_BLOCKS, Measure, MeasureScope, Reading
from tunefront.evaluators.measures.builtin import BUILTIN_MEASURES
from tunefront.evaluators.measures.machine import wait_until_quiet
from tunefront.evaluators.statistics.arrays import Floats
from tunefront.evaluators.statistics.pace import paces
from tunefront.evaluators.statistics.timing import Block, Timing, pair_clock
from tunefront.evaluators.store.locks import in_use
from tunefront.spaces import (
    Configuration,
    EvaluationError,
    WorkloadError,
    detect_hardware,
)

from .gpu_checks import GPUS_SHARED, probed_error, wait_for_gpus
from .messages import MEASURE, MeasureRequest, ReadBack, block_call
from .participant import Participant
from .target import Target, TargetResult
from .turn_channel import TurnChannel


@dataclass(frozen=True, slots=True, kw_only=True)
class InterleavedRun:
    """An interleaved run.

    Attributes:
        target_results: For each target its result, or the error that ended it.
        machine: State of the machine: load, foreign CPU time, clocks, and GPUs if used.
        waited_s: Seconds spent waiting for a quiet machine.
        queued_s: Seconds spent waiting for free cores and GPUs, before the run.
    """

    target_results: Sequence[TargetResult | EvaluationError]
    machine: Mapping[str, float]
    waited_s: float
    queued_s: float = 0.0


EnoughTurns = Callable[[Sequence[Timing], float], bool]
"""Whether the timings at a load level suffice.

Also takes the seconds since the first turn, of all levels and without waiting.
"""
EndsEarly = Callable[[InterleavedRun], bool]
"""Whether to stop early, given the interim result of the run."""
INTERIM_TURNS = 3
"""Undisturbed turns of each target after which the interim result is taken."""


def take_turns(
    settings: EvaluationSettings,
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
        settings: The evaluation settings.
        targets: The targets.
        isolation: Starts the processes.
        log: File for the processes' output.
        enough: Called after every turn, for each load level; the run ends when it returns True
            for all of them.
        ends_early: Called once, when each target has `INTERIM_TURNS` undisturbed turns; the run
            ends if it returns True.
        measures: Measured in addition to the timing; a measure with an obstacle is left out.

    Raises:
        EvaluationError: With the cause "timeout", if the cores or GPUs are not free at the
            deadline; with the cause "device", if too few GPUs can be used.
    """
    wanted = max(target.resources.cores for target in targets)
    gpus = max(target.resources.gpus for target in targets)
    places = sum(target.replicas for target in targets)
    read = [folder for c in targets for folder in (c.candidate, c.requests)]
    start = time.monotonic()
    with in_use(*read), isolation.cores(wanted, gpus) as cores:
        queued_s = time.monotonic() - start
        with TurnChannel(places) as channel, ExitStack() as stack:
            benchmark = _Benchmark(settings, isolation, channel, cores, measures)
            for target in targets:
                benchmark.add(target, log, stack)
            run = replace(benchmark.play(enough, ends_early), queued_s=queued_s)
        return _with_broken_gpus(run, isolation, log)


def _with_broken_gpus(run: InterleavedRun, isolation: Isolation, log: Path) -> InterleavedRun:
    """Return a run whose errors name the GPU if a probe finds it broken."""
    found = [
        probed_error(isolation, log, one) if isinstance(one, EvaluationError) else one
        for one in run.target_results
    ]
    return replace(run, target_results=found)


class _Benchmark:
    """An interleaved benchmark: starts the targets' processes and runs their turns."""

    def __init__(
        self,
        settings: EvaluationSettings,
        isolation: Isolation,
        channel: TurnChannel,
        cores: Sequence[int],
        measures: Sequence[Measure],
    ) -> None:
        self._settings = settings
        self._protocol = settings.protocol
        self._isolation = isolation
        self._channel = channel
        self._cores = cores
        self._measures = measures
        self._participants: list[Participant] = []
        self._waited_s = 0.0
        self._gpus_shared = False

    def add(self, target: Target, log: Path, stack: ExitStack) -> None:
        """Start a target's processes, without waiting."""
        first = sum(len(participant.places) for participant in self._participants)
        places = range(first, first + target.replicas)
        measures = self._applicable("candidate", [target.configuration])
        tasks = [
            self._task(target, replica, place, log, measures)
            for replica, place in enumerate(places)
        ]
        children = [stack.enter_context(self._isolation.start(task)) for task in tasks]
        self._participants.append(Participant(target, places, children, measures))

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
        workload = self._settings.workload
        catalog = catalog_of(workload.extensions, workload.declared)
        request = MeasureRequest(
            workload=workload,
            candidate=target.candidate,
            configuration=configuration,
            requests=target.requests,
            protocol=self._protocol,
            address=self._channel.address,
            place=place,
            inside=tuple(measure.inside for measure in measures if measure.inside),
        )
        return Task(
            function=MEASURE,
            request=request,
            result=ReadBack,
            imports=open_imports(catalog, configuration.text("runtime")),
            log=log,
            timeout_s=self._settings.timeouts.measure_s,
            cores=self._cores[replica * target.cores : (replica + 1) * target.cores],
            devices=self._isolation.devices[replica * target.gpus : (replica + 1) * target.gpus],
            memory_mb=memory_limit(self._settings, configuration),
        )

    def play(self, enough: EnoughTurns, ends_early: EndsEarly | None) -> InterleavedRun:
        """Load and warm up all targets, then run turns until `enough` or `ends_early` stops them.

        The order of the targets is reversed in every other turn.
        """
        self._load()
        self._wait()
        for participant in self._present():
            self._warm(participant)
        machine = self._machine_readings()
        start = time.monotonic() - self._waited_s
        while (present := self._present()) and self._participants[0] in present:
            self._turn(present)
            timings = self._timings()
            elapsed_s = time.monotonic() - start - self._waited_s
            if all(enough(level, elapsed_s) for level in timings):
                break
            if ends_early and _clean_turns(timings) >= INTERIM_TURNS:
                if self._take_interim(ends_early, machine):
                    break
                ends_early = None
            if any(map(last_turn_disturbed, timings)):
                self._wait()
        state = self._state_of(machine)
        self._measure_all()
        for participant in self._present():
            self._channel.send_end(participant.places)
        target_results = [participant.target_result() for participant in self._participants]
        return InterleavedRun(target_results=target_results, machine=state, waited_s=self._waited_s)

    def _turn(self, targets: Sequence[Participant]) -> None:
        """Run a turn: at each load level a block of each target."""
        turn = targets[0].turns
        for level in targets[0].sets:
            for participant in targets if turn % 2 == 0 else reversed(targets):
                if participant.failure is None:
                    self._block(participant, turn, level)

    def _timings(self) -> list[list[Timing]]:
        """Return the timings so far of the targets that have not failed, for each load level."""
        present = self._present()
        levels = present[0].sets if present else ()
        return [[participant.timing(level) for participant in present] for level in levels]

    def _load(self) -> None:
        """Begin the readings of all targets, then load their models."""
        for participant in self._participants:
            started = self._ask(participant, self._connected)
            if started:
                participant.start_readings([int(one["pid"]) for one in started], self._cores)
        # On GPUs one after another: the memory that each takes can be known by the growth only.
        alone = [one for one in self._present() if one.target.resources.gpus]
        together = [one for one in self._present() if not one.target.resources.gpus]
        for group in ([one] for one in alone):
            self._load_together(group)
        self._load_together(together)

    def _load_together(self, group: Sequence[Participant]) -> None:
        """Load the models of some targets at the same time."""
        for participant in group:
            participant.before_work()
            self._channel.send(participant.places, "load")
        for participant in group:
            loaded = self._ask(
                participant, lambda p: self._channel.replies(p.places, self._limit_s(), p.check)
            )
            if loaded:
                participant.load_s = loaded[0]["load_s"]
                participant.watch_endpoints(loaded)
                participant.after_work()

    def _warm(self, participant: Participant) -> None:
        """Warm up a target, and run the longer blocks that its measures need."""
        participant.before_work()
        replies = self._call(participant, "warm")
        if not replies:
            return
        participant.after_work()
        participant.warmup_s = replies[0]["warmup_s"]
        if not participant.long_block_s:
            return
        for _ in range(LONG_BLOCKS):
            participant.before_block(long=True)
            replies = self._call(participant, f"run {participant.long_block_s}")
            if not replies:
                return
            participant.after_long_block([from_plain(Block, reply) for reply in replies])
            self._call(participant, "settle")

    def _machine_readings(self) -> list[Reading]:
        """Begin the readings of the machine's state."""
        pids = self._pids()
        used = [participant.target.configuration for participant in self._participants]
        return [m.start(pids, self._cores) for m in self._applicable("machine", used)]

    def _take_interim(self, ends_early: EndsEarly, machine: Sequence[Reading]) -> bool:
        """Take the interim result and return whether to stop; False if a target fails meanwhile."""
        state = self._state_of(machine)
        results = self._measure_all()
        found = [result for result in results if result is not None]
        if len(found) < len(results):
            return False
        return ends_early(
            InterleavedRun(target_results=found, machine=state, waited_s=self._waited_s)
        )

    def _measure_all(self) -> list[TargetResult | None]:
        """Return the result so far of each target that has not failed; see `_measure`."""
        present = self._present()
        timed = [participant for participant in present if participant.turns]
        pace: dict[Participant, dict[str, Floats]] = {one: {} for one in timed}
        for level in timed[0].sets if timed else ():
            for one, found in zip(timed, paces([p.timing(level) for p in timed]), strict=True):
                pace[one][level] = found
        return [self._measure(one, pace[one]) if one in pace else None for one in present]

    def _measure(self, participant: Participant, pace: Mapping[str, Floats]) -> TargetResult | None:
        """Return a target's result so far; None if it fails."""
        if participant.reports:
            if not (replies := self._call(participant, "report")):
                return None
            participant.take_reports(replies)
        return participant.measure(pace)

    def _present(self) -> list[Participant]:
        return [participant for participant in self._participants if participant.failure is None]

    def _wait(self) -> None:
        left_s = self._protocol.wait_s - self._waited_s
        if left_s > 0:
            self._waited_s += wait_until_quiet(self._cores, left_s)
        if self._isolation.devices and not self._gpus_shared:
            left_s = self._protocol.wait_s - self._waited_s
            wait = wait_for_gpus(self._isolation.devices, self._pids(), left_s)
            self._waited_s += wait.seconds
            self._gpus_shared = wait.shared

    def _pids(self) -> list[int]:
        return [pid for participant in self._present() for pid in participant.pids]

    def _state_of(self, machine: Sequence[Reading]) -> dict[str, float]:
        """Return the machine's state, by all its readings, and whether the GPUs were shared."""
        state = {name: value for reading in machine for name, value in reading.state().items()}
        return {**state, GPUS_SHARED: 1.0} if self._gpus_shared else state

    def _block(self, participant: Participant, turn: int, level: str) -> None:
        """Run a block of each of a target's replicas at a load level; then wait for its threads.

        The measures read before the processes settle: until then only requests were run.
        """
        participant.before_block()
        if replies := self._call(participant, block_call(turn, level)):
            participant.add_turn(level, [from_plain(Block, reply) for reply in replies])
            self._call(participant, "settle")

    def _call(self, participant: Participant, word: str) -> list[Mapping[str, Any]]:
        return self._ask(
            participant, lambda p: self._channel.call(p.places, word, self._limit_s(), p.check)
        )

    def _connected(self, participant: Participant) -> list[Mapping[str, Any]]:
        """Wait until a target's processes have connected, apart from the imports before."""
        for child in participant.children.values():
            child.wait_until_started()
        return self._channel.connected(participant.places, self._limit_s(), participant.check)

    def _limit_s(self) -> float:
        """Return the seconds in which targets must reply."""
        return self._isolation.within(self._settings.timeouts.measure_s)

    def _ask(
        self, participant: Participant, ask: Callable[[Participant], list[Mapping[str, Any]]]
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


def _clean_turns(timings: Sequence[Sequence[Timing]]) -> int:
    """Return the smallest number of undisturbed turns of a target at a load level."""
    return min(int(timing.clean.sum()) for level in timings for timing in level)


def last_turn_disturbed(timings: Sequence[Timing]) -> bool:
    """Return whether other processes changed a time of the last turn.

    CPU time excludes the time that other processes used the core; wall time does not. With several
    targets the times are those of the ratios to the first one: where such a ratio is one of wall
    times, a disturbance of either side counts.
    """
    first, *others = timings
    if not others:
        return first.clock == "wall" and not first.clean[-1]
    return any(
        pair_clock(other, first) == "wall" and not (other.clean[-1] and first.clean[-1])
        for other in others
    )
