"""Interleaved benchmark: candidates timed in turns (A B C, C B A, ...) on the same cores.

Slow drift of the machine affects all candidates alike, so their ratios stay valid. Each candidate
runs in fresh processes, which sleep while another candidate runs. If other processes keep the
machine busy, the next turn waits, up to `Protocol.wait_s` in total.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tunefront.evaluators.evaluation.settings import EvaluationSettings, devices, memory_limit
from tunefront.evaluators.interfaces.tensors import read_requests, size_of_pass, speed_of
from tunefront.evaluators.isolation.codec import from_plain, to_plain
from tunefront.evaluators.isolation.cores import lease_cores
from tunefront.evaluators.isolation.preload import IMPORT_PROFILES
from tunefront.evaluators.isolation.process import Child, Isolation
from tunefront.evaluators.isolation.task import Task
from tunefront.evaluators.measures.energy import EnergyMeter
from tunefront.evaluators.measures.gpu import Gpus
from tunefront.evaluators.measures.machine import MachineWatch, wait_until_quiet
from tunefront.evaluators.statistics.measurement import Measurement
from tunefront.evaluators.statistics.timing import Block, Timing
from tunefront.evaluators.store.locks import in_use
from tunefront.spaces import (
    Configuration,
    EvaluationError,
    Resources,
    WorkloadError,
    check_complete,
    resources_of,
)

from .messages import MEASURE, CandidateState, MeasureRequest, TimedBlock
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

    def __post_init__(self) -> None:
        check_complete(self.configuration)

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
        measurements: Speed, memory, and energy if the machine has a counter.
        facts: Properties read back from the running candidate, seconds of loading and of warm-up,
            and the clock that was used.
    """

    timing: Timing
    measurements: Mapping[str, Measurement]
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class InterleavedRun:
    """An interleaved run.

    Attributes:
        sittings: For each target its result, or the error that ended it.
        machine: State of the machine: load, foreign CPU time, clocks, and GPUs if used.
        waited_s: Seconds spent waiting for a quiet machine.
        queued_s: Seconds spent waiting for free cores, before the run.
    """

    sittings: Sequence[TargetResult | EvaluationError]
    machine: Mapping[str, float]
    waited_s: float
    queued_s: float = 0.0


EnoughTurns = Callable[[Sequence[Timing], float], bool]
"""Whether the timings so far suffice; also takes the seconds since the first turn, less waiting."""
EndsEarly = Callable[[InterleavedRun], bool]
"""Whether to stop early, given the interim result of the run."""
LOOK_TURNS = 3
"""Undisturbed turns of each target after which the interim result is taken."""


def take_turns(
    setting: EvaluationSettings,
    contenders: Sequence[Target],
    isolation: Isolation,
    log: Path,
    enough: EnoughTurns,
    ends_early: EndsEarly | None = None,
) -> InterleavedRun:
    """Run an interleaved benchmark of some targets.

    If a target fails, the others continue. If the first target fails, the run ends, because the
    others are measured only to be compared with it.

    Args:
        setting: The evaluation settings.
        contenders: The targets.
        isolation: Starts the processes.
        log: File for the processes' output.
        enough: Called after every turn; the run ends when it returns True.
        ends_early: Called once, when each target has `LOOK_TURNS` undisturbed turns; the run ends
            if it returns True.

    Raises:
        TimeoutError: If the cores are not free within an hour.
    """
    wanted = max(contender.resources.cores for contender in contenders)
    places = sum(contender.replicas for contender in contenders)
    read = [folder for c in contenders for folder in (c.candidate, c.requests)]
    start = time.monotonic()
    with (
        in_use(*read),
        lease_cores(wanted) as cores,
        TurnChannel(places) as turnstile,
        ExitStack() as stack,
    ):
        queued_s = time.monotonic() - start
        table = _Benchmark(setting, turnstile, cores)
        for contender in contenders:
            table.add(contender, isolation, log, stack)
        return replace(table.play(enough, ends_early), queued_s=queued_s)


