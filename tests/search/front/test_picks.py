"""The front within limits, its ties, and the picks with their reasons."""

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunefront.evaluators import Measurement
from tunefront.search import Experiment, Front, Limit, Pick, Trial
from tunefront.search.front.gains import gain_over
from tunefront.search.front.intervals import Intervals
from tunefront.search.front.picks import (
    deciding,
    front_of,
    nearest_misses,
    simplest,
    within,
)
from tunefront.search.front.relaxation import relaxations
from tunefront.spaces import Configuration, ExperimentError, Value

TrialOf = Callable[..., Trial]
DROP = Limit(metric="quality_drop", test="<=", bound=5.0)
PICKS = ["recommended", "fastest", "smallest", "highest quality", "knee"]


@pytest.fixture(scope="session")
def experiment(load: Callable[..., Experiment]) -> Experiment:
    """Throughput and peak memory, with at most 5 % of the quality lost."""
    return load()


@pytest.fixture(scope="session")
def row(trial: TrialOf) -> TrialOf:
    """A measured trial; nothing is lost and nothing spreads unless told otherwise."""

    def make(number: int, throughput: float, memory: float, **more: float) -> Trial:
        figures = {"perplexity": 10.0, "quality_drop": 0.0, "weights_mb": 50.0, **more}
        return trial(number, throughput=throughput, peak_memory_mb=memory, **figures)

    return make


def numbers(trials: tuple[Trial, ...]) -> list[int]:
    return [trial.number for trial in trials]


def picked(front: Front) -> dict[str, int]:
    return {pick.name: pick.trial.number for pick in front.picks}


def pick_named(front: Front, name: str) -> Pick:
    return next(pick for pick in front.picks if pick.name == name)


def test_the_front_is_what_nothing_else_beats_the_best_first(
    experiment: Experiment, row: TrialOf
) -> None:
    trials = [row(0, 100, 500), row(1, 200, 300), row(2, 300, 400), row(3, 150, 450)]
    assert numbers(front_of(experiment, trials).trials) == [2, 1]


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=8))
def test_picks_lie_on_the_front_whatever_was_measured(
    experiment: Experiment, row: TrialOf, figures: list[tuple[int, int]]
) -> None:
    trials = [row(i, *pair) for i, pair in enumerate(figures)]
    front = front_of(experiment, trials)
    assert [pick.name for pick in front.picks] == PICKS
    assert all(pick.trial in front.trials for pick in front.picks)
    assert front.recommended == front.picks[0].trial


def test_what_failed_or_breaks_a_limit_is_not_on_the_front(
    experiment: Experiment, trial: TrialOf, row: TrialOf
) -> None:
    trials = [
        row(0, 100, 500),
        row(1, 900, 100, quality_drop=5.1),
        trial(2, status="failed"),
        trial(3, status="running"),
        row(4, 200, 500, quality_drop=5.0),
    ]
    assert numbers(front_of(experiment, trials).trials) == [4]


def test_other_limits_give_another_front_from_the_same_record(
    experiment: Experiment, row: TrialOf
) -> None:
    trials = [row(0, 100, 500), row(1, 900, 100, quality_drop=7.0)]
    assert numbers(front_of(experiment, trials, limits=()).trials) == [1]
    assert numbers(front_of(experiment, trials).trials) == [0]


@pytest.mark.parametrize("trials", [[], [(0, 7.0)]])
def test_where_nothing_keeps_the_limits_there_is_no_front(
    experiment: Experiment, row: TrialOf, trials: list[tuple[int, float]]
) -> None:
    front = front_of(experiment, [row(n, 100, 500, quality_drop=d) for n, d in trials])
    assert front == Front(trials=(), ties={}, picks=(), chances={n: 0.0 for n, _ in trials})
    assert front.recommended is None


