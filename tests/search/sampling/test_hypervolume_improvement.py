"""Expected improvement against brute force: hypervolume of sampled figures."""

import numpy as np
import pytest

from tunefront.search.front.pareto import hypervolume
from tunefront.search.sampling import hypervolume_improvement as improvement
from tunefront.search.sampling.hypervolume_improvement import expected_hypervolume_improvement

SAMPLES = 4000


@pytest.mark.parametrize("objectives", [1, 2, 3])
@pytest.mark.parametrize("points", [0, 1, 6])
def test_it_is_the_mean_gain_of_sampled_values(objectives: int, points: int) -> None:
    """Standard errors of the sampled means; 5 of them are passed in 1 of a million cases."""
    random = np.random.default_rng(10 * objectives + points)
    front = random.random((points, objectives))
    reference = np.full(objectives, 1.1)
    mean = random.uniform(0.1, 1.2, (4, objectives))
    deviation = random.uniform(0.05, 0.4, (4, objectives))
    found = expected_hypervolume_improvement(front, reference, mean, deviation)
    base = hypervolume(front, reference)
    for candidate in range(4):
        drawn = random.normal(mean[candidate], deviation[candidate], (SAMPLES, objectives))
        gains = [hypervolume(np.vstack([front, one]), reference) - base for one in drawn]
        error = np.std(gains) / np.sqrt(SAMPLES)
        assert abs(found[candidate] - np.mean(gains)) <= 5 * error + 1e-4


def test_what_is_certain_gains_what_it_adds() -> None:
    front = np.array([[0.2, 0.8], [0.6, 0.3]])
    reference = np.array([1.0, 1.0])
    mean = np.array([[0.1, 0.9], [0.4, 0.5], [0.7, 0.9], [2.0, 0.1]])
    found = expected_hypervolume_improvement(front, reference, mean, np.full((4, 2), 1e-9))
    assert found == pytest.approx([0.01, 0.06, 0.0, 0.0], abs=1e-6)


def test_points_beyond_the_reference_do_not_count() -> None:
    reference, mean, deviation = np.ones(2), np.array([[0.5, 0.5]]), np.full((1, 2), 0.1)
    alone = expected_hypervolume_improvement(np.zeros((0, 2)), reference, mean, deviation)
    beyond = expected_hypervolume_improvement(np.array([[0.1, 1.5]]), reference, mean, deviation)
    assert beyond == pytest.approx(alone)


def test_worked_off_in_parts_it_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    front, mean = random.random((9, 3)), random.random((50, 3))
    deviation, reference = np.full((50, 3), 0.2), np.full(3, 1.1)
    whole = expected_hypervolume_improvement(front, reference, mean, deviation)
    monkeypatch.setattr(improvement, "NUMBERS", 700)
    assert expected_hypervolume_improvement(front, reference, mean, deviation) == pytest.approx(
        whole
    )
