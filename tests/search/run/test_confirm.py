"""Confirmation without measuring: who is measured again, with whom, how long, and what it says."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from tests.evaluators.measures.fake_nvml import FakeGpu, FakeNvml

from tunefront.evaluators import builtin_catalog
from tunefront.evaluators.measures.gpu_memory import GPU_MEMORY
from tunefront.evaluators.pipelines.base import RoundResult
from tunefront.search import Experiment, Trial
from tunefront.search.front.picks import front_of
from tunefront.search.run.confirm import (
    Group,
    confirmation_seconds,
    counterpart_of,
    finalists,
    group_memory_mb,
    groups_of,
    rounds_of,
    to_confirm,
)
from tunefront.search.study.confirmation import Confirmation, Round
from tunefront.spaces import Configuration, Value

TrialOf = Callable[..., Trial]
Load = Callable[..., Experiment]
BASELINE: Mapping[str, Value] = {
    "runtime": "torch",
    "precision": "fp32",
    "batch_size": 1,
    "threads": 1,
}


def configuration(**values: Value) -> Configuration:
    return Configuration({**BASELINE, **values})


@pytest.fixture(scope="session")
def experiment(load: Load) -> Experiment:
    return load()


def numbers(trials: Sequence[Trial]) -> list[int]:
    return [trial.number for trial in trials]


# Who


def test_a_counterpart_is_the_baselines_model_at_the_execution_settings_of_a_finalist() -> None:
    other = configuration(runtime="openvino", batch_size=8, threads=2)
    counterpart = counterpart_of(Configuration(BASELINE), other, builtin_catalog())
    assert counterpart == configuration(batch_size=8, threads=2)


def five(trial: TrialOf) -> list[Trial]:
    """2, 3 and 4 are the front; 1 is dominated."""
    figures = [(100, 500), (90, 600), (300, 400), (200, 200), (250, 300)]
    return [
        trial(n, throughput=speed, peak_memory_mb=memory, perplexity=10, quality_drop=0)
        for n, (speed, memory) in enumerate(figures)
    ]


def test_finalists_are_the_baseline_the_picks_and_the_front(load: Load, trial: TrialOf) -> None:
    experiment = load("confirmation.finalists=2")
    trials = five(trial)
    chosen = finalists(experiment, front_of(experiment, trials), trials)
    assert [found.number for found in chosen[:1]] == [0]
    assert len(chosen) == 3
    assert 1 not in {found.number for found in chosen}


def test_near_ties_come_after_the_front(experiment: Experiment, trial: TrialOf) -> None:
    near = trial(5, throughput=299.5, peak_memory_mb=400.5, perplexity=10, quality_drop=0)
    trials = [*five(trial), near]
    chosen = numbers(finalists(experiment, front_of(experiment, trials), trials))
    assert (chosen[0], set(chosen[1:4]), chosen[4:]) == (0, {2, 3, 4}, [5])


def rounds(ratio: float, throughput: float, count: int = 2) -> list[Round]:
    return [Round(ratios=[ratio] * 6, values={"throughput": throughput})] * count


def test_whoever_was_asked_before_is_not_asked_again(
    experiment: Experiment, trial: TrialOf
) -> None:
    trials = five(trial)
    assert set(numbers(to_confirm(experiment, trials, Confirmation()))) == {0, 2, 3, 4}
    some = Confirmation(rounds={0: rounds(1, 100), 2: rounds(3, 300)}, finalists=[0, 2, 4])
    assert numbers(to_confirm(experiment, trials, some)) == [0, 3]
    everybody = Confirmation(finalists=[0, 2, 3, 4])
    assert numbers(to_confirm(experiment, trials, everybody)) == [0]


def test_whoever_comes_onto_the_front_when_others_fall_back_is_asked(
    experiment: Experiment, trial: TrialOf
) -> None:
    """2 is as slow as the baseline when it is measured again, so that 1 beats it."""
    figures = [(100, 500), (150, 400), (300, 390)]
    trials = [
        trial(n, throughput=speed, peak_memory_mb=memory, perplexity=10, quality_drop=0)
        for n, (speed, memory) in enumerate(figures)
    ]
    assert numbers(to_confirm(experiment, trials, Confirmation())) == [0, 2]
    fallen = Confirmation(rounds={0: rounds(1, 100), 2: rounds(1.1, 110)}, finalists=[0, 2])
    assert numbers(to_confirm(experiment, trials, fallen)) == [0, 1]


# With whom


def case(trial: TrialOf, experiment: Experiment, **memory: float) -> list[Trial]:
    """0 is the baseline; 1 runs like it; 2 has two threads and 3 is its twin; 4 has none here."""
    changes: Sequence[Mapping[str, Value]] = (
        {},
        {"runtime": "openvino"},
        {"runtime": "openvino", "threads": 2},
        {"threads": 2},
        {"runtime": "openvino", "batch_size": 8},
    )
    return [
        trial(
            number,
            configuration=Configuration({**experiment.baseline, **values}),
            peak_memory_mb=memory.get(f"of_{number}", 100.0),
        )
        for number, values in enumerate(changes)
    ]


def counterpart(experiment: Experiment, **values: Value) -> Configuration:
    return Configuration({**experiment.baseline, **values})


def test_finalists_that_fit_are_measured_in_one_group_with_baseline_and_counterparts(
    experiment: Experiment, trial: TrialOf
) -> None:
    chosen = case(trial, experiment)
    (group,) = groups_of(experiment, chosen, {"peak_memory_mb": 600.0})
    assert numbers(group.finalists) == [1, 2, 3, 4]
    assert group.configurations == (
        *(t.configuration for t in chosen),
        counterpart(experiment, batch_size=8),
    )


@pytest.mark.parametrize(
    ("memory_mb", "groups"),
    [
        (600, [[1, 2, 3, 4]]),
        (599, [[1, 2, 3], [4]]),
        (400, [[1, 2, 3], [4]]),
        (399, [[1], [2, 3], [4]]),
        (300, [[1], [2, 3], [4]]),
        (200, [[1], [2], [3], [4]]),
        (1, [[1], [2], [3], [4]]),
    ],
)
def test_groups_fit_into_memory(
    experiment: Experiment, trial: TrialOf, memory_mb: float, groups: list[list[int]]
) -> None:
    """100 MB each. 2 needs its twin beside it, which 3 is: both are as large as 2 alone."""
    chosen = case(trial, experiment)
    found = groups_of(experiment, chosen, {"peak_memory_mb": memory_mb})
    assert [numbers(group.finalists) for group in found] == groups
    for group in found:
        assert group.configurations[0] == experiment.baseline
        assert len(set(group.configurations)) == len(group.configurations)
        for member in group.finalists:
            assert member.configuration in group.configurations
            counterpart = counterpart_of(experiment.baseline, member.configuration, member.catalog)
            assert counterpart in group.configurations
        assert len(group.finalists) == 1 or 100 * len(group.configurations) <= memory_mb


def test_a_finalist_needs_its_memory_and_a_counterpart_the_baselines(
    experiment: Experiment, trial: TrialOf
) -> None:
    chosen = case(trial, experiment, of_0=50.0, of_1=10.0, of_4=1000.0)
    together = 50.0 + 10.0 + 1000.0 + 50.0
    for memory_mb, groups in ((together, 1), (together - 1, 2)):
        found = groups_of(
            experiment, [chosen[0], chosen[1], chosen[4]], {"peak_memory_mb": memory_mb}
        )
        assert len(found) == groups


def test_memory_of_the_gpu_counts_as_well(experiment: Experiment, trial: TrialOf) -> None:
    chosen = [
        replace(
            t, measurements={**t.measurements, "gpu_memory_mb": t.measurements["peak_memory_mb"]}
        )
        for t in case(trial, experiment)
    ]
    plenty = {"peak_memory_mb": 1e6}
    assert len(groups_of(experiment, chosen, {**plenty, "gpu_memory_mb": 600.0})) == 1
    assert len(groups_of(experiment, chosen, {**plenty, "gpu_memory_mb": 599.0})) == 2


@pytest.mark.parametrize(("each_mb", "groups"), [(300.0, 1), (299.0, 2)])
def test_memory_of_several_gpus_counts_for_each_of_them(
    experiment: Experiment, trial: TrialOf, each_mb: float, groups: int
) -> None:
    """The baseline has 100 MB on one GPU, the finalists have 200 MB and 400 MB on two and four."""
    chosen = [
        trial(
            number,
            configuration=configuration(device="cuda", tensor_parallel=gpus),
            gpu_memory_mb=gpus * 100.0,
        )
        for number, gpus in enumerate((1, 2, 4))
    ]
    found = groups_of(experiment, chosen, {"gpu_memory_mb": each_mb})
    assert len(found) == groups


def test_a_group_has_a_share_of_the_free_memory(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psutil

    free = SimpleNamespace(available=1000 * 2**20)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    metrics = experiment.metrics.values()
    assert group_memory_mb(metrics)["peak_memory_mb"] == pytest.approx(800.0)
    assert group_memory_mb(metrics, 0.4)["peak_memory_mb"] == pytest.approx(400.0)
    FakeNvml(
        [
            FakeGpu(uuid="GPU-full", memory_mb=1000, reserved_mb=990),
            FakeGpu(uuid="GPU-a", memory_mb=1000, reserved_mb=100),
            FakeGpu(uuid="GPU-b", memory_mb=1000, reserved_mb=200),
        ]
    ).install(monkeypatch)
    with_gpus = [*metrics, GPU_MEMORY]
    assert group_memory_mb(with_gpus)["gpu_memory_mb"] == pytest.approx(0.8 * 900)
    assert group_memory_mb(with_gpus, gpus=2)["gpu_memory_mb"] == pytest.approx(0.8 * 800)


def test_a_counterpart_that_can_not_run_is_left_out(load: Load, trial: TrialOf) -> None:
    """Sixteen threads are more than this machine's cores."""
    experiment = load()
    changes: Sequence[Mapping[str, Value]] = ({}, {"runtime": "openvino", "threads": 16})
    chosen = [
        trial(
            number,
            configuration=Configuration({**experiment.baseline, **values}),
            peak_memory_mb=100.0,
        )
        for number, values in enumerate(changes)
    ]
    counterpart = counterpart_of(
        experiment.baseline, chosen[1].configuration, experiment.space.catalog
    )
    assert experiment.space.obstacle(counterpart)
    (group,) = groups_of(experiment, chosen, {"peak_memory_mb": 1000.0})
    assert group.configurations == tuple(t.configuration for t in chosen)


