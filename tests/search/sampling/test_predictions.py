"""The prediction cache of the default sampler: incremental updates and refits."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from tunefront.search import Trial
from tunefront.search.experiment.objective import Limit, Objective
from tunefront.search.sampling.ehvi import EhviSampler
from tunefront.spaces import Choice, Configuration

TrialOf = Callable[..., Trial]
CHOICES = (
    Choice(
        name="batch_size",
        values=tuple(range(1, 41)),
        stage="execution",
        default=1,
        ordered=True,
        log=True,
    ),
    Choice(name="threads", values=(1, 2, 4, 8), stage="execution", default=1, ordered=True),
)
LISTED = [
    Configuration({"batch_size": b, "threads": t}) for b in range(1, 41) for t in (1, 2, 4, 8)
]
OBJECTIVES = (
    Objective(metric="throughput", direction="maximize", kind="speed"),
    Objective(metric="peak_memory_mb", direction="minimize", kind="memory"),
)
LIMITS = (Limit(metric="quality_drop", test="<=", bound=5.0),)
KNOWN = 100


@pytest.fixture
def record(trial: TrialOf) -> Callable[..., list[Trial]]:
    """So many trials in a fixed order, of which those with these numbers fail."""
    order = np.random.default_rng(5).permutation(len(LISTED))

    def one(number: int, failing: Sequence[int]) -> Trial:
        configuration = LISTED[int(order[number])]
        batch, threads = (float(configuration[name]) for name in ("batch_size", "threads"))
        if number in failing:
            return trial(number, configuration, "failed")
        figures = {
            "throughput": 20 * threads**0.7 * (1 + np.log(batch)),
            "peak_memory_mb": 200 + batch + 20 * threads,
            "quality_drop": batch / 10,
        }
        return trial(number, configuration, "ok", **figures)

    def make(count: int = KNOWN, failing: Sequence[int] = ()) -> list[Trial]:
        return [one(number, failing) for number in range(count)]

    return make


def sampler() -> EhviSampler:
    return EhviSampler(CHOICES, LISTED, OBJECTIVES, LIMITS, seed=0)


@pytest.mark.parametrize("failing", [(), (3, 40, 41, 102)], ids=["fine", "with failures"])
def test_incremental_updates_equal_a_refit(
    record: Callable[..., list[Trial]], failing: Sequence[int]
) -> None:
    updated = sampler()
    updated.propose(record(KNOWN, failing))
    before = updated._cache
    for count in range(KNOWN + 1, KNOWN + 6):
        updated.propose(record(count, failing))
    assert before is updated._cache
    assert before is not None
    refitted = sampler()
    refitted._parameters = dict(updated._parameters)
    refitted.propose(record(KNOWN + 5, failing))
    assert refitted._cache is not None
    own = before.predictions.indices_of(refitted._cache.predictions.predicted)
    for one, other in zip(
        before.predictions.targets(), refitted._cache.predictions.targets(), strict=True
    ):
        np.testing.assert_allclose(one[own], other, rtol=0.05)
    for name in ("feasibility", "success"):
        one, other = (getattr(cache.predictions, name)() for cache in (before, refitted._cache))
        np.testing.assert_allclose(one[own], other, atol=0.02)


def test_it_refits_after_a_tenth_more_trials(record: Callable[..., list[Trial]]) -> None:
    updated = sampler()
    updated.propose(record())
    before = updated._cache
    updated.propose(record(KNOWN + KNOWN // 10))
    assert updated._cache is before
    updated.propose(record(KNOWN + KNOWN // 10 + 1))
    assert updated._cache is not before


def test_the_first_failure_is_learnt_from(record: Callable[..., list[Trial]]) -> None:
    updated = sampler()
    updated.propose(record())
    before = updated._cache
    updated.propose(record(KNOWN + 1, failing=(KNOWN,)))
    assert updated._cache is not before
    assert updated._cache is not None
    assert updated._cache.predictions.success().min() < 0.9


def test_another_record_is_not_updated(record: Callable[..., list[Trial]]) -> None:
    updated = sampler()
    updated.propose(record())
    before = updated._cache
    updated.propose(record(KNOWN + 3)[3:])
    assert updated._cache is not before
