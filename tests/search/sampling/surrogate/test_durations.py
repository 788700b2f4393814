"""What a trial should take: of those like it, with building or without."""

from collections.abc import Sequence

import numpy as np
import pytest

from tunefront.evaluators import Evaluation, builtin_catalog
from tunefront.search import Trial
from tunefront.search.sampling.surrogate.durations import ExpectedSeconds
from tunefront.spaces import Configuration


def trial(number: int, seconds: float | None, *, reused: bool = False) -> Trial:
    evaluation = Evaluation(
        status="ok",
        seconds={} if seconds is None else {"total": seconds},
        reused=("candidate",) if reused else (),
    )
    configuration = Configuration({"batch_size": number})
    return Trial(
        number=number,
        configuration=configuration,
        catalog=builtin_catalog(),
        status="ok",
        evaluation=evaluation,
    )


def expected(
    trials: Sequence[Trial], distances: Sequence[Sequence[float]], built: Sequence[bool]
) -> list[float]:
    found = ExpectedSeconds(len(built))
    for one, apart in zip(trials, distances, strict=True):
        found.add(one, np.array(apart))
    return [float(s) for s in found.of(np.array(built))]


def test_what_is_like_a_trial_takes_what_it_took() -> None:
    trials = [trial(0, 10.0), trial(1, 90.0)]
    near_first, between, near_second = expected(
        trials, [[0.0, 1.0, 9.0], [9.0, 1.0, 0.0]], [False] * 3
    )
    assert near_first == pytest.approx(10.0)
    assert between == pytest.approx(30.0)  # the mean of logarithms
    assert near_second == pytest.approx(90.0)


def test_what_is_built_takes_what_such_trials_took() -> None:
    trials = [trial(0, 60.0), trial(1, 6.0, reused=True)]
    assert expected(trials, [[0.0, 0.0], [1.0, 1.0]], [False, True]) == pytest.approx([60.0, 6.0])


def test_what_is_built_never_takes_longer() -> None:
    trials = [trial(0, 5.0), trial(1, 50.0, reused=True)]
    assert expected(trials, [[0.0], [0.0]], [True]) == pytest.approx([5.0])


@pytest.mark.parametrize(("reused", "found"), [(False, [30.0, 10.0]), (True, [90.0, 30.0])])
def test_before_one_kind_was_seen_it_is_a_third_of_the_other(
    reused: bool, found: list[float]
) -> None:
    trials = [trial(0, 30.0, reused=reused)]
    assert expected(trials, [[0.0, 0.0]], [False, True]) == pytest.approx(found)


def test_where_nothing_is_known_all_take_the_same() -> None:
    assert expected([trial(0, None)], [[0.0, 1.0]], [False, True]) == [1.0, 1.0]
