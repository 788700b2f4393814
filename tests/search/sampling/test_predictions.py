"""The default sampler keeps up with what ends, and begins anew where it must."""

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
def test_what_was_kept_up_is_what_begins_anew(
    record: Callable[..., list[Trial]], failing: Sequence[int]
) -> None:
    kept_up = sampler()
    kept_up.propose(record(KNOWN, failing))
    before = kept_up._kept
    for count in range(KNOWN + 1, KNOWN + 6):
        kept_up.propose(record(count, failing))
    assert before is kept_up._kept
    assert before is not None
    anew = sampler()
    anew._learnt = dict(kept_up._learnt)
    anew.propose(record(KNOWN + 5, failing))
    assert anew._kept is not None
    own = before.expected.places(anew._kept.expected.asked)
    for one, other in zip(before.expected.figures(), anew._kept.expected.figures(), strict=True):
        np.testing.assert_allclose(one[own], other, rtol=0.05)
    for told in ("keeping", "ending_well"):
        one, other = (getattr(kept.expected, told)() for kept in (before, anew._kept))
        np.testing.assert_allclose(one[own], other, atol=0.02)


def test_it_begins_anew_when_a_tenth_more_is_known(record: Callable[..., list[Trial]]) -> None:
    kept_up = sampler()
    kept_up.propose(record())
    before = kept_up._kept
    kept_up.propose(record(KNOWN + KNOWN // 10))
    assert kept_up._kept is before
    kept_up.propose(record(KNOWN + KNOWN // 10 + 1))
    assert kept_up._kept is not before


def test_the_first_failure_is_learnt_from(record: Callable[..., list[Trial]]) -> None:
    kept_up = sampler()
    kept_up.propose(record())
    before = kept_up._kept
    kept_up.propose(record(KNOWN + 1, failing=(KNOWN,)))
    assert kept_up._kept is not before
    assert kept_up._kept is not None
    assert kept_up._kept.expected.ending_well().min() < 0.9


def test_another_record_is_not_taken_for_the_same(record: Callable[..., list[Trial]]) -> None:
    kept_up = sampler()
    kept_up.propose(record())
    before = kept_up._kept
    kept_up.propose(record(KNOWN + 3)[3:])
    assert kept_up._kept is not before
