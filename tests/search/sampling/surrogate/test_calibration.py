"""How often values lay in the intervals expected of them: in words, and over whole searches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pytest

from tunefront.evaluators import Measurement
from tunefront.search import Experiment, Trial
from tunefront.search.experiment.objective import Objective
from tunefront.search.front.pareto import hypervolume
from tunefront.search.sampling.ehvi import EhviSampler
from tunefront.search.sampling.surrogate.calibration import Calibration, prediction_calibration
from tunefront.spaces import Catalog, Choice, Configuration

CHOICES = (
    Choice(name="width", values=tuple(range(8)), stage="model", default=0, ordered=True),
    Choice(name="kind", values=tuple("abcde"), stage="model", default="a"),
    Choice(name="threads", values=(1, 2, 4), stage="execution", default=1, ordered=True),
)
ALL = [
    Configuration({"width": width, "kind": kind, "threads": threads})
    for width in range(8)
    for kind in "abcde"
    for threads in (1, 2, 4)
]
OBJECTIVES = (
    Objective(metric="latency_ms", direction="minimize"),
    Objective(metric="memory_mb", direction="minimize"),
)


@dataclass(frozen=True, kw_only=True)
class MadeUpSearch:
    """A search on random effects of choices, interactions of a fifth of them, and 2 % noise.

    Attributes:
        trials: Its trials.
        gains: Expected gain of each proposal; infinite without a prediction.
        costs: True logarithms of all configurations' metrics, `(configurations, objectives)`.
    """

    trials: list[Trial]
    gains: list[float]
    costs: npt.NDArray[np.float64]


def searched(seed: int, count: int) -> MadeUpSearch:
    draw = np.random.default_rng(seed)
    costs = 0.2 * draw.normal(size=(len(ALL), len(OBJECTIVES)))
    for choice in CHOICES:
        effects = draw.normal(size=(len(choice.values), len(OBJECTIVES)))
        costs += effects[[choice.values.index(one[choice.name]) for one in ALL]]
    sampler = EhviSampler(CHOICES, ALL, OBJECTIVES, (), seed)
    trials: list[Trial] = []
    gains: list[float] = []
    for number in range(count):
        proposal = sampler.propose(trials)
        assert proposal is not None
        gains.append(np.inf if proposal.expected_gain is None else proposal.expected_gain)
        found = np.exp(costs[ALL.index(proposal.configuration)] + 0.02 * draw.normal(size=2))
        measurements = {
            objective.metric: Measurement(
                value=value, unit="", low=0.96 * value, high=1.04 * value, samples=1
            )
            for objective, value in zip(OBJECTIVES, found.tolist(), strict=True)
        }
        trials.append(
            Trial(
                number=number,
                configuration=proposal.configuration,
                catalog=Catalog(()),
                status="ok",
                measurements=measurements,
                expected=proposal.expected,
            )
        )
    return MadeUpSearch(trials=trials, gains=gains, costs=costs)


@pytest.fixture(scope="module")
def searches() -> list[MadeUpSearch]:
    return [searched(seed, 40) for seed in range(6)]


def test_a_search_that_ends_by_least_gain_has_found_the_front(
    searches: Sequence[MadeUpSearch],
) -> None:
    """With `least_gain` 0.3 % at most 2 % of the hypervolume is missing before the 40th trial."""
    shares, ends = [], []
    for search in searches:
        low = [all(gain < 0.003 for gain in search.gains[n - 3 : n]) for n in range(3, 41)]
        end = low.index(True) + 2 if True in low else 40
        costs = search.costs - search.costs.min(axis=0)
        reference = costs.max(axis=0)
        tried = [ALL.index(trial.configuration) for trial in search.trials[:end]]
        shares.append(hypervolume(costs[tried], reference) / hypervolume(costs, reference))
        ends.append(end)
    assert min(shares) > 0.98
    assert np.mean(ends) < 40


def test_between_80_and_97_percent_lie_within_over_six_searches(
    searches: Sequence[MadeUpSearch],
) -> None:
    found = [prediction_calibration(search.trials) for search in searches]
    inside = sum(one.inside for one in found if one is not None)
    values = sum(one.values for one in found if one is not None)
    assert values == 6 * 36 * 2
    assert 0.80 <= inside / values <= 0.97


def test_only_measured_trials_with_a_prediction_count(
    load: Callable[..., Experiment], trial: Callable[..., Trial]
) -> None:
    expected = {"throughput": (90.0, 140.0)}
    configuration = load().baseline
    plain = trial(0, configuration, throughput=100.0)
    inside = replace(trial(1, configuration, throughput=100.0), expected=expected)
    outside = replace(trial(2, configuration, throughput=150.0), expected=expected)
    failed = replace(trial(3, configuration, "failed"), expected=expected)
    assert prediction_calibration([plain, failed]) is None
    assert prediction_calibration([plain, inside, outside, failed]) == Calibration(
        inside=1, values=2
    )
    assert str(Calibration(inside=34, values=40)) == (
        "34 of 40 values lay within the 90 % interval expected of them"
    )
