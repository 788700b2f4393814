"""Too few items for a limit, and a level that no limit in percent fits."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tunefront.evaluators import QualitySample
from tunefront.search import Experiment
from tunefront.search.experiment.scarcity import check_level, scarcity_of
from tunefront.spaces import ExperimentError

Load = Callable[..., Experiment]
PAIRS = QualitySample(items=48, evaluated=48, level=0.31, spread=1.5, hits=True, near_zero=False)


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (
            "<= 1%",
            "48 items: a change of quality below about 24 % can't be seen, the limit is 1 %; about "
            "20,000 items would do",
        ),
        ("<= 0%", "48 items: a change of quality below about 24 % can't be seen, the limit is 0 %"),
        ("<= 25%", "None"),
    ],
)
def test_scarce_data_is_described(load: Load, limit: str, text: str) -> None:
    experiment = load(f"limits={{quality_drop: '{limit}'}}")
    assert str(scarcity_of(experiment.limits, PAIRS)) == text


def test_nothing_is_scarce_without_a_limit_or_items(load: Load) -> None:
    assert scarcity_of(load("limits={}").limits, PAIRS) is None
    limits = load("limits={quality_drop: '<= 1%'}").limits
    assert scarcity_of(limits, None) is None
    assert scarcity_of(limits, replace(PAIRS, near_zero=True)) is None


NEAR = replace(PAIRS, level=8e-14, hits=False, near_zero=True)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            (),
            "limits: quality_drop <= 5 %: perplexity is 8e-14, not distinguishable from 0: a "
            'change in percent of it has no meaning; write limits: {perplexity: "<= NUMBER"}, in '
            "its own unit",
        ),
        (
            ("limits={}", "objectives={quality_drop: minimize}"),
            "objectives: quality_drop: perplexity is 8e-14, not distinguishable from 0: a "
            "change in percent of it has no meaning; write objectives: {perplexity: minimize}, in "
            "its own unit",
        ),
    ],
)
def test_a_drop_of_a_level_near_0_is_refused(
    load: Load, overrides: tuple[str, ...], message: str
) -> None:
    experiment = load(*overrides)
    with pytest.raises(ExperimentError) as caught:
        check_level(experiment, NEAR)
    assert str(caught.value) == f"{experiment.path}: {message}"
    # A part of the items decides nothing, nor does a level that is not near 0.
    for sample in (None, PAIRS, replace(NEAR, evaluated=6)):
        check_level(experiment, sample)


def test_a_level_near_0_is_accepted_where_no_drop_is_used(load: Load) -> None:
    check_level(load("limits={perplexity: '<= 30'}"), NEAR)