def test_each_pick_is_the_best_of_its_kind(experiment: Experiment, row: TrialOf) -> None:
    trials = [
        row(0, 100, 500, perplexity=10.0),
        row(1, 1000, 600, perplexity=10.2, quality_drop=2.0),
        row(2, 90, 50, perplexity=10.4, quality_drop=4.0),
        row(3, 850, 150, perplexity=10.3, quality_drop=3.0),
        row(4, 95, 55, perplexity=9.8, quality_drop=-2.0),
    ]
    assert picked(front_of(experiment, trials)) == {
        "recommended": 3,
        "fastest": 1,
        "smallest": 2,
        "highest quality": 4,
        "knee": 3,
    }


def test_of_equal_quality_the_recommended_or_the_fastest_is_named(
    experiment: Experiment, row: TrialOf
) -> None:
    trials = [
        row(0, 100, 500, perplexity=10.0),
        row(1, 1000, 600, perplexity=10.001, quality_drop=0.01),
        row(2, 900, 60, perplexity=10.5, quality_drop=5.0),
        row(3, 120, 490, perplexity=10.002, quality_drop=0.02),
    ]
    front = front_of(experiment, trials)
    assert picked(front)["recommended"] == 2
    assert picked(front)["highest quality"] == 1
    assert picked(front_of(experiment, trials, prefer="throughput"))["highest quality"] == 1


def test_quality_within_the_interval_of_the_best_is_the_same_quality(
    experiment: Experiment, row: TrialOf
) -> None:
    """4 is the best by chance: the recommended trial's quality lies within its interval."""
    trials = [
        row(0, 100, 500, perplexity=10.0),
        row(2, 900, 60, perplexity=10.1, quality_drop=1.0),
        row(4, 95, 55, perplexity=9.9, quality_drop=-1.0),
    ]
    wide, narrow = (spread(trials[2], quality_drop=(-1 - h, h - 1)) for h in (2.5, 0.5))
    assert pick_named(front_of(experiment, [*trials[:2], narrow]), "highest quality").reason == (
        "best perplexity on the front"
    )
    found = pick_named(front_of(experiment, [*trials[:2], wide]), "highest quality")
    assert found.trial.number == 2
    assert found.reason == "best perplexity on the front (tied with 004; the recommended of them)"


def test_of_the_best_values_the_one_measured_best_decides_what_is_the_same(
    experiment: Experiment, row: TrialOf
) -> None:
    """The recommended trial is within the wide interval of one best, not within the narrow one."""
    trials = [
        row(0, 100, 500, perplexity=10.0),
        row(2, 900, 60, perplexity=10.1, quality_drop=1.0),
        spread(row(3, 96, 56, perplexity=9.9, quality_drop=-1.0), quality_drop=(-4.0, 2.0)),
        spread(row(4, 95, 55, perplexity=9.9, quality_drop=-1.0), quality_drop=(-1.5, -0.5)),
    ]
    for ordered in (trials, [*trials[:2], *trials[:1:-1]]):
        found = pick_named(front_of(experiment, ordered), "highest quality")
        assert found.trial.number == 3
        assert found.reason == "best perplexity on the front (tied with 004; the fastest of them)"


def test_fastest_and_smallest_go_by_the_objectives(
    load: Callable[..., Experiment], row: TrialOf
) -> None:
    experiment = load("objectives={latency_ms: minimize, weights_mb: minimize}")
    trials = [
        row(0, 900, 100, latency_ms=9.0, weights_mb=10.0),
        row(1, 100, 900, latency_ms=1.0, weights_mb=90.0),
    ]
    front = front_of(experiment, trials)
    assert picked(front)["fastest"] == 1
    assert pick_named(front, "fastest").reason == "best latency_ms on the front"
    assert picked(front)["smallest"] == 0
    assert pick_named(front, "smallest").reason == "least weights_mb on the front"


