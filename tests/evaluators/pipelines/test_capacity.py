"""The search for the capacity of an engine, whose time is simulated, and of built candidates."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tunefront.evaluators import EvaluationSettings, WorkloadSpec, builtin_catalog
from tunefront.evaluators.interfaces.builtin import RequestSet, interface_of
from tunefront.evaluators.interfaces.generation import GenerationRequest
from tunefront.evaluators.interfaces.load import Load
from tunefront.evaluators.interfaces.polled.capacity import CapacitySearch
from tunefront.evaluators.isolation.process import Isolation
from tunefront.evaluators.pipelines import capacity as module
from tunefront.evaluators.pipelines.capacity import measure_capacity
from tunefront.evaluators.pipelines.tasks import probes as task
from tunefront.evaluators.pipelines.tasks.probes import probed_level, search_capacity
from tunefront.evaluators.statistics.capacity_bisection import MOST_PROBES, CapacityProbe
from tunefront.spaces import EvaluationError

SLO = {"ttft_ms": 200.0, "tpot_ms": 40.0}


def search_of(kind: Any = "rate", start: float = 4.0, limit_s: float = 1e6) -> CapacitySearch:
    return CapacitySearch(kind=kind, start=start, seconds=60.0, limit_s=limit_s)


@dataclass
class Answers:
    """Stands in for `run_probe`: the share at a load is known, and each probe takes 60 s.

    With less than `least_s` seconds left, the result of a probe is not known in time.
    """

    share: Callable[[float], float]
    monkeypatch: pytest.MonkeyPatch
    least_s: float = 0.0

    def __post_init__(self) -> None:
        self.levels: list[float] = []
        self.seeds: list[int] = []
        self.monkeypatch.setattr(task, "run_probe", self.probe)
        self.monkeypatch.setattr(time, "perf_counter", lambda: 60.0 * len(self.levels))

    def probe(self, *given: Any, seed: int, limit_s: float, **_: object) -> Any:
        level = given[4]
        if limit_s < self.least_s:
            return None
        self.levels.append(level)
        self.seeds.append(seed)
        probe = CapacityProbe(level=level, share=self.share(level), independent=200.0)
        return SimpleNamespace(probe=probe)

    def search(self, search: CapacitySearch) -> Sequence[float]:
        made = RequestSet(
            interface=interface_of("generation"),
            load=Load(),
            requests=[GenerationRequest(prompt=(1, 2), new_tokens=8)],
            slo=SLO,
        )
        search_capacity(SimpleNamespace(), made, search)  # type: ignore[arg-type]
        return self.levels


def steep(boundary: float) -> Callable[[float], float]:
    return lambda level: 1 / (1 + math.exp(30 * math.log(level / boundary) - 2.94))


def test_a_search_ends_near_the_boundary_or_after_all_probes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = Answers(steep(9.0), monkeypatch)
    levels = answers.search(search_of())
    assert levels[0] == 4.0 and len(levels) <= MOST_PROBES
    assert levels[-1] == pytest.approx(9.0, rel=0.1)
    assert answers.seeds == list(range(len(levels)))


def test_no_probe_begins_that_would_end_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(Answers(steep(9.0), monkeypatch).search(search_of(limit_s=310.0))) == 5


def test_a_probe_that_is_cut_off_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = Answers(steep(9.0), monkeypatch, least_s=150.0)
    assert len(answers.search(search_of(limit_s=310.0))) == 3
    with pytest.raises(EvaluationError, match="no probe ended within 140 s") as caught:
        Answers(steep(9.0), monkeypatch, least_s=150.0).search(search_of(limit_s=140.0))
    assert caught.value.cause == "timeout"


def test_a_search_ends_when_the_lowest_load_breaks_the_slo_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    levels = Answers(lambda level: 0.0, monkeypatch).search(search_of("concurrency", 4.0))
    assert levels.count(1.0) == 2 and levels[-1] == 1.0
    lowest = Answers(lambda level: 0.0, monkeypatch).search(search_of("rate", 0.5))
    assert lowest[-2:] == [20 / 60, 20 / 60]


@pytest.mark.parametrize("most", [1, 2, 5, 11])
def test_a_number_of_requests_in_progress_is_found_exactly(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    levels = Answers(lambda level: float(level <= most), monkeypatch).search(
        search_of("concurrency", 4.0)
    )
    assert len(levels) <= MOST_PROBES
    assert {most, most + 1} <= {int(level) for level in levels}


def test_both_numbers_beside_the_estimate_are_probed() -> None:
    search = search_of("concurrency", 4.0)
    assert probed_level([], search) == 4.0
    known = [CapacityProbe(level=4.0, share=1.0, independent=1e4)] * 2
    beyond = CapacityProbe(level=5.0, share=0.6, independent=1e4)
    assert probed_level([*known, beyond], search) == 5.0


def settings_of() -> EvaluationSettings:
    workload = WorkloadSpec(task="text-generation", model="m", folder="/nowhere", data="d", slo=SLO)
    return EvaluationSettings(workload=workload, fingerprint="abc", store="/nowhere")


@pytest.mark.parametrize("name", ["replicas", "tensor_parallel"])
def test_a_candidate_of_several_processes_has_no_capacity(name: str, tmp_path: Path) -> None:
    configuration = builtin_catalog().complete({name: 2})
    found = measure_capacity(
        settings_of(), configuration, Isolation(), tmp_path / "log", search_of()
    )
    assert found.problem == (
        f"requests go to one process, but the trial has {name} 2; the capacity of a trial with 1 "
        "can be measured (unsupported)"
    )


def test_a_candidate_that_fails_has_no_capacity(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def target_of(*given: object) -> None:
        raise EvaluationError("it can't be built", cause="exception")

    monkeypatch.setattr(module, "target_of", target_of)
    configuration = builtin_catalog().complete({})
    found = measure_capacity(
        settings_of(), configuration, Isolation(), tmp_path / "log", search_of()
    )
    assert (found.probes, found.problem) == ((), "it can't be built (exception)")
    assert found.slo == SLO


def test_a_choice_that_had_no_effect_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in a trial: another process of the same candidate can ignore it, too."""
    closed: list[bool] = []
    interface = SimpleNamespace(respond=lambda *given: None, warm_up=lambda *given: 0.0)
    made = SimpleNamespace(interface=interface, requests=[None], slo=SLO)
    endpoint = SimpleNamespace(facts=dict, close=lambda: closed.append(True))
    stand_ins = {
        "read_request_sets": lambda folder: {},
        "highest_set": lambda sets: made,
        "open_candidate": lambda folder, configuration: endpoint,
        "search_capacity": lambda *given: [],
        "CandidateRecord": SimpleNamespace(read=lambda folder: None),
        "not_applied": lambda *given: "slots is 1, but 2 was chosen",
    }
    for name, stand_in in stand_ins.items():
        monkeypatch.setattr(task, name, stand_in)
    request = task.CapacityRequest(
        workload=settings_of().workload,
        candidate=tmp_path,
        configuration=builtin_catalog().complete({}),
        requests=tmp_path,
        search=search_of(),
    )
    with pytest.raises(EvaluationError, match="slots is 1, but 2 was chosen") as caught:
        task.find_capacity(request)
    assert caught.value.cause == "not applied" and closed == [True]
