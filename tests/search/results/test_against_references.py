"""The recommended trial against defaults and current settings, in every output."""

from collections.abc import Callable, Sequence

import pytest

from tunefront.search import Experiment, Result, Trial, result_of
from tunefront.search.run.confirm import finalists
from tunefront.search.study.confirmation import Confirmation
from tunefront.search.terminal.result import cells_of, picks_lines, result_record

TrialOf = Callable[..., Trial]
QUALITY = {"perplexity": 10.0, "quality_drop": 0.0}
SPACE = "space={runtime: [torch, openvino], precision: [fp32, bf16], threads: [1, 2]}"


@pytest.fixture
def experiment(load: Callable[..., Experiment]) -> Experiment:
    return load(SPACE, "current={threads: 2, precision: bf16}", "confirmation.finalists=1")


def trials_of(experiment: Experiment, trial: TrialOf, speeds: Sequence[float]) -> list[Trial]:
    """The baseline, the references, then one more trial."""
    current, torch, openvino = (one.configuration for one in experiment.references)
    other = {"runtime": "openvino", "precision": "fp32", "threads": 1}
    configurations = [experiment.baseline, current, torch, openvino, other]
    return [
        trial(number, configuration, throughput=speed, peak_memory_mb=500.0, **QUALITY)
        for number, (configuration, speed) in enumerate(zip(configurations, speeds, strict=True))
    ]


def result(experiment: Experiment, trials: Sequence[Trial]) -> Result:
    return result_of(experiment, trials, Confirmation())


def test_the_headline_compares_with_the_fastest_default_and_the_current_settings(
    experiment: Experiment, trial: TrialOf
) -> None:
    found = result(experiment, trials_of(experiment, trial, [100, 125, 110, 200, 400]))
    text = (
        "2x faster than the fastest default (003, default of openvino), "
        "3.2x faster than the current settings (001)"
    )
    assert found.against_references == text
    assert (
        found.headline() == f"004 openvino t1: 4x faster, the same memory, the same quality; {text}"
    )
    assert picks_lines(found)[2].strip() == text
    record = result_record(found)
    assert record["against_references"] == text
    assert record["references"] == {
        "current settings": 1,
        "default of torch": 2,
        "default of openvino": 3,
    }


def test_a_recommended_default_is_named_and_a_slower_pick_is_reported(
    experiment: Experiment, trial: TrialOf
) -> None:
    trials = trials_of(experiment, trial, [100, 125, 110, 200, 50])
    assert result(experiment, trials).against_references == (
        "it is the fastest default, 1.6x faster than the current settings (001)"
    )
    smaller = trial(5, throughput=150.0, peak_memory_mb=5.0, **QUALITY)
    assert result(experiment, [*trials, smaller]).against_references == (
        "1.3x slower than the fastest default (003, default of openvino), "
        "1.2x faster than the current settings (001)"
    )


def test_a_default_beyond_the_limits_is_not_compared_with(
    experiment: Experiment, trial: TrialOf
) -> None:
    trials = trials_of(experiment, trial, [100, 125, 110, 200, 400])
    beyond = trial(
        3,
        trials[3].configuration,
        status="infeasible",
        throughput=200.0,
        peak_memory_mb=500.0,
        **QUALITY | {"quality_drop": 9.0},
    )
    found = result(experiment, [*trials[:3], beyond, trials[4]])
    assert found.against_references.startswith("3.6x faster than the fastest default (002, ")
    assert found.views[3].role_text == "infeasible, default of openvino"


def test_without_measured_references_nothing_is_compared(
    experiment: Experiment, trial: TrialOf
) -> None:
    trials = trials_of(experiment, trial, [100, 125, 110, 200, 400])
    renumbered = trial(1, trials[4].configuration, throughput=1.0, peak_memory_mb=5.0, **QUALITY)
    found = result(experiment, [trials[0], renumbered])
    assert found.against_references == ""
    assert result_record(found)["references"]["default of torch"] is None


def test_references_have_their_name_in_role_and_tables(
    experiment: Experiment, trial: TrialOf
) -> None:
    found = result(experiment, trials_of(experiment, trial, [100, 125, 110, 200, 400]))
    view = found.views[3]
    assert (view.reference, view.role_text) == (
        "default of openvino",
        "dominated, default of openvino",
    )
    assert cells_of(view, ["throughput"])[1] == "dominated, default of openvino"
    assert [view.number for view in found.shortlist] == [4, 0, 1, 2, 3]
    assert all(view.shortlisted for view in found.shortlist)


def test_references_that_keep_the_limits_are_confirmed_beside_the_finalists(
    experiment: Experiment, trial: TrialOf
) -> None:
    trials = trials_of(experiment, trial, [100, 125, 110, 200, 400])
    front = result(experiment, trials).front
    assert [one.number for one in finalists(experiment, front, trials)] == [0, 4, 1, 2, 3]
    failed = trial(2, trials[2].configuration, status="failed")
    some = [*trials[:2], failed, *trials[3:]]
    assert [one.number for one in finalists(experiment, front, some)] == [0, 4, 1, 3]