def test_without_such_objectives_throughput_and_peak_memory_decide(
    load: Callable[..., Experiment], row: TrialOf
) -> None:
    front = front_of(load("objectives={perplexity: minimize}"), [row(0, 100, 500)])
    assert pick_named(front, "fastest").reason == "best throughput on the front"
    assert pick_named(front, "smallest").reason == "least peak_memory_mb on the front"
    assert pick_named(front, "highest quality").reason == "best perplexity on the front"


def test_the_smallest_is_not_chosen_by_differences_within_the_intervals(
    experiment: Experiment, row: TrialOf
) -> None:
    """0.5 % of memory is nothing; 1 is ten times as fast, and 3 smaller beyond doubt."""
    trials = [row(0, 100, 500), row(1, 1000, 201), row(2, 50, 200), row(4, 90, 200.5)]
    front = front_of(experiment, trials, prefer="throughput")
    assert numbers(front.trials) == [1, 4, 2]
    text = pick_named(front, "smallest")
    assert text.trial.number == 1
    assert text.reason == (
        "least peak_memory_mb on the front (tied with 004, 002; the recommended of them)"
    )
    more = [*trials[1:], row(3, 60, 150), row(5, 55, 149.9)]
    other = front_of(experiment, more, prefer="throughput")
    assert pick_named(other, "smallest").trial.number == 3
    assert pick_named(other, "smallest").reason.endswith("(tied with 005; the fastest of them)")


def test_the_fastest_of_tied_trials_is_the_smallest(experiment: Experiment, row: TrialOf) -> None:
    trials = [row(0, 100, 500), row(1, 1000, 600), row(2, 998, 590), row(3, 300, 50)]
    text = pick_named(front_of(experiment, trials), "fastest")
    assert text.trial.number == 2
    assert text.reason == ("best throughput on the front (tied with 001; the smallest of them)")


def test_the_recommended_trial_gains_most_over_the_baseline(
    experiment: Experiment, row: TrialOf
) -> None:
    trials = [row(0, 100, 100), row(1, 400, 90), row(2, 300, 45), row(3, 100, 40)]
    front = front_of(experiment, trials)
    assert picked(front)["recommended"] == 2
    text = "greatest mean gain over the baseline in all objectives"
    assert front.picks[0].reason == text


def test_gains_are_ratios_so_that_units_do_not_count(experiment: Experiment, row: TrialOf) -> None:
    trials = [row(0, 1, 100_000), row(1, 1.9, 99_000), row(2, 1.01, 40_000)]
    assert picked(front_of(experiment, trials))["recommended"] == 2


def test_a_gain_of_values_that_are_not_positive_is_their_difference(
    load: Callable[..., Experiment], row: TrialOf
) -> None:
    experiment = load("objectives={quality_drop: minimize, throughput: maximize}")
    trials = [
        row(0, 100, 500, quality_drop=0.0),
        row(1, 105, 500, quality_drop=4.0),
        row(2, 104, 500, quality_drop=-1.0),
    ]
    assert picked(front_of(experiment, trials))["recommended"] == 2


@pytest.mark.parametrize(("half", "recommended"), [(2.0, 1), (4.0, 2)])
def test_a_gain_within_its_interval_is_no_gain(
    load: Callable[..., Experiment], row: TrialOf, half: float, recommended: int
) -> None:
    """1 has gained 3 % of quality, unless that is noise; 2 is 2 % faster."""
    experiment = load("objectives={perplexity: minimize, throughput: maximize}")
    trials = [
        row(0, 100, 500),
        row(1, 100, 500, perplexity=9.7, quality_drop=-3.0),
        row(2, 102, 500),
    ]
    trials[1] = spread(trials[1], quality_drop=(-3 - half, half - 3))
    assert picked(front_of(experiment, trials))["recommended"] == recommended


