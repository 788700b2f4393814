"""Whose capacity is measured, in which order and time, with a made-up machine."""

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest

from tunefront.evaluators import Evaluation, EvaluationSettings, Measurement, WorkloadSpec
from tunefront.evaluators.interfaces.generation import LoadSpec
from tunefront.evaluators.interfaces.polled.capacity import (
    CapacityKind,
    CapacityResult,
    CapacitySearch,
    ProbeResult,
    capacity_metric,
)
from tunefront.evaluators.interfaces.polled.metrics import REQUESTS_PER_SECOND
from tunefront.evaluators.statistics.capacity_bisection import CapacityProbe
from tunefront.search import Experiment, Trial
from tunefront.search.cluster.jobs import CapacityJob
from tunefront.search.cluster.supervisor import RayLost, RaySupervisor
from tunefront.search.results.result import result_of
from tunefront.search.run.capacity.measurement import CapacityRun
from tunefront.search.run.capacity.plan import capacity_seconds, first_level, to_probe
from tunefront.search.run.events import Event
from tunefront.search.study.confirmation import Confirmation, Round, confirmed
from tunefront.search.study.study import Study
from tunefront.search.terminal.events import event_text
from tunefront.spaces.metric import at_level

Load = Callable[..., Experiment]
TrialOf = Callable[..., Trial]
SETTINGS = EvaluationSettings(
    workload=WorkloadSpec(task="causal-lm", model="m", folder="/nowhere", data="d"),
    fingerprint="abc",
    store="/nowhere",
)
ROUNDS = {n: [Round(ratios=[ratio] * 3)] for n, ratio in enumerate([1.0, 3.0, 0.9])}


def search_of(kind: CapacityKind = "rate") -> CapacitySearch:
    return CapacitySearch(kind=kind, start=4.0, seconds=60.0, limit_s=960.0)


def found_of(search: CapacitySearch, *shares: tuple[float, float]) -> CapacityResult:
    probes = [CapacityProbe(level=r, share=s, independent=100.0) for r, s in shares]
    return CapacityResult(
        search=search,
        slo={"ttft_ms": 500.0},
        probes=tuple(ProbeResult(probe=one, times_ms={"ttft_ms": 700.0}) for one in probes),
    )


GOOD = ((4.0, 1.0), (6.0, 0.97), (7.0, 0.8))


@pytest.fixture
def experiment(load: Load) -> Experiment:
    """An experiment whose finalists' rates are searched."""
    known = load()
    confirmation = known.confirmation.model_copy(update={"capacity": "rate", "finalists": 3})
    metrics = {**known.metrics, "capacity": capacity_metric("rate")}
    return replace(known, confirmation=confirmation, metrics=metrics)


@pytest.fixture
def trials(trial: TrialOf, evaluation: Callable[..., Evaluation]) -> list[Trial]:
    """The baseline, a faster and a smaller trial, and one that is dominated."""
    return [
        trial(
            number,
            throughput=speed,
            peak_memory_mb=memory,
            quality_drop=0.0,
            perplexity=10.0,
            evaluation=evaluation(),
        )
        for number, (speed, memory) in enumerate([(100, 500), (300, 500), (90, 200), (80, 600)])
    ]


class Record:
    """Stands in for the study."""

    def __init__(self, experiment: Experiment, trials: list[Trial]) -> None:
        self.experiment = experiment
        self.known = trials
        self.kept = Confirmation(rounds=ROUNDS, finalists=(0, 1, 2))

    def trials(self) -> list[Trial]:
        return self.known

    def confirmation(self) -> Confirmation:
        return self.kept

    def set_confirmation(self, confirmation: Confirmation) -> None:
        self.kept = confirmation


class Machine:
    """Stands in for the supervisor."""

    def __init__(self, *results: tuple[tuple[float, float], ...]) -> None:
        self.results = list(results)
        self.jobs: list[CapacityJob] = []
        self.lost = 0
        self.restarts: list[int] = []

    def capacity(self, job: CapacityJob) -> CapacityResult:
        if self.lost:
            self.lost -= 1
            raise RayLost("Ray exited")
        self.jobs.append(job)
        return found_of(job.wanted, *self.results.pop(0))


