"""Improvements with many objectives: against the exact grid, and how much work they are."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from tunefront.evaluators.statistics.arrays import Floats
from tunefront.search.front.pareto import hypervolume, nondominated
from tunefront.search.sampling import improvement
from tunefront.search.sampling.box_improvement import (
    Boxes,
    dominated_boxes,
    improvement_over_boxes,
)
from tunefront.search.sampling.hypervolume_improvement import expected_hypervolume_improvement
from tunefront.search.sampling.improvement import improvement_of
from tunefront.search.sampling.sampled_improvement import sampled_improvement

Problem = tuple[Floats, Floats, Floats, Floats]


def problem(objectives: int, points: int, candidates: int, seed: int = 0) -> Problem:
    """A front on a sphere, its reference, and predictions on both sides of it."""
    random = np.random.default_rng(seed)
    directions = np.abs(random.normal(size=(2 * points + candidates, objectives)))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    radius = np.append(random.uniform(0.9, 1, 2 * points), random.uniform(0.6, 1.05, candidates))
    values = 1.2 - directions * radius[:, None]
    front = values[: 2 * points]
    front = front[nondominated(front)][:points]
    reference = 2 * front.max(axis=0) - front.min(axis=0)
    deviation = random.uniform(0.03, 0.15, (candidates, objectives))
    return front, reference, values[2 * points :], deviation


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
@pytest.mark.parametrize("points", [0, 1, 7, 20])
def test_boxes_give_what_the_grid_gives(objectives: int, points: int) -> None:
    front, reference, mean, deviation = problem(objectives, points or 1, 30)
    front = front[:points]
    boxes = dominated_boxes(front, reference, 10_000)
    assert boxes is not None
    found = improvement_over_boxes(boxes, mean, deviation)
    exact = expected_hypervolume_improvement(front, reference, mean, deviation)
    assert found == pytest.approx(exact, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("objectives", [2, 3, 4, 5])
def test_boxes_fill_the_dominated_region_also_with_equal_values(objectives: int) -> None:
    """Fronts of small integers, with duplicates: every value occurs several times."""
    random = np.random.default_rng(objectives)
    for _ in range(20):
        values = random.integers(0, 4, (12, objectives)).astype(float)
        front, reference = values[nondominated(values)], np.full(objectives, 4.0)
        boxes = dominated_boxes(front, reference, 10_000)
        assert boxes is not None
        sides = [
            cuts[boxes.high[:, place]] - cuts[boxes.low[:, place]]
            for place, cuts in enumerate(boxes.cuts)
        ]
        assert np.prod(sides, axis=0).sum() == pytest.approx(hypervolume(front, reference))


@pytest.mark.parametrize(("objectives", "points"), [(3, 20), (4, 15)])
def test_samples_order_candidates_as_the_grid_does(objectives: int, points: int) -> None:
    """The order of the candidates, the values of the better half, and the best one's value."""
    parts = problem(objectives, points, 100)
    exact = expected_hypervolume_improvement(*parts)
    found, covered = sampled_improvement(*parts, 4096)
    better = exact > np.median(exact)
    assert spearmanr(found, exact)[0] > 0.985
    assert np.abs(found / exact - 1)[better].mean() < 0.12
    assert exact[found.argmax()] > 0.9 * exact.max()
    assert covered == pytest.approx(hypervolume(*parts[:2]), rel=0.02)


def test_samples_order_candidates_as_boxes_do_with_six_objectives() -> None:
    parts = problem(6, 40, 100)
    boxes = dominated_boxes(*parts[:2], 10_000)
    assert boxes is not None
    exact = improvement_over_boxes(boxes, *parts[2:])
    found, covered = sampled_improvement(*parts, 8192)
    better = exact > np.median(exact)
    assert spearmanr(found, exact)[0] > 0.98
    assert np.abs(found / exact - 1)[better].mean() < 0.15
    assert exact[found.argmax()] > 0.9 * exact.max()
    assert covered == pytest.approx(hypervolume(*parts[:2]), rel=0.02)


@pytest.mark.parametrize(("objectives", "points", "most"), [(5, 23, 400), (6, 60, 4000)])
def test_there_are_far_fewer_boxes_than_cells(objectives: int, points: int, most: int) -> None:
    """The grid has 8 million and 51 billion cells."""
    boxes = dominated_boxes(*problem(objectives, points, 1)[:2], most)
    assert boxes is not None
    assert boxes.low.shape[1] == objectives


def test_small_fronts_use_the_grid_large_ones_boxes_and_larger_ones_samples(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts = problem(4, 15, 20)
    grid = improvement_of(*parts)
    assert (grid.samples, grid.covered) == (0, hypervolume(*parts[:2]))
    assert (grid.gain == expected_hypervolume_improvement(*parts)).all()
    monkeypatch.setattr(improvement, "MOST_CELLS", 16**4 - 1)
    boxes = improvement_of(*parts)
    assert (boxes.samples, boxes.covered) == (0, grid.covered)
    assert boxes.gain == pytest.approx(grid.gain, rel=1e-5, abs=1e-9)
    monkeypatch.setattr(improvement, "MOST_BOXES", 10)
    samples = improvement_of(*parts)
    assert samples.samples == improvement.MOST_SAMPLES
    assert samples.covered == pytest.approx(grid.covered, rel=0.01)
    monkeypatch.setattr(improvement, "WORK", 4 * 20 * 1500)
    assert improvement_of(*parts).samples == 1024


@pytest.mark.parametrize(
    ("objectives", "points", "candidates", "samples"),
    [(5, 23, 200, 0), (6, 60, 200, 0), (5, 23, 4000, 0), (6, 60, 4000, 0), (10, 200, 4000, 2048)],
)
def test_work_is_bounded(
    monkeypatch: pytest.MonkeyPatch, objectives: int, points: int, candidates: int, samples: int
) -> None:
    """Array elements of one pass over boxes or samples, counted in place of computed."""
    elements: list[int] = []

    def over_boxes(boxes: Boxes, mean: Floats, deviation: Floats) -> Floats:
        elements.append(len(boxes.low) * mean.size)
        return np.zeros(len(mean))

    def sampled(
        front: Floats, reference: Floats, mean: Floats, deviation: Floats, samples: int
    ) -> tuple[Floats, float]:
        elements.append(samples * mean.size)
        return np.zeros(len(mean)), 1.0

    monkeypatch.setattr(improvement, "improvement_over_boxes", over_boxes)
    monkeypatch.setattr(improvement, "sampled_improvement", sampled)
    assert improvement_of(*problem(objectives, points, candidates)).samples == samples
    assert 0 < elements[0] <= improvement.WORK