def test_a_loss_counts_also_within_its_interval(
    load: Callable[..., Experiment], row: TrialOf
) -> None:
    """1 is faster by 2 %, and has lost 3 +- 4 %; 2 is faster by 1.5 %."""
    experiment = load("objectives={perplexity: minimize, throughput: maximize}")
    lost = row(1, 102, 500, perplexity=10.3, quality_drop=3.0)
    trials = [row(0, 100, 500), spread(lost, quality_drop=(-1.0, 7.0)), row(2, 101.5, 500)]
    assert picked(front_of(experiment, trials))["recommended"] == 2


def test_the_luckiest_of_many_equal_trials_is_not_recommended(
    load: Callable[..., Experiment], row: TrialOf
) -> None:
    """Thirty trials of the baseline's quality, judged to +- 5 %, beside one that is 4 % faster.

    By chance 2.5 % of the thirty have a gain outside their own 95 % intervals; in about half of the
    searches (0.975 ** 30) none has, and the faster one is recommended. If every gain counted, the
    luckiest would be recommended in 87 % of the searches.
    """
    experiment = load("objectives={perplexity: minimize, throughput: maximize}")
    baseline, faster = row(0, 100, 500), row(31, 104, 500)
    random = np.random.default_rng(0)
    right, rate = 0, 0
    for _ in range(150):
        drops = 2.55 * random.standard_normal(30)
        intervals = Intervals(experiment, [baseline])
        gain = gain_over(baseline, experiment.objectives, intervals)
        lucky = [
            spread(
                row(n, 100, 500, perplexity=10 + drop / 10, quality_drop=drop),
                quality_drop=(drop - 5, drop + 5),
            )
            for n, drop in enumerate(map(float, drops), 1)
        ]
        counted = sum(gain(trial) > 0 for trial in lucky)
        rate += counted
        right += max([*lucky, faster], key=gain) is faster
        assert counted == (drops < -5).sum()
    assert rate / (150 * 30) == pytest.approx(0.025, abs=0.008)
    assert right >= 0.35 * 150


def test_without_a_baseline_the_knee_is_recommended(
    experiment: Experiment, trial: TrialOf, row: TrialOf
) -> None:
    trials = [trial(0, status="failed"), row(1, 1000, 600), row(2, 900, 150), row(3, 90, 50)]
    front = front_of(experiment, trials)
    assert picked(front)["recommended"] == picked(front)["knee"] == 2
    assert front.picks[0].reason == "nearest to the best of every objective at once"


def test_a_baseline_beyond_the_limits_is_still_compared_with(
    experiment: Experiment, row: TrialOf
) -> None:
    trials = [row(0, 100, 100), row(1, 400, 90), row(2, 300, 45)]
    fast = (Limit(metric="throughput", test=">=", bound=200.0),)
    front = front_of(experiment, trials, limits=fast)
    assert front.picks[0].reason.startswith("greatest mean gain over the baseline")
    assert picked(front)["recommended"] == 2


def test_a_preferred_metric_decides_alone(experiment: Experiment, row: TrialOf) -> None:
    trials = [row(0, 100, 500), row(1, 1000, 600), row(2, 300, 45)]
    front = front_of(experiment, trials, prefer="throughput")
    assert picked(front)["recommended"] == 1
    assert front.picks[0].reason == "best throughput within limits"
    assert picked(front_of(experiment, trials, prefer="peak_memory_mb"))["recommended"] == 2


def test_the_experiment_may_prefer_a_metric(load: Callable[..., Experiment], row: TrialOf) -> None:
    trials = [row(0, 100, 500), row(1, 1000, 600), row(2, 300, 45)]
    preferring = load("prefer=throughput")
    assert picked(front_of(preferring, trials))["recommended"] == 1
    assert picked(front_of(preferring, trials, prefer="peak_memory_mb"))["recommended"] == 2


def test_preferring_an_unknown_metric_is_refused(experiment: Experiment, row: TrialOf) -> None:
    with pytest.raises(ExperimentError) as caught:
        front_of(experiment, [row(0, 100, 500)], prefer="throughputs")
    text = "prefer: unknown metric 'throughputs'; did you mean 'throughput'?"
    assert str(caught.value) == text


