"""Items in portions: every one once, at random, and an end where it is enough."""

import numpy as np
import pytest

from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.workloads.sequential import (
    LEAST_ITEMS,
    ItemIndices,
    evaluate_items,
    evaluated_places,
    portions,
    sample_of,
)


@pytest.mark.parametrize("count", [1, 31, 63, 64, 100, 255, 256, 1000])
def test_portions_hold_every_place_once_and_are_cut_at_the_looks(count: int) -> None:
    found = portions(count)
    assert np.sort(np.concatenate(found)).tolist() == list(range(count))
    ends = np.cumsum([len(portion) for portion in found])[:-1].tolist()
    looks = [count // 8, count // 4, count // 2]
    assert ends == [look for look in looks if look >= LEAST_ITEMS]
    assert all((np.diff(portion) > 0).all() for portion in found)


def test_portions_are_drawn_at_random_the_same_at_every_call() -> None:
    first, again = portions(800), portions(800)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    # 100 places of 800: their mean is 400 +- 22, and it is this one draw for ever.
    assert 300 < first[0].mean() < 500
    assert first[0].tolist() != list(range(100))


@pytest.mark.parametrize("count", [5, 12, 100])
def test_the_timed_items_are_the_same_for_every_batch_size(count: int) -> None:
    single = sum(sample_of(count, 1, 24), [])
    for batch_size in (2, 3, 4, 24):
        cut = sample_of(count, batch_size, 24 // batch_size)
        assert {len(batch) for batch in cut} == {batch_size}
        assert sum(cut, []) == single


def test_the_timed_items_are_random_and_all_come_once_before_one_comes_again() -> None:
    first, second = sample_of(100, 100, 2)
    assert sorted(first) == sorted(second) == list(range(100))
    assert first != second
    assert 30 < np.mean(first[:40]) < 70


class InterimRule:
    """Judges by the place's number; keeps what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[ItemIndices] = []

    def __call__(self, places: ItemIndices) -> tuple[Array, Array]:
        self.asked.append(places)
        return places * 2.0, places + 1.0


def test_without_a_question_all_are_judged_in_one_go() -> None:
    score = InterimRule()
    items, weights = evaluate_items(500, score, None)
    assert len(score.asked) == 1
    assert items.tolist() == [2.0 * place for place in range(500)]
    assert weights.tolist() == [place + 1.0 for place in range(500)]
    assert evaluated_places(weights).tolist() == list(range(500))


@pytest.mark.parametrize("yes_at", [1, 2, 3])
def test_judging_ends_at_the_look_that_says_so(yes_at: int) -> None:
    score, looks = InterimRule(), list[int]()

    def enough(items: Array, weights: Array) -> bool:
        assert (items[weights > 0] == 2.0 * evaluated_places(weights)).all()
        assert not items[weights == 0].any()
        looks.append(int((weights > 0).sum()))
        return len(looks) == yes_at

    _, weights = evaluate_items(800, score, enough)
    assert looks == [100, 200, 400][:yes_at]
    assert evaluated_places(weights).tolist() == sorted(
        np.concatenate(portions(800)[:yes_at]).tolist()
    )


def test_who_is_never_satisfied_gets_all_and_is_not_asked_at_the_end() -> None:
    asked: list[int] = []

    def never(items: Array, weights: Array) -> bool:
        asked.append(int((weights > 0).sum()))
        return False

    found = evaluate_items(800, InterimRule(), never)
    whole = evaluate_items(800, InterimRule(), None)
    assert all(np.array_equal(a, b) for a, b in zip(found, whole, strict=True))
    assert asked == [100, 200, 400]


def test_few_items_are_not_worth_a_look() -> None:
    _, weights = evaluate_items(2 * LEAST_ITEMS - 1, InterimRule(), lambda items, weights: True)
    assert (weights > 0).all()
