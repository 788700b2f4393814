"""`confirm` with a made-up machine: passes, failures of the baseline, stops, deadlines, drift."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tunefront.evaluators import (
    Evaluation,
    EvaluationSettings,
    Measurement,
    WorkloadSpec,
    measured_metrics,
)
from tunefront.evaluators.isolation.codec import from_plain, to_plain
from tunefront.evaluators.pipelines.base import RoundResult
from tunefront.search import Experiment, Trial
from tunefront.search.cluster.jobs import TurnsJob
from tunefront.search.cluster.supervisor import RayLost, RaySupervisor
from tunefront.search.run import confirm as module
from tunefront.search.run.confirm import GROUP_MEMORY_SHARE, LEAST_TURNS, confirm, to_confirm
from tunefront.search.study.confirmation import Confirmation, confirmed
from tunefront.search.study.study import Study
from tunefront.spaces import Configuration, Value

Load = Callable[..., Experiment]
TrialOf = Callable[..., Trial]
ROUNDS = 3
SETTINGS = EvaluationSettings(
    workload=WorkloadSpec(task="causal-lm", model="m", folder="/nowhere", data="d"),
    fingerprint="abc",
    store="/nowhere",
)
CHANGES: Sequence[Mapping[str, Value]] = (
    {},
    {"runtime": "openvino"},
    {"runtime": "openvino", "batch_size": 8},
    {"threads": 2},
    {"runtime": "openvino", "threads": 2},
)


class Record:
    """Stands in for the study: keeps the confirmation as it would be written."""

    def __init__(self, experiment: Experiment, trials: Sequence[Trial]) -> None:
        self.experiment = experiment
        self._trials = trials
        self.written: list[str] = []

    def trials(self) -> list[Trial]:
        return list(self._trials)

    def confirmation(self) -> Confirmation:
        plain = json.loads(self.written[-1]) if self.written else {}
        return from_plain(Confirmation, plain)

    def set_confirmation(self, confirmation: Confirmation) -> None:
        self.written.append(json.dumps(to_plain(confirmation)))

    def confirmed(self) -> list[Trial]:
        return confirmed(self._trials, self.confirmation(), self.experiment.metrics)


class Machine:
    """Stands in for the supervisor: runs rounds of candidates whose speeds are known.

    Args:
        speeds: Items per second by configuration; others run like the baseline.
        slower: How many times slower than that the machine is now.
        takes_s: Seconds of a group's round; the wanted ones if None.
        values: Further values of a candidate, by its items per second now.
    """

    def __init__(
        self,
        speeds: Mapping[Configuration, float],
        *,
        slower: float = 1.0,
        takes_s: float | None = None,
        values: Callable[[float], Mapping[str, float]] = lambda rate: {},
    ) -> None:
        self.speeds = speeds
        self.slower = slower
        self.takes_s = takes_s
        self.values = values
        self.now = 0.0
        self.jobs: list[TurnsJob] = []
        self.fails: Callable[[int, TurnsJob, Configuration], bool] = lambda turn, job, one: False
        self.lost: set[int] = set()
        self.restarts: list[int] = []

    def monotonic(self) -> float:
        return self.now

    def restart(self, lost: RayLost, restarts: int) -> None:
        """Restart twice in a row at most."""
        self.restarts.append(restarts)
        if restarts > 2:
            raise lost

    def turns(self, job: TurnsJob) -> list[RoundResult | None]:
        number = len(self.jobs)
        self.jobs.append(job)
        if number in self.lost:
            raise RayLost("Ray exited")
        self.now += job.wanted.seconds if self.takes_s is None else self.takes_s
        return [
            None if self.fails(number, job, one) else self._result(one)
            for one in job.configurations
        ]

    def _result(self, one: Configuration) -> RoundResult:
        rate = self.speeds.get(one, 100.0) / self.slower
        return RoundResult(
            rates=[rate] * LEAST_TURNS,
            undisturbed=[True] * LEAST_TURNS,
            values={"throughput": rate, **self.values(rate)},
        )

    def seconds(self) -> list[float]:
        return [job.wanted.seconds for job in self.jobs]


@pytest.fixture
def evaluated(trial: TrialOf, evaluation: Callable[..., Evaluation]) -> Any:
    """Trials of one second each, by items per second and memory."""

    def make(experiment: Experiment, *figures: tuple[float, float], **more: float) -> list[Trial]:
        return [
            trial(
                number,
                configuration=Configuration({**experiment.baseline, **CHANGES[number]}),
                evaluation=evaluation(),
                **{"throughput": speed, "peak_memory_mb": memory, "quality_drop": 0.0, **more},
            )
            for number, (speed, memory) in enumerate(figures)
        ]

    return make


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Confirm with a made-up machine, its clock and `room_mb` of memory for a group."""

    def start(
        study: Record, machine: Machine, room_mb: float = 1e9, **more: Any
    ) -> tuple[Confirmation, list[float]]:
        shares: list[float] = []

        def available(metrics: object, share: float, *, gpus: int) -> dict[str, float]:
            assert gpus == 1
            shares.append(share)
            return {"peak_memory_mb": room_mb * share / GROUP_MEMORY_SHARE}

        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=machine.monotonic))
        monkeypatch.setattr(module, "group_memory_mb", available)
        supervisor = cast(RaySupervisor, machine)
        found = confirm(cast(Study, study), SETTINGS, supervisor, machine.restart, **more)
        return found, shares

    return start