class _Participant:
    """A target in an interleaved benchmark: its processes, and its blocks and energy so far."""

    def __init__(
        self, contender: Target, places: Sequence[int], children: list[Child[CandidateState]]
    ) -> None:
        self.contender = contender
        self.places = places
        self.children = dict(zip(places, children, strict=True))
        self.items, self.tokens = size_of_pass(read_requests(contender.requests))
        self.blocks: list[list[Block]] = []
        self.joules: list[float] = []
        self.failure: EvaluationError | None = None

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
            threads=self.contender.clocked_by,
        )

    def sitting(self) -> TargetResult | EvaluationError:
        """Return the target's result or error; call it after `end` was sent to its processes."""
        if self.failure is not None:
            return self.failure
        if not self.blocks:
            return EvaluationError("not measured: the reference candidate failed first", "crash")
        try:
            return self.figures([child.result() for child in self.children.values()])
        except EvaluationError as error:
            return error

    def figures(self, results: Sequence[CandidateState]) -> TargetResult:
        """Return the target's result from its turns and the reports of its processes.

        Args:
            results: The state of each replica's process.
        """
        first = results[0]
        # Library pages are shared: they count once, the memory above them for each replica.
        model_mb = sum(r.peak_mb - r.idle_mb for r in results)
        exact = {
            "peak_memory_mb": first.idle_mb + model_mb,
            "model_memory_mb": model_mb,
            "weights_mb": first.weights_mb,
            **{f"gpu_{name}": sum(r.gpu[name] for r in results) for name in first.gpu},
        }
        timing = self.timing
        return TargetResult(
            timing=timing,
            measurements={
                **speed_of(timing),
                **{name: Measurement.exact(value, "MB") for name, value in exact.items()},
                **self._energy(),
            },
            facts={
                **first.facts,
                "load_s": first.load_s,
                "warmup_s": first.warmup_s,
                "clock": timing.clock,
            },
        )

    def _energy(self) -> dict[str, Measurement]:
        """Return the energy per item; empty if the machine has no energy counter."""
        if not self.joules:
            return {}
        items = [
            sum(block.request_s.size for block in turn)
            * self.contender.configuration.integer("batch_size")
            for turn in self.blocks
        ]
        return {"energy_per_item": energy_of(self.joules, items)}


def energy_of(joules: Sequence[float], items: Sequence[int]) -> Measurement:
    """Return joules per item: total energy over total items; the interval is the turns' range.

    Args:
        joules: Energy of each turn.
        items: Items of each turn.
    """
    each = np.array(joules) / np.array(items)
    return Measurement(
        value=float(np.sum(joules) / np.sum(items)),
        unit="J",
        low=float(each.min()),
        high=float(each.max()),
        samples=len(each),
    )