def spread(row: Trial, **ends: tuple[float, float]) -> Trial:
    """A trial with intervals for some of its values."""
    figures = {
        name: replace(row.measurements[name], low=low, high=high)
        for name, (low, high) in ends.items()
    }
    return replace(row, measurements={**row.measurements, **figures})


def test_trials_within_the_interval_of_a_better_one_are_ties(
    experiment: Experiment, row: TrialOf
) -> None:
    trials = [
        spread(row(0, 100, 500), throughput=(97, 103)),
        spread(row(1, 104, 500), throughput=(99, 109)),
        spread(row(2, 150, 500), throughput=(145, 155)),
        spread(row(3, 150, 700), throughput=(145, 155)),
    ]
    front = front_of(experiment, trials)
    assert {n: numbers(ties) for n, ties in front.ties.items()} == {0: [1], 1: [0], 2: [], 3: []}
    fastest = pick_named(front_of(experiment, trials[:2]), "fastest")
    assert (fastest.trial.number, numbers(fastest.ties)) == (0, [1])


@pytest.mark.parametrize("unconfirmed", [(), (2,)])
def test_a_wide_interval_wins_no_tie(
    experiment: Experiment, row: TrialOf, unconfirmed: tuple[int, ...]
) -> None:
    """150 [95, 205] with fewer changes beside 200 +- 2: little is known of it, but no likeness."""
    trials = [
        configured(row, experiment, 0, 100.0, 500.0),
        configured(row, experiment, 1, 200.0, 500.0, runtime="openvino", batch_size=8),
        configured(row, experiment, 2, 150.0, 500.0, threads=2),
    ]
    trials[1] = spread(trials[1], throughput=(198, 202))
    trials[2] = spread(trials[2], throughput=(95, 205))
    front = front_of(experiment, trials, unconfirmed=unconfirmed)
    assert set(picked(front).values()) == {1}
    assert numbers(front.ties[1]) == []


def test_an_unconfirmed_trial_replaces_only_unconfirmed_ones(
    experiment: Experiment, row: TrialOf
) -> None:
    """1 is the best, 2 is as good with fewer changes, 3 as good with as many as 1."""
    trials = [
        configured(row, experiment, 0, 100.0, 500.0),
        configured(row, experiment, 1, 300.0, 400.0, runtime="openvino", batch_size=8),
        configured(row, experiment, 2, 299.0, 400.0, batch_size=8),
        configured(row, experiment, 3, 298.5, 400.0, runtime="openvino", batch_size=8, threads=2),
    ]
    chosen = {}
    for unconfirmed in [(), (2,), (1, 2), (1, 2, 3)]:
        front = front_of(experiment, trials, unconfirmed=unconfirmed)
        chosen[unconfirmed] = (
            picked(front)["fastest"],
            numbers(front.ties[1]),
            numbers(front.ties[3]),
        )
        assert len(set(picked(front).values())) == 1
    assert chosen == {
        (): (2, [2, 3], [1, 2]),
        (2,): (1, [3], [1]),
        (1, 2): (3, [2, 3], []),
        (1, 2, 3): (2, [2, 3], [1, 2]),
    }
    reason = pick_named(front_of(experiment, trials, unconfirmed=(1, 2)), "knee").reason
    assert reason.endswith(
        ", tied; the one closest to the baseline of those without warnings was chosen"
    )


def test_the_best_of_a_single_metric_has_no_unconfirmed_ties(
    experiment: Experiment, row: TrialOf
) -> None:
    trials = [row(0, 100, 500), row(1, 1000, 600), row(2, 998, 590), row(3, 300, 50)]
    front = front_of(experiment, trials, unconfirmed=(2,))
    assert pick_named(front, "fastest").trial.number == 1
    assert pick_named(front, "fastest").reason == "best throughput on the front"
    assert pick_named(front_of(experiment, trials, unconfirmed=(1, 2)), "fastest").trial.number == 2


