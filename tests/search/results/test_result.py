"""Texts of a result: the headline, a sentence for every trial, formatted measurements."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from tunefront.evaluators import Evaluation, Measurement
from tunefront.search import Experiment, Limit, Result, Trial, result_of
from tunefront.search.results.result import (
    choices_of,
    early_ends,
    rounded,
    study_result,
)
from tunefront.search.study.confirmation import Confirmation, Round
from tunefront.search.study.study import Study

TrialOf = Callable[..., Trial]
NOTHING = Confirmation(rounds={})


@pytest.fixture(scope="session")
def experiment(load: Callable[..., Experiment]) -> Experiment:
    """Throughput and peak memory, with at most 5 % of the quality lost."""
    return load()


@pytest.fixture(scope="session")
def row(trial: TrialOf) -> TrialOf:
    """A measured trial."""

    def make(number: int, throughput: float, memory: float, **more: float) -> Trial:
        figures = {"perplexity": 10.0, "quality_drop": 0.0, **more}
        return trial(number, throughput=throughput, peak_memory_mb=memory, **figures)

    return make


def sentence(experiment: Experiment, *trials: Trial, confirmation: Confirmation = NOTHING) -> str:
    """Return the sentence about the last trial."""
    result = result_of(experiment, trials, confirmation)
    return result.view(result.trials[-1]).sentence


def round_of(
    *ratios: float, alike: Sequence[float] = (), throughput: float = 100.0, memory: float = 500.0
) -> Round:
    figures = {"throughput": throughput, "peak_memory_mb": memory}
    return Round(ratios=ratios, same_execution_ratios=alike, values=figures)


BASE = round_of(1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("throughput", "memory", "drop", "expected"),
    [
        (440, 250, 0.3, "4.4x faster, 2x less memory, quality -0.3 %"),
        (50, 1000, -1.25, "2x slower, 2x more memory, quality +1.25 %"),
        (12_340, 5, 0.0, "123x faster, 100x less memory, the same quality"),
        (102, 490, 0.04, "the same speed, the same memory, the same quality"),
        (98, 510, 0.06, "the same speed, the same memory, quality -0.06 %"),
        (106, 470, 0.0, "1.1x faster, 1.1x less memory, the same quality"),
    ],
)
def test_a_trial_is_reported_against_the_baseline(
    experiment: Experiment,
    row: TrialOf,
    throughput: float,
    memory: float,
    drop: float,
    expected: str,
) -> None:
    own = row(1, throughput, memory, quality_drop=drop)
    assert sentence(experiment, row(0, 100, 500), own) == expected


def test_the_spread_of_the_quality_is_reported(experiment: Experiment, trial: TrialOf) -> None:
    figures = {"throughput": 100.0, "peak_memory_mb": 500.0, "perplexity": 10.0}
    base = trial(0, **figures, quality_drop=0.0)
    own = trial(1, **figures, quality_drop=2.0, spread=0.25)
    assert sentence(experiment, base, own).endswith(", quality -2 % ± 0.5")


@pytest.mark.parametrize("drop", [0.0, -0.02, 0.02])
def test_a_change_of_nothing_has_no_sign(experiment: Experiment, row: TrialOf, drop: float) -> None:
    own = row(1, 100, 500)
    unsure = Measurement(value=drop, unit="%", low=drop - 1.9, high=drop + 1.9, samples=9)
    own = replace(own, measurements={**own.measurements, "quality_drop": unsure})
    assert sentence(experiment, row(0, 100, 500), own).endswith(", quality 0 % ± 1.9")


def test_the_baseline_is_reported_as_such(experiment: Experiment, row: TrialOf) -> None:
    assert sentence(experiment, row(0, 100, 500)) == "the baseline"


def test_a_failure_is_reported_with_stage_cause_and_first_line(
    experiment: Experiment, row: TrialOf, trial: TrialOf, failure: Callable[..., Evaluation]
) -> None:
    failed = trial(1, status="failed", evaluation=failure("oom", "no memory\nlong trace"))
    text = "failed at measure (oom): no memory"
    assert sentence(experiment, row(0, 100, 500), failed) == text


@pytest.mark.parametrize("status", ["running", "failed"])
def test_a_trial_without_an_evaluation_is_reported_by_its_status(
    experiment: Experiment, row: TrialOf, trial: TrialOf, status: str
) -> None:
    assert sentence(experiment, row(0, 100, 500), trial(1, status=status)) == status


def test_a_value_that_means_nothing_is_left_out(experiment: Experiment, row: TrialOf) -> None:
    text = "2x less memory, the same quality"
    assert sentence(experiment, row(0, 0, 500), row(1, 100, 250)) == text


def test_the_confirmed_speed_up_is_reported_once_there_is_one(
    experiment: Experiment, row: TrialOf
) -> None:
    """Nine times by the trial itself; three times within turns, whatever the machine did."""
    rounds = {
        0: [BASE, round_of(1.0, 1.0, 1.0, throughput=200.0)],
        1: [round_of(3.1, 3.0, 3.0, throughput=300.0), round_of(2.9, 3.0, 3.0, throughput=800.0)],
    }
    text = sentence(
        experiment, row(0, 100, 500), row(1, 900, 500), confirmation=Confirmation(rounds=rounds)
    )
    assert text.startswith("3x faster (2.6 to 3.5), the same memory")


@pytest.mark.parametrize(
    ("alike", "expected"),
    [
        ((1.5, 1.6, 1.4), "3x faster (1.5x faster at the same batch size and threads)"),
        ((1.01, 0.99), "3x faster (the same speed at the same batch size and threads)"),
        ((0.8,), "3x faster (1.3x slower at the same batch size and threads)"),
        ((), "3x faster, "),
    ],
)
def test_how_much_of_the_speed_up_is_the_models_is_reported(
    experiment: Experiment, row: TrialOf, alike: tuple[float, ...], expected: str
) -> None:
    confirmation = Confirmation(rounds={0: [BASE], 1: [round_of(3.0, 3.0, 3.0, alike=alike)]})
    trials = row(0, 100, 500), row(1, 900, 500)
    assert sentence(experiment, *trials, confirmation=confirmation).startswith(expected)


def test_confirmed_values_take_the_place_of_the_first_ones(
    experiment: Experiment, row: TrialOf
) -> None:
    rounds = {0: [BASE], 1: [round_of(2.0, 2.0, 2.0, throughput=999.0, memory=510.0)]}
    trials = [row(0, 100, 500), row(1, 900, 500), row(2, 250, 505)]
    result = result_of(experiment, trials, Confirmation(rounds=rounds))
    found = result.trials[1].measurements["throughput"]
    assert (found.low, found.value, found.high) == pytest.approx((200, 200, 200))
    assert (found.unit, found.samples) == ("items/s", 3)
    assert result.trials[2] == trials[2]
    assert [trial.number for trial in result.front.trials] == [2, 0]


def test_trust_is_shown_with_the_chance_to_be_on_the_front(
    experiment: Experiment, row: TrialOf, trial: TrialOf, evaluation: Callable[..., Evaluation]
) -> None:
    """Trial 1 dominates trials 0 and 2."""
    unconfirmed = replace(evaluation(), warnings=("other processes used the cores",))
    trials = [
        row(0, 100, 500),
        row(1, 300, 400),
        replace(row(2, 200, 450), evaluation=unconfirmed),
        trial(3, status="failed"),
        row(4, 900, 100, quality_drop=9.0),
    ]
    confirmation = Confirmation(rounds={0: [BASE], 1: [round_of(3.0, 3.0, 3.0, memory=400.0)]})
    result = result_of(experiment, trials, confirmation)
    assert [view.trust_text for view in result.views.values()] == [
        "confirmed, front 0 %",
        "confirmed, front 100 %",
        "unconfirmed, front 0 % if confirmed",
        "-",
        "single, front 0 %",
    ]
    assert result.counts() == "5 trials, 1 failed, 1 on the front"


def test_a_confirmation_that_was_disturbed_leaves_a_trial_unconfirmed(
    experiment: Experiment, row: TrialOf, evaluation: Callable[..., Evaluation]
) -> None:
    quiet = round_of(3.0, 3.0, 3.0, memory=400.0)
    noisy = replace(quiet, undisturbed=False)
    trials = [row(0, 100, 500), replace(row(1, 300, 400), evaluation=evaluation())]

    def result_with(*rounds: Round) -> Result:
        confirmation = Confirmation(rounds={0: [BASE] * 3, 1: rounds})
        return result_of(experiment, trials, confirmation)

    assert result_with(quiet, quiet, noisy).view(trials[1]).trust == "confirmed"
    disturbed = result_with(quiet, noisy, noisy)
    assert disturbed.view(trials[1]).trust == "unconfirmed"
    warning = "other processes used the cores in 2 of 3 rounds of confirmation"
    assert disturbed.view(trials[1]).warnings == (warning,)
    assert disturbed.view(trials[0]).trust == "confirmed"


def headline(experiment: Experiment, *trials: Trial) -> str:
    return result_of(experiment, trials, NOTHING).headline()


def test_the_headline_is_the_recommended_trial(experiment: Experiment, row: TrialOf) -> None:
    text = "001 t2: 4x faster, the same memory, the same quality"
    assert headline(experiment, row(0, 100, 500), row(1, 400, 500)) == text


def test_the_headline_says_that_nothing_keeps_the_limits(
    experiment: Experiment, row: TrialOf
) -> None:
    beyond = row(0, 100, 500, quality_drop=9.0)
    assert headline(experiment, beyond) == "no trial meets the limits"


def test_the_headline_says_that_nothing_has_been_run(experiment: Experiment) -> None:
    assert headline(experiment) == "nothing has been run"


def test_the_headline_says_why_the_baseline_failed(
    experiment: Experiment, trial: TrialOf, failure: Callable[..., Evaluation]
) -> None:
    failed = trial(0, status="failed", evaluation=failure("crash", "it died"))
    assert headline(experiment, failed) == "the baseline failed at measure (crash): it died"


def test_the_baseline_is_trial_zero_where_it_was_measured(
    experiment: Experiment, row: TrialOf, trial: TrialOf
) -> None:
    def baseline(*trials: Trial) -> Trial | None:
        return Result(
            experiment=experiment,
            trials=trials,
            front=result_of(experiment, trials, NOTHING).front,
            confirmation=NOTHING,
            limits=(),
        ).baseline

    assert baseline(row(1, 1, 1), row(0, 2, 2)) == row(0, 2, 2)
    assert baseline(trial(0, status="failed"), row(1, 1, 1)) is None


def test_limits_and_preference_of_the_moment_reach_the_front(
    experiment: Experiment, row: TrialOf
) -> None:
    trials = [row(0, 100, 500), row(1, 400, 900, quality_drop=9.0), row(2, 300, 50)]
    result = result_of(experiment, trials, NOTHING, limits=(), prefer="throughput")
    assert result.front.recommended == trials[1]


@pytest.mark.parametrize(("value", "kept"), [(1234.5678, 1235), (0.0123456, 0.01235), (0, 0)])
def test_a_rounded_number_has_four_digits(value: float, kept: float) -> None:
    assert rounded(value) == kept


def test_choices_that_are_not_active_are_reported_as_such(trial: TrialOf) -> None:
    text = choices_of(trial(1, {"runtime": "torch", "threads": 2}), ["threads", "pruning_method"])
    assert text == {"threads": "2", "pruning_method": "-"}


def test_a_trial_whose_quality_evaluation_stopped_early_is_reported_with_its_items(
    experiment: Experiment, row: TrialOf, evaluation: Callable[..., Evaluation]
) -> None:
    early = replace(evaluation(), facts={"evaluated_items": 64, "items": 512})
    whole = replace(evaluation(), facts={"evaluated_items": 512, "items": 512})
    first, second = row(0, 100, 500), row(1, 100, 500, quality_drop=21.0)
    trials = [replace(first, evaluation=whole), replace(second, evaluation=early)]
    text = sentence(experiment, *trials)
    assert text.endswith("quality -21 % on 64 of 512 items")
    assert (
        early_ends(trials, experiment.objectives)
        == "quality evaluation stopped early in 1 of 2 trials: 44 % of the items saved"
    )
    assert early_ends(trials[:1], experiment.objectives) == ""


def test_the_result_of_a_record_includes_its_confirmation(
    load: Callable[..., Experiment], evaluation: Callable[..., Evaluation]
) -> None:
    experiment = load()
    study = Study.open(experiment, {"test": "yes"})
    for configuration, throughput in zip(
        experiment.space.enumerate().runnable[:2], (100.0, 200.0), strict=True
    ):
        found = evaluation(throughput=throughput, quality_drop=0.0)
        study.tell(study.ask(configuration), found)
    confirmation = Confirmation(rounds={0: [BASE], 1: [round_of(3.0, 3.0, 3.0)]}, finalists=[0, 1])
    study.set_confirmation(confirmation)
    result = study_result(study, limits=(), prefer="throughput")
    expected = result_of(experiment, study.trials(), confirmation, (), "throughput")
    assert (result.trials, result.front) == (expected.trials, expected.front)
    assert result.trials[1].value("throughput") == pytest.approx(300.0)


def test_a_result_of_scarce_data_has_the_reason(
    experiment: Experiment, row: TrialOf, evaluation: Callable[..., Evaluation]
) -> None:
    """Losses of five texts under a limit of 5 %, and under one of 0.1 %."""
    losses = evaluation([1.0, 2.0, 3.0, 4.0, 5.0])
    baseline = replace(row(0, 100, 500), evaluation=losses)
    loose = result_of(experiment, [baseline], NOTHING)
    assert str(loose.scarcity).startswith("5 items: a change of quality below about 9.8 % can't be")
    limits = [Limit(metric="quality_drop", test="<=", bound=20.0)]
    assert result_of(experiment, [baseline], NOTHING, limits).scarcity is None
    for other in (replace(row(0, 1, 1), evaluation=evaluation()), row(0, 1, 1)):
        assert result_of(experiment, [other], NOTHING).scarcity is None
    assert result_of(experiment, [], NOTHING).scarcity is None