def test_without_finalists_there_is_no_group(experiment: Experiment, trial: TrialOf) -> None:
    assert groups_of(experiment, case(trial, experiment)[:1], {"peak_memory_mb": 100.0}) == []


# How long


@pytest.mark.parametrize(
    ("share", "left", "planned"),
    [
        (0.5, None, 100.0),
        (0.2, None, 25.0),
        (0.2, 10.0, 10.0),
        (0.2, 99.0, 25.0),
        (0.2, -5.0, 0.0),
    ],
)
def test_confirmation_takes_its_share_of_the_whole(
    load: Load,
    trial: TrialOf,
    evaluation: Callable[..., Any],
    share: float,
    left: float | None,
    planned: float,
) -> None:
    """100 trials of a second each; one under way has taken nothing yet."""
    trials = [trial(n, evaluation=evaluation()) for n in range(100)]
    trials.append(trial(100, status="running"))
    experiment = load(f"confirmation.share={share}")
    assert confirmation_seconds(experiment, trials, left) == pytest.approx(planned)


# What a round says


def target_result(*rates: float, clean: Sequence[bool] = ()) -> RoundResult:
    return RoundResult(
        rates=rates,
        undisturbed=list(clean) or [True] * len(rates),
        values={"throughput": rates[0]},
    )


