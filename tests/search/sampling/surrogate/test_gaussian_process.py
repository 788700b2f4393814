"""The process: gradients, what it learns, how sure it is."""

import numpy as np
import numpy.typing as npt
import pytest
import scipy.optimize

from tunefront.search.sampling.surrogate import gaussian_process as process
from tunefront.search.sampling.surrogate.encoding import encode
from tunefront.search.sampling.surrogate.gaussian_process import fit
from tunefront.spaces import Choice, Configuration

CHOICES = (
    Choice(name="width", values=tuple(range(8)), stage="model", default=0, ordered=True),
    Choice(name="kind", values=("a", "b", "c"), stage="model", default="a"),
    Choice(name="idle", values=(0, 1, 2), stage="model", default=0, ordered=True),
)
ALL = [
    Configuration({"width": width, "kind": kind, "idle": idle})
    for width in range(8)
    for kind in "abc"
    for idle in range(3)
]
OF_KIND = {"a": 0.0, "b": 25.0, "c": -40.0}
VALUES = np.array([10.0 * float(c["width"]) + OF_KIND[str(c["kind"])] for c in ALL])


def test_distances_are_ranks_or_equality() -> None:
    features = encode([*ALL[:1], *ALL[-1:], Configuration({"kind": "a"})], CHOICES)
    rows = np.arange(3)
    width, kind, idle = features.distances(rows, rows)
    assert width.tolist() == [[0, 1, 1], [1, 0, 1], [1, 1, 0]]
    assert kind.tolist() == [[0, 1, 0], [1, 0, 1], [0, 1, 0]]
    assert idle.tolist() == [[0, 1, 1], [1, 0, 1], [1, 1, 0]]
    neighbours = encode([ALL[0], ALL[9]], CHOICES).distances(np.array([0]), np.array([1]))
    assert neighbours[:, 0, 0] == pytest.approx([1 / 7, 0, 0])


def test_the_gradient_is_that_of_the_loss() -> None:
    random = np.random.default_rng(1)
    rows = random.permutation(len(ALL))[:15]
    distances = encode(ALL, CHOICES).distances(rows, rows)
    values, own = random.normal(size=15), random.uniform(0, 0.1, 15)
    for searches in (False, True, False, True):
        parameters = random.normal(size=6)

        def loss(at: npt.NDArray[np.float64], searches: bool = searches) -> float:
            return process._loss(at, distances, values, own, searches)[0]

        numeric = scipy.optimize.approx_fprime(parameters, loss, 1e-6)
        exact = process._loss(parameters, distances, values, own, searches)[1]
        assert exact == pytest.approx(numeric, rel=1e-3, abs=1e-3)


def test_it_learns_which_choices_matter() -> None:
    """From 30 of 72 values; the others are predicted within a tenth of their deviation."""
    random = np.random.default_rng(2)
    order = random.permutation(len(ALL))
    seen, others = order[:30], order[30:]
    features = encode(ALL, CHOICES)
    fitted = fit(features.distances(seen, seen), VALUES[seen], np.zeros(30))
    mean, deviation = fitted.predict(features.distances(seen, others))
    assert np.sqrt(np.mean((mean - VALUES[others]) ** 2)) < 0.1 * VALUES.std()
    assert fitted.parameters[2] < min(fitted.parameters[:2])
    away = np.abs(mean - VALUES[others]) / deviation
    assert np.mean(away < 3) > 0.9


def test_what_was_seen_is_known_and_noise_is_not_believed() -> None:
    seen = np.arange(0, 72, 3)
    features = encode(ALL, CHOICES)
    between = features.distances(seen, seen)
    sure = fit(between, VALUES[seen], np.zeros(len(seen)))
    mean, deviation = sure.predict(between)
    assert mean == pytest.approx(VALUES[seen], abs=0.1 * VALUES.std())
    assert deviation.max() < 0.2 * VALUES.std()
    noisy = fit(between, VALUES[seen], np.full(len(seen), VALUES.var()), sure.parameters, False)
    assert noisy.predict(between)[1].min() > deviation.max()


def test_values_that_are_all_the_same_are_survived() -> None:
    rows = np.arange(5)
    distances = encode(ALL, CHOICES).distances(rows, rows)
    mean, _ = fit(distances, np.full(5, 3.0), np.zeros(5)).predict(distances)
    assert mean == pytest.approx(np.full(5, 3.0))