def configured(
    row: TrialOf, experiment: Experiment, number: int, *figures: float, **values: Value
) -> Trial:
    own = Configuration({**experiment.baseline, **values})
    return replace(row(number, *figures), configuration=own)


def test_the_simplest_has_the_fewest_choices_that_are_not_the_baselines(
    experiment: Experiment, row: TrialOf
) -> None:
    trials = [
        configured(row, experiment, 1, 100, 100, runtime="openvino", threads=2),
        configured(row, experiment, 2, 100, 900, batch_size=8),
        configured(row, experiment, 3, 100, 800, threads=2),
        configured(row, experiment, 4, 100, 10, runtime="openvino", precision="bf16"),
    ]
    size = experiment.metrics["peak_memory_mb"]
    assert simplest(experiment, trials, size).number == 3
    assert simplest(experiment, trials[:2], size).number == 2
    # As many choices: then the smaller one.
    assert simplest(experiment, [trials[0], trials[3]], size).number == 4


def test_ties_go_to_the_simplest_and_say_so(experiment: Experiment, row: TrialOf) -> None:
    """1 is the best by a hair, 2 is as good and changes less; 3 is worse."""
    trials = [
        configured(row, experiment, 0, 100.0, 500.0),
        configured(row, experiment, 1, 300.0, 400.0, runtime="openvino", batch_size=8),
        configured(row, experiment, 2, 299.0, 401.0, batch_size=8),
        configured(row, experiment, 3, 200.0, 450.0, threads=2),
    ]
    front = front_of(experiment, trials)
    assert numbers(front.trials) == [1]
    assert set(picked(front).values()) == {2}
    text = pick_named(front, "fastest")
    assert text.reason == (
        "best throughput on the front, tied; the one closest to the baseline was chosen"
    )
    assert numbers(text.ties) == [1]
    without = front_of(experiment, [trials[0], trials[1], trials[3]])
    assert pick_named(without, "fastest").reason == "best throughput on the front"


def test_chances_are_those_to_be_there_within_the_limits(
    experiment: Experiment, trial: TrialOf, row: TrialOf
) -> None:
    trials = [
        row(0, 100, 500),
        row(1, 300, 400),
        trial(2, status="failed"),
        row(3, 900, 1, quality_drop=9.0),
    ]
    assert front_of(experiment, trials).chances == {0: 0.0, 1: 1.0, 3: 0.0}


@pytest.mark.parametrize(("drop", "chance"), [(4.95, 0.53), (5.01, 0.5), (5.6, 0.2)])
def test_trials_near_a_limit_have_a_chance_on_either_side_of_it(
    experiment: Experiment, row: TrialOf, drop: float, chance: float
) -> None:
    """A loss known to +- 1.45 % is below 5 % with the probability of a normal distribution."""
    near = spread(row(1, 300, 400, quality_drop=drop), quality_drop=(drop - 1.45, drop + 1.45))
    front = front_of(experiment, [row(0, 100, 500), near, row(2, 200, 450)])
    assert front.chances[1] == pytest.approx(chance, abs=0.08)
    assert front.chances[2] == pytest.approx(1 - chance, abs=0.08)
    assert front.chances[0] == 0.0


def test_latency_and_throughput_err_together(load: Callable[..., Experiment], row: TrialOf) -> None:
    """One ratio decides both: where 1 is the slower one, it is so in both, and dominated."""
    experiment = load("objectives={throughput: maximize, latency_ms: minimize}")
    trials = [
        spread(
            row(number, speed, 1, latency_ms=1000 / speed),
            throughput=(0.9 * speed, 1.1 * speed),
            latency_ms=(1000 / speed / 1.1, 1000 / speed / 0.9),
        )
        for number, speed in enumerate([102.0, 100.0])
    ]
    chances = front_of(experiment, trials).chances
    assert chances[0] + chances[1] == pytest.approx(1.0, abs=0.05)