@pytest.fixture
def group(experiment: Experiment, trial: TrialOf) -> Group:
    """Everybody of the case, and one twin."""
    (found,) = groups_of(experiment, case(trial, experiment), {})
    return found


SITTINGS = (
    target_result(10, 20, 40),
    target_result(20, 40, 80),
    target_result(60, 160, 480),
    target_result(20, 40, 160),
    target_result(60, 120, 240),
    target_result(30, 30, 30),
)


def test_ratios_are_taken_within_a_turn(group: Group) -> None:
    base = {"throughput": 10.0}
    found = rounds_of(group, SITTINGS)
    assert found == {
        0: Round(ratios=[1.0, 1.0, 1.0], values={"throughput": 10}, baseline_values=base),
        1: Round(ratios=[2.0, 2.0, 2.0], values={"throughput": 20}, baseline_values=base),
        2: Round(
            ratios=[6.0, 8.0, 12.0],
            same_execution_ratios=[3.0, 4.0, 3.0],
            values={"throughput": 60},
            baseline_values=base,
        ),
        3: Round(ratios=[2.0, 2.0, 4.0], values={"throughput": 20}, baseline_values=base),
        4: Round(
            ratios=[6.0, 6.0, 6.0],
            same_execution_ratios=[2.0, 4.0, 8.0],
            values={"throughput": 60},
            baseline_values=base,
        ),
    }


