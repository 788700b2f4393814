"""The view of a trial: role, texts, trust, ties, picks, missed limits and relative values."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest

from tunefront.evaluators import Evaluation
from tunefront.search import Experiment, Limit, Result, Trial, result_of
from tunefront.search.front.chances import chances
from tunefront.search.results.view import Miss, TrialRole, TrialView
from tunefront.search.study.confirmation import Confirmation
from tunefront.search.terminal.result import result_record

TrialOf = Callable[..., Trial]
EvaluationOf = Callable[..., Evaluation]
QUALITY = {"perplexity": 10.0, "quality_drop": 0.0}


@pytest.fixture
def result(
    load: Callable[..., Experiment],
    trial: TrialOf,
    failure: EvaluationOf,
    evaluation: EvaluationOf,
) -> Result:
    """Return a result with one trial of every role."""
    beyond = QUALITY | {"quality_drop": 9.0}
    noisy = replace(evaluation(), warnings=("interval ± 9 %, wanted ± 3 %",))
    trials = [
        trial(0, throughput=100.0, peak_memory_mb=500.0, **QUALITY),
        trial(1, {"threads": 2}, throughput=400.0, peak_memory_mb=450.0, **QUALITY),
        trial(2, {"threads": 4}, throughput=50.0, peak_memory_mb=100.0, **QUALITY),
        trial(3, throughput=90.0, peak_memory_mb=600.0, evaluation=noisy, **QUALITY),
        trial(4, status="infeasible", throughput=900.0, peak_memory_mb=50.0, **beyond),
        trial(5, status="failed", evaluation=failure("oom", "no memory left\nat all")),
        trial(6, status="running"),
    ]
    return result_of(load(), trials, Confirmation())


def test_every_trial_has_one_role(result: Result) -> None:
    roles = [view.role for view in result.views.values()]
    assert roles[1] == "recommended"
    assert roles[:1] + roles[2:] == [
        "baseline", "front", "dominated", "infeasible", "failed", "running"
    ]  # fmt: skip
    assert set(roles) == set(get_args(TrialRole))


def test_the_shortlist_is_the_front_and_the_baseline(result: Result) -> None:
    assert [view.number for view in result.shortlist] == [1, 2, 0]
    assert [view.number for view in result.views.values() if view.shortlisted] == [0, 1, 2]
    assert [view.number for view in result.views.values() if view.on_front] == [1, 2]


def test_a_view_is_computed_once(result: Result) -> None:
    assert list(result.views) == [0, 1, 2, 3, 4, 5, 6]
    assert len(result.views) == 7
    assert result.view(result.trials[1]) is result.views[1]
    with pytest.raises(KeyError):
        result.views[7]


def test_names_and_sentences(result: Result) -> None:
    view = result.views[1]
    assert (view.number, view.name, view.label) == (1, "001 t2", "t2")
    assert view.short_name == "001 t2"
    assert view.sentence == "4x faster, 1.1x less memory, the same quality"
    assert result.views[0].sentence == "the baseline"
    assert result.views[5].sentence == "failed at measure (oom): no memory left"
    assert result.views[6].sentence == "running"


def test_role_and_picks(result: Result) -> None:
    recommended, smallest = result.views[1], result.views[2]
    assert recommended.role_text.startswith("recommended, fastest")
    assert [pick.name for pick in smallest.picks] == ["smallest"]
    assert smallest.role_text == "smallest"
    assert result.views[4].role_text == "infeasible"


def test_trust_and_warnings(result: Result) -> None:
    trust = [view.trust for view in result.views.values()]
    assert trust == ["single", "single", "single", "unconfirmed", "single", "none", "none"]
    assert result.views[1].trust_text == "single, front 100 %"
    assert result.views[3].trust_text == "unconfirmed, front 0 % if confirmed"
    assert result.views[4].trust_text == "single, front 0 %"
    assert result.views[5].trust_text == "-"
    assert result.views[1].trust_note == "single"
    note = "unconfirmed: front 0 % if confirmed; interval ± 9 %, wanted ± 3 %"
    assert result.views[3].trust_note == note
    assert result.views[3].warnings == ("interval ± 9 %, wanted ± 3 %",)
    assert "unconfirmed: interval ± 9 %, wanted ± 3 %" in result.views[3].sentence
    assert result.views[3].remarks == ()


def test_a_warning_qualifies_the_chance_wherever_it_is_shown(
    load: Callable[..., Experiment], trial: TrialOf, evaluation: EvaluationOf
) -> None:
    noisy = replace(evaluation(), warnings=("other processes used the cores",))
    trials = [
        trial(0, throughput=100.0, peak_memory_mb=500.0, **QUALITY),
        trial(1, throughput=400.0, peak_memory_mb=450.0, evaluation=noisy, **QUALITY),
    ]
    result = result_of(load(), trials, Confirmation())
    view = result.views[1]
    assert result.unconfirmed == {1}
    assert (view.chance, view.trust_text) == (1.0, "unconfirmed, front 100 % if confirmed")
    assert (
        view.trust_note == "unconfirmed: front 100 % if confirmed; other processes used the cores"
    )
    (recommended, *_) = result_record(result)["picks"]
    assert (recommended["trust"], recommended["front_chance"]) == ("unconfirmed", 1.0)


def test_a_limit_that_may_be_broken_is_named_with_the_recommendation(
    load: Callable[..., Experiment], trial: TrialOf
) -> None:
    """What is not shown to keep the limit is not recommended without that remark."""
    near = {"perplexity": 10.45, "quality_drop": 4.5}
    trials = [
        trial(0, throughput=100.0, peak_memory_mb=500.0, **QUALITY),
        trial(1, throughput=400.0, peak_memory_mb=450.0, spread=0.2, **near),
    ]
    result = result_of(load(), trials, Confirmation())
    text = "meets quality_drop <= 5 on the estimate; the 95 % interval crosses the limit"
    assert result.headline().startswith("001 t2: 4x faster (3.2 to 4.8)")
    assert result.headline().endswith(f"; {text}")
    assert result.front.picks[0].reason.endswith(f"; {text}")
    chance = result.views[1].chance
    assert chance is not None
    assert 0.5 < chance < 0.95


def test_missed_limits_with_values_and_units(result: Result) -> None:
    (miss,) = result.views[4].misses
    assert miss.text == "quality_drop 9 % (limit quality_drop <= 5 %)"
    assert miss.excess == pytest.approx(4.0)
    assert result.views[4].remarks == (f"beyond limits: {miss.text}",)
    assert [view.number for view in result.views.values() if view.misses] == [4]


def test_a_metric_that_was_not_measured_misses_its_limit(result: Result) -> None:
    limit = Limit(metric="latency_ms", test="<=", bound=5.0)
    tight = result_of(result.experiment, result.trials, Confirmation(), [limit])
    text = "latency_ms not measured (limit latency_ms <= 5 ms)"
    assert tight.views[1].misses == (Miss(limit=limit, measurement=None, text=text),)
    assert tight.views[1].misses[0].excess is None
    assert tight.views[1].role == "infeasible"


def test_roles_and_misses_follow_the_limits_of_the_result(result: Result) -> None:
    wide = result_of(result.experiment, result.trials, Confirmation(), limits=())
    assert wide.views[4].on_front
    assert wide.views[4].misses == ()


def test_values_relative_to_the_baseline(result: Result) -> None:
    view = result.views[2]
    assert (view.speedup, view.memory_saving) == (0.5, 5.0)
    assert (result.views[0].speedup, result.views[0].memory_saving) == (1.0, 1.0)
    assert (result.views[5].speedup, result.views[5].memory_saving) == (None, None)


def test_without_a_measured_baseline_there_is_no_comparison(
    load: Callable[..., Experiment], trial: TrialOf
) -> None:
    own = trial(1, throughput=400.0, peak_memory_mb=450.0, **QUALITY)
    view = result_of(load(), [trial(0, status="failed"), own], Confirmation()).views[1]
    assert view.sentence == "not compared: the baseline was not measured"
    assert view.speedup is None


def test_a_picked_trial_that_ties_with_the_front_belongs_to_it(
    load: Callable[..., Experiment], trial: TrialOf
) -> None:
    """The recommended trial is the simplest of the tied ones, even if one of them dominates it."""
    trials = [
        trial(0, {"threads": 1}, throughput=100.0, peak_memory_mb=500.0, **QUALITY),
        trial(1, {"threads": 2}, throughput=100.1, peak_memory_mb=499.9, **QUALITY),
    ]
    result = result_of(load(), trials, Confirmation())
    assert [found.number for found in result.front.trials] == [1]
    views: dict[int, TrialView] = dict(result.views)
    assert (views[0].role, views[0].on_front) == ("recommended", True)
    assert (views[0].ties, views[0].ties_text) == ((1,), "tied with 001")
    assert [view.number for view in result.shortlist] == [1, 0]


def test_probabilities_are_drawn_when_they_are_read(
    result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search computes a view after every trial: its cost must not grow with their number."""
    drawn: list[int] = []

    def counted(*arguments: Any) -> npt.NDArray[np.float64]:
        drawn.append(1)
        return chances(*arguments)

    monkeypatch.setattr("tunefront.search.front.ties.chances", counted)
    fresh = result_of(result.experiment, result.trials, Confirmation())
    view = fresh.views[1]
    assert (view.sentence, view.remarks, drawn) == (view.sentence, (), [])
    assert view.chance == fresh.front.chances[1]
    assert drawn == [1]
