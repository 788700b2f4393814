"""What rounds say together: ratios with intervals, figures that follow from them."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from tunefront.evaluators import Measurement, measured_metrics, ratio_interval
from tunefront.evaluators.isolation.codec import from_plain, to_plain
from tunefront.evaluators.statistics.rounds import rounds_interval
from tunefront.search import Trial
from tunefront.search.experiment.metrics import cost_metrics
from tunefront.search.study.confirmation import Confirmation, Round, confirmed

TrialOf = Callable[..., Trial]
METRICS = {**measured_metrics(), **cost_metrics(measured_metrics().values())}


def confirmed_with(trials: Sequence[Trial], confirmation: Confirmation) -> list[Trial]:
    return confirmed(trials, confirmation, METRICS)


def round_of(*ratios: float, alike: Sequence[float] = (), **figures: float) -> Round:
    return Round(ratios=ratios, same_execution_ratios=tuple(alike), values=figures)


BASE = (round_of(1, 1, throughput=90.0), round_of(1, 1, throughput=110.0))
OWN = (
    round_of(2.9, 3.0, 3.2, alike=[1.4, 1.5, 1.6], throughput=300.0, peak_memory_mb=250.0),
    round_of(3.1, 3.0, 2.8, alike=[1.5, 1.5, 1.5], throughput=310.0, peak_memory_mb=270.0),
)


def test_a_confirmation_is_kept_as_plain_values() -> None:
    confirmation = Confirmation(rounds={0: BASE, 3: OWN}, finalists=(0, 3, 4))
    again = from_plain(Confirmation, json.loads(json.dumps(to_plain(confirmation))))
    assert again == confirmation
    assert from_plain(Confirmation, {}) == Confirmation()


def test_the_speed_up_is_the_ratio_over_all_rounds() -> None:
    confirmation = Confirmation(rounds={0: BASE, 3: OWN})
    for found, part in (
        (confirmation.speedup(3), "ratios"),
        (confirmation.same_execution_speedup(3), "same_execution_ratios"),
    ):
        assert found is not None
        ends = ratio_interval([np.array(getattr(each, part)) for each in OWN])
        assert (found.value, found.low, found.high) == ends
        assert (found.unit, found.samples) == ("x", 6)


def test_what_was_not_measured_again_has_no_speed_up() -> None:
    confirmation = Confirmation(rounds={0: BASE, 1: [round_of(2.0, 2.0), round_of(2.0)]})
    assert confirmation.speedup(7) is None
    assert confirmation.same_execution_speedup(0) is None
    assert confirmation.same_execution_speedup(1) is None
    some = Confirmation(rounds={1: [round_of(2.0, alike=[1.0]), round_of(2.0)]})
    assert some.same_execution_speedup(1) is None


def test_without_a_throughput_what_was_measured_again_is_confirmed(trial: TrialOf) -> None:
    """A training, or a program that only its memory is known of."""
    trials = [trial(0, peak_memory_mb=500.0, loss=2.0), trial(3, peak_memory_mb=280.0, loss=2.1)]
    rounds = {
        0: [round_of(peak_memory_mb=480.0), round_of(peak_memory_mb=500.0)],
        3: [round_of(peak_memory_mb=250.0), round_of(peak_memory_mb=270.0)],
    }
    base, own = confirmed_with(trials, Confirmation(rounds=rounds, finalists=[0, 3]))
    assert base.value("peak_memory_mb") == 490.0
    assert (own.value("peak_memory_mb"), own.value("loss")) == (260.0, 2.1)
    assert set(own.measurements) == {"peak_memory_mb", "loss"}
    # One that has a throughput, beside a baseline that has none, is left as it was.
    trials[1] = trial(3, throughput=7.0, peak_memory_mb=280.0)
    assert confirmed_with(trials, Confirmation(rounds=rounds))[1].value("throughput") == 7.0


def test_rounds_without_ratios_confirm_no_throughput(trial: TrialOf) -> None:
    trials = [trial(0, throughput=100.0), trial(3, throughput=250.0)]
    rounds = {0: [round_of(), round_of()], 3: [round_of(), round_of()]}
    found = confirmed_with(trials, Confirmation(rounds=rounds))
    assert [one.value("throughput") for one in found] == [100.0, 250.0]


def test_more_rounds_are_added_to_those_there_are() -> None:
    first = Confirmation().with_rounds({0: BASE, 1: OWN})
    second = first.with_rounds({0: BASE[:1], 2: OWN[:1]})
    assert first == Confirmation(rounds={0: BASE, 1: OWN}, finalists=(0, 1))
    assert second.rounds == {0: (*BASE, BASE[0]), 1: OWN, 2: OWN[:1]}
    assert second.finalists == (0, 1, 2)


def test_who_failed_in_any_of_its_rounds_has_none_but_was_asked() -> None:
    found = Confirmation().with_rounds({0: BASE, 1: [OWN[0], None], 2: [None]})
    assert found.rounds == {0: BASE}
    assert found.finalists == (0, 1, 2)


def test_who_lacks_rounds_for_the_baselines_sake_is_asked_again_and_keeps_the_others() -> None:
    first = Confirmation().with_rounds({0: BASE, 1: OWN, 2: OWN[:1]}, incomplete={2, 3})
    assert first.rounds == {0: BASE, 1: OWN, 2: OWN[:1]}
    assert first.finalists == (0, 1)
    assert first.without_baseline == {2: 1, 3: 1}
    second = first.with_rounds({0: BASE, 2: OWN}, incomplete={3})
    assert second.rounds[2] == (*OWN[:1], *OWN)
    assert (second.finalists, second.without_baseline) == ((0, 1, 2), {2: 1, 3: 2})
    third = second.with_rounds({}, incomplete={3})
    assert third.finalists == (0, 1, 2, 3), "given up"
    assert 3 not in third.rounds
    again = from_plain(Confirmation, json.loads(json.dumps(to_plain(third))))
    assert again.without_baseline == {2: 1, 3: 3}


def test_who_failed_itself_is_done_even_if_the_baseline_failed_in_another_round() -> None:
    found = Confirmation().with_rounds({0: BASE, 1: [None]}, incomplete={1})
    assert (found.finalists, found.without_baseline) == ((0, 1), {})
    assert found.rounds == {0: BASE}


def test_who_fails_later_keeps_what_it_had() -> None:
    first = Confirmation().with_rounds({0: BASE, 1: OWN})
    assert first.with_rounds({1: [None]}) == first


# Figures


@pytest.fixture(scope="session")
def trials(trial: TrialOf) -> list[Trial]:
    """A baseline, one to be confirmed, one that failed, and one that nobody asks."""
    figures = {
        "throughput": 100.0,
        "latency_ms": 10.0,
        "latency_p90_ms": 12.0,
        "peak_memory_mb": 500.0,
        "weights_mb": 50.0,
        "tokens_per_second": 5000.0,
        "cost_per_million_items": 2.0,
        "perplexity": 10.0,
    }
    faster = {**figures, "throughput": 400.0, "latency_ms": 2.5, "tokens_per_second": 20_000.0}
    return [
        trial(0, **figures),
        trial(1, **{**faster, "cost_per_million_items": 0.5}),
        trial(2, status="failed"),
        trial(3, **faster),
    ]


def test_without_rounds_nothing_is_confirmed(trials: list[Trial]) -> None:
    assert confirmed_with(trials, Confirmation()) == trials
    failed = [replace(trials[0], status="failed"), *trials[1:]]
    assert confirmed_with(failed, Confirmation(rounds={1: OWN})) == failed


def test_a_finalist_is_confirmed_by_its_own_group_alone(trials: list[Trial]) -> None:
    """Its ratios are those to the baseline beside it; the baseline failed in the other group."""
    base, own, *others = confirmed_with(trials, Confirmation(rounds={1: OWN}))
    assert [base, *others] == [trials[0], *trials[2:]]
    assert own.value("throughput") == pytest.approx(300.0, rel=0.01)


def test_confirmed_throughput_is_the_ratio_times_the_baselines_median(
    trials: list[Trial],
) -> None:
    confirmation = Confirmation(rounds={0: BASE, 1: OWN})
    found = confirmed_with(trials, confirmation)
    speedup = confirmation.speedup(1)
    assert speedup is not None
    assert found[1].measurements["throughput"] == Measurement(
        value=speedup.value * 100,
        unit="items/s",
        low=speedup.low * 100,
        high=speedup.high * 100,
        samples=6,
    )
    base = found[0].measurements["throughput"]
    assert (base.value, base.unit, base.samples) == (100, "items/s", 2)
    assert (base.low, base.high) == pytest.approx(rounds_interval([90, 110])[1:])
    assert found[2:] == trials[2:]


def test_values_of_their_own_have_student_s_interval_over_the_rounds(trials: list[Trial]) -> None:
    own = confirmed_with(trials, Confirmation(rounds={0: BASE, 1: OWN}))[1]
    memory = own.measurements["peak_memory_mb"]
    assert (memory.value, memory.unit, memory.samples) == (260, "MB", 2)
    assert (memory.low, memory.high) == rounds_interval([250.0, 270.0])[1:]
    # No round says anything of these.
    for name in ("latency_p90_ms", "weights_mb", "perplexity"):
        assert own.measurements[name] == trials[1].measurements[name]


def test_tails_and_energy_are_converted_by_the_baseline_of_their_round(trial: TrialOf) -> None:
    """The machine is 1.5 and 2 times slower in two rounds; a third does not know how fast it is."""
    figures = {"throughput": 100.0, "latency_p99_ms": 12.0, "energy_per_item": 2.0}
    trials = [trial(n, peak_memory_mb=500.0, **figures) for n in range(2)]
    slower = [1.5, 2.0]
    rounds = [
        Round(
            ratios=[1.0] * 6,
            values={
                "latency_p99_ms": 12.0 * each,
                "energy_per_item": 2.0 * each,
                "peak_memory_mb": 500.0,
            },
            baseline_values={"throughput": 100.0 / each},
        )
        for each in slower
    ]
    for own in confirmed_with(trials, Confirmation(rounds={0: rounds, 1: rounds})):
        for name, value in (("latency_p99_ms", 12.0), ("energy_per_item", 2.0)):
            found = own.measurements[name]
            assert (found.low, found.value, found.high) == pytest.approx((value,) * 3)
        assert own.value("peak_memory_mb") == 500.0
    unknown = [replace(rounds[0], baseline_values={})]
    raw = confirmed_with(trials, Confirmation(rounds={1: unknown}))[1]
    assert raw.value("latency_p99_ms") == pytest.approx(18.0)


def test_what_follows_from_the_throughput_follows_it(trials: list[Trial]) -> None:
    """Rates grow as it does; latency and cost shrink, and their ends change places."""
    own = confirmed_with(trials, Confirmation(rounds={0: BASE, 1: OWN}))[1].measurements
    before = trials[1].measurements
    speed = own["throughput"]
    for end in ("value", "low", "high"):
        other = {"value": "value", "low": "high", "high": "low"}[end]
        moved = getattr(speed, end) / 400
        assert getattr(own["tokens_per_second"], end) == pytest.approx(20_000 * moved)
        assert getattr(own["latency_ms"], other) == pytest.approx(2.5 / moved)
        assert getattr(own["cost_per_million_items"], other) == pytest.approx(0.5 / moved)
    assert own["latency_ms"].unit == before["latency_ms"].unit
    assert own["latency_ms"].samples == 6


def test_a_value_that_the_trial_does_not_have_is_not_made_up(trial: TrialOf) -> None:
    plain = [trial(n, throughput=100.0, peak_memory_mb=500.0) for n in range(2)]
    own = confirmed_with(plain, Confirmation(rounds={0: BASE, 1: OWN}))[1]
    assert set(own.measurements) == {"throughput", "peak_memory_mb"}


def test_a_machine_that_has_slowed_down_changes_no_multiple(trial: TrialOf) -> None:
    """A fifth slower when it was confirmed: nobody gains on the baseline by that."""
    slow = [round_of(1, 1, throughput=80.0), round_of(1, 1, throughput=80.0)]
    twice = [round_of(2.0, 2.0, throughput=160.0), round_of(2.0, 2.0, throughput=160.0)]
    trials = [trial(n, throughput=v, peak_memory_mb=500.0) for n, v in enumerate((100, 200, 150))]
    base, own, other = confirmed_with(trials, Confirmation(rounds={0: slow, 1: twice}))
    assert base.value("throughput") == pytest.approx(100.0)
    assert own.value("throughput") == pytest.approx(200.0)
    assert other == trials[2]