FRONT = ((100, 500), (300, 400), (250, 300), (200, 200), (50, 900))
"""1, 2 and 3 are the front; 4 is dominated."""


def speeds_of(trials: Sequence[Trial]) -> dict[Configuration, float]:
    return {trial.configuration: trial.value("throughput") for trial in trials}


def numbers(job: TurnsJob, trials: Sequence[Trial]) -> set[int]:
    """The trials of a job, without counterparts of the baseline."""
    return {trial.number for trial in trials if trial.configuration in job.configurations}


def test_finalists_are_measured_in_every_round(load: Load, evaluated: Any, run: Any) -> None:
    experiment = load()
    trials = evaluated(experiment, *FRONT)
    record, machine = Record(experiment, trials), Machine(speeds_of(trials))
    done: list[tuple[int, int]] = []
    found, shares = run(record, machine, on_round=lambda *each: done.append(each))
    assert [numbers(job, trials) for job in machine.jobs] == [{0, 1, 2, 3}] * ROUNDS
    assert [job.wanted.number for job in machine.jobs] == [0, 1, 2]
    assert {number: len(rounds) for number, rounds in found.rounds.items()} == dict.fromkeys(
        range(4), ROUNDS
    )
    assert (found.finalists, found.without_baseline) == ((0, 1, 2, 3), {})
    assert done == [(1, 3), (2, 3), (3, 3)]
    assert to_plain(record.confirmation()) == to_plain(found)
    assert len(record.written) == 1
    assert shares == [GROUP_MEMORY_SHARE]
    assert {job.settings.protocol.turns for job in machine.jobs} == {LEAST_TURNS}


def test_a_failure_of_the_baseline_in_one_group_costs_that_group_a_round(
    load: Load, evaluated: Any, run: Any
) -> None:
    """Each finalist is a group; the baseline fails next to 2, in the second of three rounds."""
    experiment = load()
    trials = evaluated(experiment, *FRONT)
    record, machine = Record(experiment, trials), Machine(speeds_of(trials), slower=1.5)
    machine.fails = lambda number, job, one: (
        one == experiment.baseline and 3 <= number < 6 and 2 in numbers(job, trials)
    )
    found, shares = run(record, machine, room_mb=1000.0)
    assert sorted(len(job.configurations) for job in machine.jobs[:3]) == [2, 2, 3]
    assert all(2 in numbers(job, trials) for job in machine.jobs[9:])
    assert len(machine.jobs) == 9 + ROUNDS
    assert {n: len(found.rounds[n]) for n in (1, 2, 3)} == {1: 3, 2: 5, 3: 3}
    assert found.finalists == (0, 1, 2, 3)
    assert found.without_baseline == {2: 1}
    assert shares == [GROUP_MEMORY_SHARE, GROUP_MEMORY_SHARE / 2]
    assert [t.value("throughput") for t in record.confirmed()] == pytest.approx(
        [100, 300, 250, 200, 50]
    )