class _Benchmark:
    """An interleaved benchmark: starts the targets' processes and runs their turns."""

    def __init__(
        self, setting: EvaluationSettings, turnstile: TurnChannel, cores: Sequence[int]
    ) -> None:
        self._setting = setting
        self._protocol = setting.protocol
        self._turnstile = turnstile
        self._cores = cores
        self._players: list[_Participant] = []
        self._waited_s = 0.0
        self._meter = EnergyMeter()

    def add(self, contender: Target, isolation: Isolation, log: Path, stack: ExitStack) -> None:
        """Start a target's processes, without waiting; all targets load concurrently."""
        first = sum(len(player.places) for player in self._players)
        places = range(first, first + contender.replicas)
        children = [
            stack.enter_context(isolation.start(self._task(contender, replica, place, log)))
            for replica, place in enumerate(places)
        ]
        self._players.append(_Participant(contender, places, children))

    def _task(self, contender: Target, replica: int, place: int, log: Path) -> Task[CandidateState]:
        configuration = contender.configuration
        request = MeasureRequest(
            candidate=contender.candidate,
            configuration=configuration,
            requests=contender.requests,
            protocol=self._protocol,
            address=self._turnstile.address,
            place=place,
        )
        return Task(
            function=MEASURE,
            request=request,
            result=CandidateState,
            imports=IMPORT_PROFILES[configuration.text("runtime")],
            log=log,
            timeout_s=self._setting.timeouts.measure_s,
            cores=self._cores[replica * contender.cores : (replica + 1) * contender.cores],
            environment=devices(),
            memory_mb=memory_limit(self._setting, configuration),
        )

    def play(self, enough: EnoughTurns, ends_early: EndsEarly | None) -> InterleavedRun:
        """Load and warm up all targets, then run turns until `enough` or `ends_early` stops them.

        The order of the targets is reversed in every other turn.
        """
        for player in self._players:
            self._seat(player)
        self._wait()
        for player in self._present():
            self._call(player, "warm")
        watch, own = MachineWatch(self._cores), 0.0
        start = time.monotonic() - self._waited_s
        while (present := self._present()) and self._players[0] in present:
            turn = len(self._players[0].blocks)
            for player in present if turn % 2 == 0 else reversed(present):
                own += self._block(player)
            timings = [player.timing for player in self._present()]
            if not timings or enough(timings, time.monotonic() - start - self._waited_s):
                break
            if ends_early and min(int(t.clean.sum()) for t in timings) >= LOOK_TURNS:
                if self._look(ends_early, watch, own):
                    break
                ends_early = None
            # CPU time excludes the time that other processes used the core; wall time does not.
            if any(timing.clock == "wall" and not timing.clean[-1] for timing in timings):
                self._wait()
        machine = self._machine(watch, own)
        for player in self._present():
            self._turnstile.dismiss(player.places)
        sittings = [player.sitting() for player in self._players]
        return InterleavedRun(sittings=sittings, machine=machine, waited_s=self._waited_s)

    def _look(self, ends_early: EndsEarly, watch: MachineWatch, own_s: float) -> bool:
        """Take the interim result and return whether to stop; False if a target fails meanwhile."""
        sittings: list[TargetResult | EvaluationError] = []
        for player in self._present():
            if not (results := self._call(player, "look")):
                return False
            sittings.append(player.figures([from_plain(CandidateState, r) for r in results]))
        machine = self._machine(watch, own_s)
        return ends_early(
            InterleavedRun(sittings=sittings, machine=machine, waited_s=self._waited_s)
        )

    def _machine(self, watch: MachineWatch, own_s: float) -> Mapping[str, float]:
        return {**to_plain(watch.state(own_s)), **self._gpus()}

    def _gpus(self) -> dict[str, float]:
        """Return the state of the GPUs; empty if no target uses one."""
        used = any(player.contender.resources.gpus for player in self._players)
        return Gpus().state() if used else {}

    def _present(self) -> list[_Participant]:
        return [player for player in self._players if player.failure is None]

    def _wait(self) -> None:
        left_s = self._protocol.wait_s - self._waited_s
        if left_s > 0:
            self._waited_s += wait_until_quiet(self._cores, left_s)

    def _block(self, player: _Participant) -> float:
        """Run one block of one target; return the CPU seconds that its replicas used for it."""
        before = self._meter.joules()
        answers = self._call(player, "block")
        if not answers:
            return 0.0
        after = self._meter.joules()
        if before is not None and after is not None:
            player.joules.append(after - before)
        timed = [from_plain(TimedBlock, answer) for answer in answers]
        player.blocks.append([one.block for one in timed])
        return sum(one.spent_s for one in timed)

    def _seat(self, player: _Participant) -> None:
        limit_s = self._setting.timeouts.measure_s
        self._ask(player, lambda: self._turnstile.seated(player.places, limit_s, player.check))

    def _call(self, player: _Participant, word: str) -> list[Mapping[str, Any]]:
        limit_s = self._setting.timeouts.measure_s
        return self._ask(
            player, lambda: self._turnstile.call(player.places, word, limit_s, player.check)
        )

    def _ask(
        self, player: _Participant, ask: Callable[[], list[Mapping[str, Any]]]
    ) -> list[Mapping[str, Any]]:
        """Return the replies of `ask`; on an error record it, kill the target, and return []."""
        try:
            return ask()
        except WorkloadError as error:
            player.failure = EvaluationError(str(error), cause="exception")
        except EvaluationError as error:
            player.failure = error
        for child in player.children.values():
            child.end()
        return []
