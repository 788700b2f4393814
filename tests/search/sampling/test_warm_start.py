"""Another search's front first."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.search.conftest import FILE

from tunefront.evaluators import Evaluation
from tunefront.search import Experiment, Trial
from tunefront.search.run.sampler_factory import build_sampler
from tunefront.search.sampling.warm_start import WarmSampler
from tunefront.search.study.study import Study
from tunefront.spaces import ExperimentError, StudyError

Load = Callable[..., Experiment]


@pytest.fixture
def other(load: Load, evaluation: Callable[..., Evaluation]) -> Experiment:
    """A search that has ended: two of its three trials are on the front."""
    experiment = load(text=FILE.replace("Made up", "elsewhere"))
    study = Study.open(experiment, {"test": "yes"})
    figures = [(100.0, 500.0), (900.0, 400.0), (200.0, 100.0)]
    choices = [
        experiment.baseline,
        experiment.space.member({"runtime": "openvino", "batch_size": 8, "threads": 2}),
        experiment.space.member({"runtime": "torch", "batch_size": 8, "threads": 1}),
    ]
    for configuration, (speed, memory) in zip(choices, figures, strict=True):
        found = evaluation(throughput=speed, peak_memory_mb=memory)
        study.tell(study.ask(configuration), found)
    return experiment


def first_proposals(experiment: Experiment, trial: Callable[..., Trial], count: int) -> list[str]:
    """What is proposed after the baseline, each with where it comes from."""
    runnable = experiment.space.enumerate().runnable
    sampler = build_sampler(experiment, runnable)
    trials = [trial(0, experiment.baseline, throughput=1.0, peak_memory_mb=1.0, quality_drop=0.0)]
    text: list[str] = []
    for number in range(1, count + 1):
        proposed = sampler.propose(trials)
        assert proposed is not None
        configuration = proposed.configuration
        text.append(f"{configuration['runtime']} {configuration['threads']}: {proposed.reason}")
        trials.append(trial(number, configuration, "failed"))
    return text


def test_the_other_front_is_tried_first(
    load: Load, other: Experiment, trial: Callable[..., Trial]
) -> None:
    warm = replace(load(f"warm_start={other.path}"), references=())
    text = first_proposals(warm, trial, 3)
    assert text[:2] == [
        "openvino 2: on the front of elsewhere",
        "torch 1: on the front of elsewhere",
    ]
    assert "elsewhere" not in text[2]


def test_what_this_space_does_not_have_is_left_out(
    load: Load, other: Experiment, trial: Callable[..., Trial]
) -> None:
    warm = replace(load(f"warm_start={other.path}", "space.runtime=[torch]"), references=())
    text = first_proposals(warm, trial, 2)
    assert text[0] == "torch 1: on the front of elsewhere"
    assert "elsewhere" not in text[1]


def test_nothing_is_proposed_twice(
    load: Load, other: Experiment, trial: Callable[..., Trial]
) -> None:
    warm = load(f"warm_start={other.path}", "sampler=grid")
    runnable = warm.space.enumerate().runnable
    sampler = build_sampler(warm, runnable)
    assert isinstance(sampler, WarmSampler)
    trials: list[Trial] = []
    while (proposed := sampler.propose(trials)) is not None:
        assert proposed.expected_gain is None
        trials.append(trial(len(trials), proposed.configuration, "failed"))
    assert len(trials) == len(runnable)
    assert {t.configuration for t in trials} == set(runnable)


def test_a_file_that_is_not_there_is_refused(load: Load) -> None:
    with pytest.raises(ExperimentError, match=re.escape("warm_start: ")) as caught:
        load("warm_start=nowhere")
    assert "nowhere does not exist; name an experiment file" in str(caught.value)


def test_a_search_that_was_never_run_is_refused(load: Load) -> None:
    never = load(text=FILE.replace("Made up", "never"))
    warm = load(f"warm_start={never.path}")
    with pytest.raises(StudyError, match="never: no record in"):
        build_sampler(warm, warm.space.enumerate().runnable)


def test_a_quick_check_starts_cold(load: Load, other: Experiment) -> None:
    warm = load(f"warm_start={other.path}", smoke=True)
    sampler = build_sampler(warm, warm.space.enumerate().runnable)
    assert not isinstance(sampler, WarmSampler)