def test_each_ratio_of_a_round_has_one_clock(group: Group) -> None:
    """1 and the baseline have CPU times; all others, with more threads, wall times only."""
    loaded = [
        replace(one, cpu_rates=[1.5 * rate for rate in one.rates]) if place < 2 else one
        for place, one in enumerate(SITTINGS)
    ]
    loaded[1] = replace(loaded[1], cpu_rates=[3.0 * rate for rate in SITTINGS[1].rates])
    found = rounds_of(group, loaded)
    one, two = found[1], found[2]
    assert one is not None and two is not None
    assert one.ratios == [4.0, 4.0, 4.0]
    assert two.ratios == [6.0, 8.0, 12.0]


def test_a_failed_finalist_has_no_round_and_the_others_have(group: Group) -> None:
    without_2 = rounds_of(group, [*SITTINGS[:2], None, *SITTINGS[3:]])
    assert without_2[2] is None
    assert all(without_2[number] is not None for number in (0, 1, 3, 4))
    without_twin = rounds_of(group, [*SITTINGS[:5], None])
    four = without_twin[4]
    assert four is not None
    assert (four.ratios, four.same_execution_ratios) == ([6.0, 6.0, 6.0], ())


def test_without_the_baseline_a_round_says_nothing(group: Group) -> None:
    assert rounds_of(group, [None, *SITTINGS[1:]]) == {}


def test_disturbed_turns_do_not_count(group: Group) -> None:
    clean = [True, True, False, True, True, True, True]
    other = [True, True, True, True, False, True, True]
    target_results = [target_result(*[10] * 7, clean=clean)]
    target_results += [target_result(*range(10, 80, 10), clean=other)] * 5
    one = rounds_of(group, target_results)[1]
    assert one is not None
    assert one.ratios == [1.0, 2.0, 4.0, 6.0, 7.0]
    assert one.undisturbed


def test_a_round_that_was_disturbed_throughout_has_a_warning(group: Group) -> None:
    busy = [target_result(*[10] * 6, clean=[False] * 6), *[target_result(*[20] * 6)] * 5]
    found = rounds_of(group, busy)
    assert found[0] is not None and not found[0].undisturbed
    assert found[1] is not None and not found[1].undisturbed
    assert found[1].ratios == [2.0] * 6


def test_turns_that_only_one_of_two_has_taken_do_not_count(group: Group) -> None:
    """Whoever failed at the end of the round has fewer."""
    one = rounds_of(group, [SITTINGS[0], target_result(20, 40), *SITTINGS[2:]])[1]
    assert one is not None
    assert one.ratios == [2.0, 2.0]
