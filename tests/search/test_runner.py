"""When a search ends, without Ray: budgets, and proposals that promise too little."""

from collections.abc import Callable, Collection, Sequence

import pytest

from tunefront.evaluators import Evaluation, Setting
from tunefront.search import Experiment, Trial
from tunefront.search.runner import PATIENCE, Runner
from tunefront.search.samplers import Sampler
from tunefront.search.study import Study
from tunefront.spaces import Configuration


class Promising(Sampler):
    """Proposes the list in order, and promises what it is told to."""

    def __init__(self, listed: Sequence[Configuration], gains: Sequence[float | None]) -> None:
        self._left = list(listed)
        self._gains = list(gains)
        self._last: float | None = None

    def propose(
        self, trials: Sequence[Trial], skipped: Collection[Configuration] = ()
    ) -> Configuration | None:
        self._last = self._gains.pop(0) if self._gains else None
        return self._left.pop(0) if self._left else None

    def gain(self) -> float | None:
        return self._last


@pytest.fixture
def jobs(
    load: Callable[..., Experiment], evaluation: Callable[..., Evaluation]
) -> Callable[[Sequence[float | None], float | None], int]:
    """How many trials after the baseline are started, with these promises and this threshold."""

    def count(gains: Sequence[float | None], least_gain: float | None) -> int:
        experiment = load()
        study = Study.open(experiment, {"test": "yes"})
        listed = [c for c in experiment.space.enumerate().runnable if c != experiment.baseline]
        runner = Runner(
            study,
            Promising(listed, gains),
            listed,
            Setting(workload=experiment.workload, fingerprint="f", store="unused"),
            concurrent=1,
            trials=8,
            seconds=None,
            least_gain=least_gain,
            on_trial=lambda trial: None,
        )
        started = 0
        while (job := runner.next_job()) is not None:
            study.tell(job.number, evaluation())
            started += 1
        assert runner.enough() == (started - 1 < 7)
        return started - 1

    return count


@pytest.mark.parametrize(
    ("gains", "least_gain", "started"),
    [
        ([0.5, 0.1, 0.001, 0.001, 0.001, 0.001], 0.01, 4),
        ([0.5, 0.001, 0.001, 0.1, 0.001, 0.001, 0.001], 0.01, 6),
        ([None, None, 0.001, 0.001, None, 0.001, 0.001], 0.01, 7),
        ([0.001] * 8, None, 7),
        ([0.02] * 8, 0.01, 7),
    ],
)
def test_a_search_ends_when_proposals_promise_too_little_several_times_in_a_row(
    jobs: Callable[[Sequence[float | None], float | None], int],
    gains: Sequence[float | None],
    least_gain: float | None,
    started: int,
) -> None:
    assert PATIENCE == 3
    assert jobs(gains, least_gain) == started