def test_without_a_limited_metric_there_is_no_chance(bare: Experiment, trial: TrialOf) -> None:
    limit = Limit(metric="peak_memory_mb", test="<=", bound=100.0)
    trials = [
        trial(0, perplexity=10.0, agreement=0.9, peak_memory_mb=50.0),
        trial(1, perplexity=5.0, agreement=0.95),
        trial(2, perplexity=5.0, peak_memory_mb=200.0),
    ]
    chances = front_of(bare, trials, [limit]).chances
    assert (chances, len(chances)) == ({0: 1.0, 1: 0.0, 2: 0.0}, 3)


def test_the_chance_of_quality_goes_by_the_loss_on_the_same_items(
    load: Callable[..., Experiment], trial: TrialOf
) -> None:
    """Perplexities are 10 +- 5 each; the loss of 1 is 0.3 +- 0.1 %, whatever both share."""
    experiment = load("objectives={perplexity: minimize}")
    wide = Measurement(value=10.0, unit="", low=5.0, high=15.0, samples=9)
    trials = [
        replace(
            trial(number, peak_memory_mb=1.0, throughput=1.0),
            measurements={
                "perplexity": wide,
                "throughput": Measurement.exact(1.0, ""),
                "peak_memory_mb": Measurement.exact(1.0, ""),
                "quality_drop": Measurement(value=d, unit="%", low=d - h, high=d + h, samples=9),
            },
        )
        for number, (d, h) in enumerate([(0.0, 0.0), (0.3, 0.1)])
    ]
    assert front_of(experiment, trials).chances == {0: 1.0, 1: 0.0}


def test_quality_ties_go_by_the_differences_on_the_same_items(
    load: Callable[..., Experiment], row: TrialOf
) -> None:
    experiment = load("objectives={perplexity: minimize}")

    def with_drop(number: int, drop: float) -> Trial:
        wide = Measurement(value=10.0, unit="", low=5.0, high=15.0, samples=9)
        narrow = Measurement(value=drop, unit="%", low=drop - 0.1, high=drop + 0.1, samples=9)
        measured = row(number, 100, 500)
        figures = {**measured.measurements, "perplexity": wide, "quality_drop": narrow}
        return replace(measured, measurements=figures)

    front = front_of(experiment, [with_drop(0, 0.0), with_drop(1, 0.09), with_drop(2, 1.0)])
    assert {n: numbers(ties) for n, ties in front.ties.items()} == {0: [1], 1: [0], 2: []}


def test_a_limit_that_is_kept_on_the_estimate_only_is_named(
    experiment: Experiment, row: TrialOf
) -> None:
    trials = [row(0, 100, 500), spread(row(1, 300, 400, quality_drop=4.5), quality_drop=(3, 6))]
    front = front_of(experiment, trials)
    assert front.picks[0].uncertain == (DROP,)
    assert front.picks[0].reason.endswith(
        "; meets quality_drop <= 5 on the estimate; the 95 % interval crosses the limit"
    )
    trials[1] = spread(trials[1], quality_drop=(4.0, 5.0))
    assert front_of(experiment, trials).picks[0].uncertain == ()


def test_within_keeps_what_keeps_every_limit(trial: TrialOf, row: TrialOf) -> None:
    limits = (DROP, Limit(metric="throughput", test=">=", bound=50.0))
    trials = [row(0, 100, 1), row(1, 40, 1), row(2, 100, 1, quality_drop=9.0)]
    assert within([*trials, trial(3, status="failed")], limits) == trials[:1]
    assert within(trials, ()) == trials