def measured(
    record: Record,
    machine: Machine,
    seconds_left: float | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> list[Event]:
    events: list[Event] = []
    CapacityRun(
        study=cast(Study, record),
        settings=SETTINGS,
        supervisor=cast(RaySupervisor, machine),
        restart=lambda lost, restarts: machine.restarts.append(restarts),
        on_event=events.append,
        on_progress=lambda text: None,
        stopped=stopped,
    ).measure(seconds_left)
    return events


def numbers(trials: list[Trial]) -> set[int]:
    return {trial.number for trial in trials}


def test_trials_of_the_front_and_the_baseline_are_measured(
    experiment: Experiment, trials: list[Trial]
) -> None:
    confirmation = Confirmation(rounds=ROUNDS)
    wanted = to_probe(experiment, trials, confirmation)
    assert numbers(wanted) == {0, 1, 2} and wanted[-1].number == 0
    known = confirmation.with_capacity(1, found_of(search_of(), *GOOD))
    assert numbers(to_probe(experiment, trials, known)) == {0, 2}
    other = confirmation.with_capacity(1, found_of(search_of("concurrency"), *GOOD))
    assert numbers(to_probe(experiment, trials, other)) == {0, 1, 2}
    few = experiment.confirmation.model_copy(update={"finalists": 1})
    assert len(to_probe(replace(experiment, confirmation=few), trials, confirmation)) == 2
    assert numbers(to_probe(experiment, trials[:1], Confirmation())) == {0}


def test_without_the_key_nothing_is_measured(
    experiment: Experiment, trials: list[Trial], load: Load
) -> None:
    assert to_probe(load(), trials, Confirmation(rounds=ROUNDS)) == []
    assert capacity_seconds(load()) == 0.0
    assert capacity_seconds(experiment) == 8 * 60.0 * 4


def test_a_search_begins_at_the_requests_that_were_answered(
    experiment: Experiment, trials: list[Trial]
) -> None:
    levels = [at_level(REQUESTS_PER_SECOND, level) for level in ("1", "16")]
    values = {
        one.name: Measurement.exact(value, "requests/s")
        for one, value in zip(levels, (2.0, 9.0), strict=True)
    }
    trial = replace(trials[1], measurements={**trials[1].measurements, **values})
    known = replace(experiment, metrics={**experiment.metrics, **{m.name: m for m in levels}})
    assert first_level(known, trial, "rate") == 9.0
    assert first_level(known, trials[1], "rate") == 1.0
    assert first_level(known, trial, "concurrency") == 1.0
    workload = replace(
        known.workload, task="text-generation", load=LoadSpec(concurrency=(1, 16, 4))
    )
    assert first_level(replace(known, workload=workload), trial, "concurrency") == 16.0


def test_each_capacity_is_recorded_and_reported(
    experiment: Experiment, trials: list[Trial]
) -> None:
    record, machine = Record(experiment, trials), Machine(GOOD, GOOD, ((4.0, 0.5),))
    events = measured(record, machine)
    assert len(machine.jobs) == 3
    assert set(record.kept.capacities) == {0, 1, 2}
    texts = [event_text(event) for event in events]
    assert texts[0] == (
        "measuring the capacity of the finalists: the largest load that keeps the SLO"
    )
    assert " requests/s (" in texts[1] and texts[1].startswith("capacity of 00")
    assert "no probed load, from 4 requests/s on, keeps the SLO for 95 % of the" in texts[3]
    known = {t.number: t for t in confirmed(trials, record.kept, experiment.metrics)}
    assert set(known[0].measurements) & {"capacity"} == set()
    assert known[1].measurements["capacity"].unit == "requests/s"
    view = result_of(experiment, trials, record.kept).view(trials[0])
    assert "no probed load" in view.warnings[-1] and view.trust == "confirmed"


def test_a_search_runs_again_if_ray_exits(experiment: Experiment, trials: list[Trial]) -> None:
    record, machine = Record(experiment, trials), Machine(GOOD, GOOD, GOOD)
    machine.lost = 2
    measured(record, machine)
    assert machine.restarts == [1, 2] and len(machine.jobs) == 3


def test_a_stop_leaves_the_rest_to_the_next_run(
    experiment: Experiment, trials: list[Trial]
) -> None:
    record, machine = Record(experiment, trials), Machine(GOOD, GOOD, GOOD)
    events = measured(record, machine, stopped=lambda: len(machine.jobs) == 1)
    assert len(record.kept.capacities) == 1 and len(events) == 2


def test_a_deadline_leaves_out_what_does_not_fit(
    experiment: Experiment, trials: list[Trial]
) -> None:
    record, machine = Record(experiment, trials), Machine()
    events = measured(record, machine, seconds_left=100.0)
    assert machine.jobs == []
    assert event_text(events[-1]) == (
        "the capacity of 3 finalists was not measured to keep budget.hours 8; run the same command "
        "with more time to measure it"
    )
    jobs = Machine(GOOD, GOOD, GOOD)
    measured(record, jobs, seconds_left=1000.0)
    assert jobs.jobs[0].wanted.limit_s <= 960.0
    assert jobs.jobs[0].seconds_left == pytest.approx(1000.0, abs=60)


def test_a_capacity_of_another_kind_is_not_shown(
    experiment: Experiment, trials: list[Trial]
) -> None:
    confirmation = Confirmation(rounds=ROUNDS).with_capacity(
        1, found_of(search_of("concurrency"), *GOOD)
    )
    shown = confirmed(trials, confirmation, experiment.metrics)[1]
    assert "capacity" not in shown.measurements