def test_a_group_whose_baseline_fails_in_every_pass_is_given_up(
    load: Load, evaluated: Any, run: Any
) -> None:
    experiment = load()
    trials = evaluated(experiment, *FRONT)
    record, machine = Record(experiment, trials), Machine(speeds_of(trials))
    machine.fails = lambda number, job, one: (
        one == experiment.baseline and 2 in numbers(job, trials)
    )
    found, shares = run(record, machine, room_mb=1000.0)
    assert len(machine.jobs) == 9 + 2 * ROUNDS
    assert set(found.rounds) == {0, 1, 3}
    assert found.without_baseline == {2: 3}
    assert 2 in found.finalists
    assert shares == [GROUP_MEMORY_SHARE, GROUP_MEMORY_SHARE / 2, GROUP_MEMORY_SHARE / 4]
    assert len(to_confirm(experiment, trials, found)) == 1, "the next run measures nothing again"


def test_without_the_baseline_in_any_group_nothing_is_confirmed(
    load: Load, evaluated: Any, run: Any
) -> None:
    experiment = load()
    trials = evaluated(experiment, *FRONT)
    record, machine = Record(experiment, trials), Machine(speeds_of(trials))
    machine.fails = lambda number, job, one: one == experiment.baseline
    found, _ = run(record, machine)
    assert found.rounds == {}
    assert record.confirmed() == trials


def test_a_finalist_that_fails_in_a_round_is_done_without_rounds(
    load: Load, evaluated: Any, run: Any
) -> None:
    experiment = load()
    trials = evaluated(experiment, *FRONT)
    record, machine = Record(experiment, trials), Machine(speeds_of(trials))
    machine.fails = lambda number, job, one: number == 1 and one == trials[2].configuration
    found, _ = run(record, machine)
    assert len(machine.jobs) == ROUNDS
    assert set(found.rounds) == {0, 1, 3}
    assert (found.finalists, found.without_baseline) == ((0, 1, 2, 3), {})


LUCKY = ((100, 500), (150, 400), (200, 390), (300, 380))
"""3 dominates all, then 2 dominates 1: but in truth they are as fast as the baseline."""


def test_three_passes_follow_the_front_and_share_the_time(
    load: Load, evaluated: Any, run: Any
) -> None:
    """Half of the time is for confirmation: four seconds, after four trials of one second."""
    experiment = load("confirmation.share=0.5")
    trials = evaluated(experiment, *LUCKY)
    record, machine = Record(experiment, trials), Machine({})
    found, _ = run(record, machine)
    assert [numbers(job, trials) for job in machine.jobs] == [
        *[{0, 3}] * ROUNDS,
        *[{0, 2}] * ROUNDS,
        *[{0, 1}] * ROUNDS,
    ]
    first, second, third = (machine.seconds()[3 * n : 3 * n + 3] for n in range(3))
    assert first == pytest.approx([8 / 9] * 3)
    assert second == pytest.approx([8 / 27] * 3)
    assert third == pytest.approx([4 / 27] * 3)
    assert sum(machine.seconds()) == pytest.approx(4.0)
    assert [t.value("throughput") for t in record.confirmed()] == pytest.approx([100.0] * 4)
    assert len(record.written) == 3
    assert found.finalists == (0, 1, 2, 3)


def test_slow_models_have_later_passes_too(load: Load, evaluated: Any, run: Any) -> None:
    """The first pass takes more than the whole share; without a deadline the others still run."""
    experiment = load("confirmation.share=0.5")
    trials = evaluated(experiment, *LUCKY)
    machine = Machine({}, takes_s=100.0)
    run(Record(experiment, trials), machine)
    assert len(machine.jobs) == 3 * ROUNDS
    assert machine.seconds()[ROUNDS:] == [0.0] * 2 * ROUNDS


@pytest.mark.parametrize(
    ("seconds_left", "jobs"), [(-5.0, 0), (50.0, 1), (150.0, 1), (250.0, 2), (300.0, 3), (450.0, 4)]
)
def test_before_a_deadline_there_are_fewer_rounds(
    load: Load, evaluated: Any, run: Any, seconds_left: float, jobs: int
) -> None:
    """A round takes 100 s, so that a second one ends 200 s after the start.

    A round that the deadline has interrupted is not counted as completed.
    """
    experiment = load()
    trials = evaluated(experiment, *LUCKY)
    machine = Machine({}, takes_s=100.0)
    done: list[tuple[int, int]] = []
    found, _ = run(
        Record(experiment, trials),
        machine,
        seconds_left=seconds_left,
        on_round=lambda *each: done.append(each),
    )
    assert len(machine.jobs) == jobs
    assert len(found.rounds.get(3, ())) == min(jobs, ROUNDS)
    assert (2 in found.rounds) is (jobs > ROUNDS)
    assert len(done) == (jobs if seconds_left >= 100 else 0)
    assert [job.seconds_left for job in machine.jobs] == pytest.approx(
        [seconds_left - 100 * number for number in range(jobs)]
    )


