"""Confirmation without measuring: who is measured again, what is a ratio within a turn."""

from collections.abc import Callable, Mapping, Sequence

import pytest

from tunefront.search import Experiment, Trial
from tunefront.search.confirm import Confirmation, alike_ratios, finalists, twin_of, twins_of
from tunefront.search.picks import front_of
from tunefront.spaces import Configuration, Value

TrialOf = Callable[..., Trial]
BASELINE: Mapping[str, Value] = {
    "runtime": "torch",
    "precision": "fp32",
    "batch_size": 1,
    "threads": 1,
}


def configuration(**values: Value) -> Configuration:
    return Configuration({**BASELINE, **values})


def rounds(*throughputs: float) -> list[Mapping[str, float]]:
    return [{"throughput": value} for value in throughputs]


@pytest.fixture(scope="session")
def experiment(load: Callable[..., Experiment]) -> Experiment:
    return load()


def test_a_twin_is_the_baselines_model_run_as_another_is() -> None:
    other = configuration(runtime="openvino", batch_size=8, threads=2)
    assert twin_of(Configuration(BASELINE), other) == configuration(batch_size=8, threads=2)


def test_finalists_are_the_baseline_the_picks_and_the_front(
    load: Callable[..., Experiment], trial: TrialOf
) -> None:
    experiment = load("confirmation.finalists=2")
    trials = [
        trial(0, throughput=100, peak_memory_mb=500, perplexity=10, quality_drop=0),
        trial(1, throughput=90, peak_memory_mb=600, perplexity=10, quality_drop=0),
        trial(2, throughput=300, peak_memory_mb=400, perplexity=10, quality_drop=0),
        trial(3, throughput=200, peak_memory_mb=200, perplexity=10, quality_drop=0),
        trial(4, throughput=250, peak_memory_mb=300, perplexity=10, quality_drop=0),
    ]
    chosen = finalists(experiment, front_of(experiment, trials), trials)
    assert [found.number for found in chosen[:1]] == [0]
    assert len(chosen) == 3
    assert 1 not in {found.number for found in chosen}


def alike_case(trial: TrialOf, experiment: Experiment) -> Sequence[Trial]:
    """Trial 0 is the baseline; 1 runs like it; 2 and 3 with two threads; 3 is a twin itself."""
    changes: Sequence[Mapping[str, Value]] = (
        {},
        {"runtime": "openvino"},
        {"runtime": "openvino", "threads": 2},
        {"threads": 2},
        {"runtime": "openvino", "batch_size": 8},
    )
    return [
        trial(number, configuration=Configuration({**experiment.baseline, **values}))
        for number, values in enumerate(changes)
    ]


def test_twins_are_measured_where_no_finalist_is_one(
    experiment: Experiment, trial: TrialOf
) -> None:
    chosen = alike_case(trial, experiment)
    twins = twins_of(experiment, chosen)
    assert twins == {Configuration({**experiment.baseline, "batch_size": 8}): 4}


def test_ratios_are_taken_within_a_turn(experiment: Experiment, trial: TrialOf) -> None:
    chosen = alike_case(trial, experiment)
    base = experiment.baseline
    measured = {
        chosen[0].configuration: rounds(10, 20),
        chosen[1].configuration: rounds(20, 40),
        chosen[2].configuration: rounds(60, 160),
        chosen[3].configuration: rounds(20, 40),
        Configuration({**base, "batch_size": 8}): rounds(30, 60),
    }
    found = alike_ratios(base, chosen, measured)
    assert found == {2: [3.0, 4.0]}
    measured[chosen[4].configuration] = rounds(15, 15)
    assert alike_ratios(base, chosen, measured) == {2: [3.0, 4.0], 4: [0.5, 0.25]}


def test_a_confirmation_is_kept_as_plain_values() -> None:
    confirmation = Confirmation(rounds={0: rounds(1, 2)}, asked=[0, 3], alike={3: [1.5, 2.5]})
    again = Confirmation.from_dict(confirmation.to_dict())
    assert again == confirmation
    alike = again.speedup_alike(3)
    assert alike is not None
    assert (alike.low, alike.value, alike.high) == (1.5, 2.0, 2.5)
    assert again.speedup_alike(0) is None
    assert Confirmation.from_dict({}) == Confirmation(rounds={})