def test_the_nearest_misses_come_by_the_worst_relative_violation(
    trial: TrialOf, row: TrialOf
) -> None:
    limits = (DROP, Limit(metric="throughput", test=">=", bound=100.0))
    trials = [
        row(0, 60, 1, quality_drop=5.5),
        row(1, 100, 1, quality_drop=6.0),
        trial(2, status="failed"),
        row(3, 90, 1, quality_drop=0.0),
        row(4, 10, 1, quality_drop=0.0),
    ]
    assert [t.number for t in nearest_misses(trials, limits)] == [3, 1, 0]
    assert [t.number for t in nearest_misses(trials, limits, count=9)] == [3, 1, 0, 4]


def test_a_limit_of_zero_has_nearest_misses_too(row: TrialOf) -> None:
    limits = (Limit(metric="quality_drop", test="<=", bound=0.0),)
    trials = [row(0, 1, 1, quality_drop=2.0), row(1, 1, 1, quality_drop=1.0)]
    assert [t.number for t in nearest_misses(trials, limits)] == [1, 0]


# Workloads without the usual figures


@pytest.fixture(scope="session")
def bare(load: Callable[..., Experiment]) -> Experiment:
    """Nothing is searched for but quality, and nothing is limited."""
    return load("objectives={perplexity: minimize, agreement: maximize}", "limits={}")


def test_without_speed_and_memory_there_is_no_fastest_and_no_smallest(
    bare: Experiment, trial: TrialOf
) -> None:
    figures = [(10.0, 0.9), (9.0, 0.8), (11.0, 0.95)]
    trials = [trial(n, perplexity=p, agreement=a) for n, (p, a) in enumerate(figures)]
    assert [m and m.name for m in deciding(bare, trials)] == [None, None, "perplexity"]
    found = front_of(bare, trials)
    assert set(picked(found)) == {"recommended", "highest quality", "knee"}
    assert picked(found)["highest quality"] == 1
    assert not relaxations(bare, trials, ())


def test_one_of_speed_and_memory_is_enough_for_its_own_pick(
    bare: Experiment, trial: TrialOf
) -> None:
    rows = [(10.0, 0.9, 400.0), (9.0, 0.8, 300.0), (11.0, 0.95, 300.0)]
    trials = [
        trial(n, perplexity=p, agreement=a, peak_memory_mb=m) for n, (p, a, m) in enumerate(rows)
    ]
    found = front_of(bare, trials)
    assert set(picked(found)) == {"recommended", "smallest", "highest quality", "knee"}
    reason = pick_named(found, "smallest").reason
    assert reason.startswith("least peak_memory_mb on the front (tied with")
    assert "the fastest" not in reason
    some = [*trials[:2], trial(2, perplexity=11.0, agreement=0.95)]
    assert "smallest" not in picked(front_of(bare, some)), "not all have it"


def test_without_its_quality_a_search_has_no_pick_by_it(
    load: Callable[..., Experiment], trial: TrialOf
) -> None:
    experiment = load("objectives={throughput: maximize, peak_memory_mb: minimize}", "limits={}")
    trials = [trial(n, throughput=100.0 + n, peak_memory_mb=500.0 + n) for n in range(3)]
    assert "highest quality" not in picked(front_of(experiment, trials))


def test_a_limit_on_what_was_not_measured_is_kept_by_nothing(
    bare: Experiment, trial: TrialOf
) -> None:
    trials = [trial(n, perplexity=10.0 + n, agreement=0.9) for n in range(2)]
    limit = Limit(metric="peak_memory_mb", test="<=", bound=100.0)
    assert within(trials, [limit]) == []
    assert front_of(bare, trials, [limit]).recommended is None
    assert nearest_misses(trials, [limit]) == trials
    assert relaxations(bare, trials, [limit]) == []


def test_a_preference_for_what_was_not_measured_is_refused(
    bare: Experiment, trial: TrialOf
) -> None:
    trials = [trial(n, perplexity=10.0 + n, agreement=0.9 + n / 100) for n in range(2)]
    text = "prefer: throughput was not measured in this search; name one of agreement, perplexity"
    with pytest.raises(ExperimentError, match=re.escape(text)):
        front_of(bare, trials, prefer="throughput")