def test_a_stop_discards_the_pass_and_keeps_the_earlier_ones(
    load: Load, evaluated: Any, run: Any
) -> None:
    experiment = load()
    trials = evaluated(experiment, *LUCKY)
    record, machine = Record(experiment, trials), Machine({})
    found, _ = run(record, machine, stopped=lambda: len(machine.jobs) == ROUNDS + 1)
    assert len(machine.jobs) == ROUNDS + 1
    assert set(found.rounds) == {0, 3}
    assert to_plain(record.confirmation()) == to_plain(found)
    again, _ = run(record, machine)
    assert set(again.rounds) == {0, 1, 2, 3}
    assert {n: len(rounds) for n, rounds in again.rounds.items() if n} == dict.fromkeys(
        (1, 2, 3), ROUNDS
    )


def test_a_stop_before_the_first_round_changes_nothing(
    load: Load, evaluated: Any, run: Any
) -> None:
    experiment = load()
    record, machine = Record(experiment, evaluated(experiment, *FRONT)), Machine({})
    found, _ = run(record, machine, stopped=lambda: True)
    assert (found, machine.jobs, record.written) == (Confirmation(), [], [])


def test_a_round_is_repeated_if_ray_exits(load: Load, evaluated: Any, run: Any) -> None:
    """Earlier rounds are kept; how often Ray is restarted in a row is the search's decision."""
    experiment = load()
    trials = evaluated(experiment, *FRONT)
    machine = Machine(speeds_of(trials))
    machine.lost = {1, 2, 4}
    found, _ = run(Record(experiment, trials), machine)
    assert machine.restarts == [1, 2, 1]
    assert len(machine.jobs) == ROUNDS + 3
    assert len(found.rounds[1]) == ROUNDS
    machine = Machine(speeds_of(trials))
    machine.lost = {1, 2, 3}
    with pytest.raises(RayLost, match="Ray exited"):
        run(Record(experiment, trials), machine)


def test_a_stop_while_ray_restarts_leaves_the_pass_to_the_next_run(
    load: Load, evaluated: Any, run: Any
) -> None:
    experiment = load()
    record = Record(experiment, evaluated(experiment, *FRONT))
    machine = Machine({})
    machine.lost = {1}
    found, _ = run(record, machine, stopped=lambda: bool(machine.restarts))
    assert (found, machine.restarts, len(machine.jobs)) == (Confirmation(), [1], 2)


def test_tails_and_energy_move_with_the_machine_s_speed(
    load: Load, evaluated: Any, run: Any
) -> None:
    """The machine is 1.5 times slower than in the search: no trial and no limit sees that."""
    metrics = measured_metrics()

    def figures(rate: float) -> Mapping[str, float]:
        return {
            "latency_ms": 1000 / rate,
            "latency_p90_ms": 1100 / rate,
            "latency_p99_ms": 1200 / rate,
            "energy_per_item": 20 / rate,
            "peak_memory_mb": 400.0,
        }

    experiment = load()
    trials = [
        with_figures(trial, figures(trial.value("throughput")))
        for trial in evaluated(experiment, *FRONT)
    ]
    record = Record(experiment, trials)
    known = {**experiment.metrics, "energy_per_item": metrics["energy_per_item"]}
    found, _ = run(record, Machine(speeds_of(trials), slower=1.5, values=figures))
    assert found.rounds[1][0].values["latency_p99_ms"] == pytest.approx(1.5 * 4.0)
    for before, after in zip(trials, confirmed(trials, found, known), strict=True):
        for name in ("throughput", "latency_ms", "latency_p90_ms", "latency_p99_ms"):
            assert after.value(name) == pytest.approx(before.value(name)), name
        assert after.value("energy_per_item") == pytest.approx(before.value("energy_per_item"))
        if after.number in found.rounds:
            assert after.value("peak_memory_mb") == 400.0


def with_figures(trial: Trial, figures: Mapping[str, float]) -> Trial:
    """The trial with further figures."""
    added = {
        name: Measurement.exact(value, measured_metrics()[name].unit)
        for name, value in figures.items()
        if name not in trial.measurements
    }
    return replace(trial, measurements={**trial.measurements, **added})
