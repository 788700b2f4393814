"""A prediction that is kept up says what one that is begun anew says."""

import numpy as np
import numpy.typing as npt
import pytest

from tunefront.search.sampling.surrogate.gaussian_process import fit
from tunefront.search.sampling.surrogate.incremental import Prediction

Floats = npt.NDArray[np.float64]


def distances(points: Floats, others: Floats) -> Floats:
    found: Floats = np.abs(points[:, None, :] - others[None, :, :]).transpose(2, 0, 1)
    return found


@pytest.mark.parametrize("noisy", [False, True])
def test_an_added_value_gives_the_predictions_of_a_refit(noisy: bool) -> None:
    random = np.random.default_rng(3)
    points, asked = random.random((30, 2)), random.random((50, 2))
    values = 100 + 10 * points[:, 0] - 3 * points[:, 1] ** 2
    noise = random.uniform(0, 0.5, 30) if noisy else np.zeros(30)
    whole = distances(points, points)
    learnt = fit(whole[:, :20, :20], values[:20], noise[:20])
    kept = Prediction(learnt, distances(points[:20], asked), room=10)
    np.testing.assert_allclose(kept.posterior(), learnt.predict(distances(points[:20], asked)))
    for n in range(20, 30):
        across = distances(points[n : n + 1], asked)[:, 0]
        kept.add(values[n], noise[n], whole[:, :n, n], across)
    # Anew with the same parameters and the same standardisation: solved by hand.
    own = np.array([learnt.own_noise(one) for one in noise])
    covariance = learnt.kernel(whole) + np.diag(own)
    cross = learnt.kernel(distances(points, asked))
    solved = np.linalg.solve(covariance, cross)
    mean, deviation = kept.posterior()
    assert mean == pytest.approx(learnt.mean + solved.T @ (values - learnt.mean))
    variance = learnt.signal - np.einsum("ij,ij->j", cross, solved)
    assert deviation == pytest.approx(learnt.scale * np.sqrt(variance), rel=1e-4)


def test_there_is_no_more_room_than_was_made() -> None:
    points = np.linspace(0, 1, 5)[:, None]
    whole = distances(points, points)
    learnt = fit(whole[:, :4, :4], np.arange(4.0), np.zeros(4))
    kept = Prediction(learnt, whole[:, :4], room=0)
    with pytest.raises(IndexError):
        kept.add(4.0, 0.0, whole[:, :4, 4], whole[:, 4])
