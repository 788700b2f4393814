"""How often values lay in the intervals expected of them: in words, and over whole searches."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tunefront.evaluators import Measurement
from tunefront.search import Experiment, Trial
from tunefront.search.experiment.objective import Objective
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


def searched(seed: int, count: int) -> list[Trial]:
    """A search on random effects of choices, interactions of a fifth of them, and 2 % noise."""
    draw = np.random.default_rng(seed)
    effects = [[draw.normal(size=len(choice.values)) for choice in CHOICES] for _ in OBJECTIVES]
    rough = 0.2 * draw.normal(size=(len(OBJECTIVES), len(ALL)))
    sampler = EhviSampler(CHOICES, ALL, OBJECTIVES, (), seed)
    trials: list[Trial] = []
    for number in range(count):
        proposal = sampler.propose(trials)
        assert proposal is not None
        row = ALL.index(proposal.configuration)
        places = [c.values.index(proposal.configuration[c.name]) for c in CHOICES]
        measurements = {}
        for which, objective in enumerate(OBJECTIVES):
            own = sum(float(effects[which][j][place]) for j, place in enumerate(places))
            value = float(np.exp(own + rough[which, row] + 0.02 * draw.normal()))
            measurements[objective.metric] = Measurement(
                value=value, unit="", low=0.96 * value, high=1.04 * value, samples=1
            )
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
    return trials


def test_between_80_and_97_percent_lie_within_over_six_searches() -> None:
    found = [prediction_calibration(searched(seed, 30)) for seed in range(6)]
    inside = sum(one.inside for one in found if one is not None)
    values = sum(one.values for one in found if one is not None)
    assert values == 6 * 26 * 2
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
