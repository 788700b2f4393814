"""Trials of earlier searches: as configurations of this space, as observations, and believed."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from tunefront.evaluators import Measurement
from tunefront.search import Experiment, Trial
from tunefront.search.experiment.objective import Objective
from tunefront.search.sampling.ehvi import EhviSampler
from tunefront.search.sampling.history.observations import (
    SEARCH_CHOICE,
    EarlierSearches,
    EarlierTrial,
    earlier_searches,
)
from tunefront.search.sampling.history.records import (
    FEWEST_TRIALS,
    PastSearch,
    PastTrial,
    Subject,
)
from tunefront.spaces import Catalog, Choice, Configuration, Value

SUBJECT = Subject(task="text-embedding", module="Encoder", parameters=1, machine="m")
CHOICES = (
    Choice(name="width", values=tuple(range(10)), stage="model", default=0, ordered=True),
    Choice(name="kind", values=tuple("abcdefgh"), stage="model", default="a"),
)
ALL = [Configuration({"width": width, "kind": kind}) for width in range(10) for kind in "abcdefgh"]
OBJECTIVES = (
    Objective(metric="latency_ms", direction="minimize"),
    Objective(metric="memory_mb", direction="minimize"),
)


def figures(configuration: Mapping[str, Value]) -> dict[str, float]:
    """Narrow ones are small, kind g is fast."""
    width, kind = float(configuration["width"]), str(configuration["kind"])
    slow = 1.0 + abs("abcdefgh".index(kind) - 6)
    return {"latency_ms": 10.0 * slow + 20.0 / (1 + width), "memory_mb": 100.0 + 50 * width}


def measured(number: int, configuration: Configuration) -> Trial:
    return Trial(
        number=number,
        configuration=configuration,
        catalog=Catalog(()),
        status="ok",
        measurements={n: Measurement.exact(v, "") for n, v in figures(configuration).items()},
    )


def earlier(*, inverted: bool = False) -> EarlierSearches:
    """Every third configuration, as multiples of the first one."""
    base = figures(ALL[0])
    multiples = [{n: v / base[n] for n, v in figures(c).items()} for c in ALL[::3]]
    return EarlierSearches(
        distances=(0.1,),
        trials=tuple(
            EarlierTrial(
                configuration=Configuration({**configuration, SEARCH_CHOICE: 0}),
                multiples={n: 1 / v if inverted else v for n, v in of_one.items()},
                differences={},
            )
            for configuration, of_one in zip(ALL[::3], multiples, strict=True)
        ),
    )


def proposed(history: EarlierSearches, count: int) -> list[Configuration]:
    sampler = EhviSampler(CHOICES, ALL, OBJECTIVES, (), 0, history)
    trials = [measured(0, ALL[0])]
    for number in range(1, count + 1):
        proposal = sampler.propose(trials)
        assert proposal is not None
        trials.append(measured(number, proposal.configuration))
    return [trial.configuration for trial in trials[1:]]


def test_a_history_is_used_from_the_first_proposal() -> None:
    """The fastest kind, in different widths."""
    found = proposed(earlier(), 3)
    assert {configuration["kind"] for configuration in found} == {"g"}
    assert len({configuration["width"] for configuration in found}) == 3


def test_a_history_that_is_wrong_is_unlearnt() -> None:
    """Kind g is the worst one there; reasons name earlier searches only where they are used."""
    wrong = earlier(inverted=True)
    found = proposed(wrong, 20)
    assert "g" in {configuration["kind"] for configuration in found}
    trials = [measured(number, one) for number, one in enumerate([ALL[0], *found[:3]])]
    proposal = EhviSampler(CHOICES, ALL, OBJECTIVES, (), 0, wrong).propose(trials)
    assert proposal is not None
    assert "earlier searches" not in proposal.reason


def test_the_reason_names_the_earlier_trials() -> None:
    sampler = EhviSampler(CHOICES, ALL, OBJECTIVES, (), 0, earlier())
    proposal = sampler.propose([measured(0, ALL[0])])
    assert proposal is not None
    assert proposal.reason.endswith("; from 27 trials of earlier searches, too")


def test_trials_without_a_metric_say_nothing() -> None:
    baseline = measured(0, ALL[0])
    (limited,) = (Objective(metric="energy_j", direction="minimize"),)
    assert earlier().observed(baseline, OBJECTIVES, ())
    assert earlier().observed(baseline, (*OBJECTIVES, limited), ()) == []


def test_observations_are_multiples_of_this_baseline() -> None:
    baseline = measured(0, ALL[40])
    first, *_ = earlier().observed(baseline, OBJECTIVES, ())
    assert first.value("memory_mb") == pytest.approx(baseline.value("memory_mb"))
    assert first.configuration[SEARCH_CHOICE] == 0


def test_distances_between_searches_are_ultrametric() -> None:
    table = EarlierSearches(distances=(0.1, 0.4)).table
    assert table.tolist() == [[0.0, 0.4, 0.1], [0.4, 0.0, 0.4], [0.1, 0.4, 0.0]]
    assert np.linalg.eigvalsh(np.exp(-3 * table)).min() > 0


def test_values_of_earlier_trials_are_in_their_places() -> None:
    trial = EarlierTrial(
        configuration=Configuration({"width": 4.5, "kind": "z", SEARCH_CHOICE: 0}),
        multiples={},
        differences={},
    )
    width, kind, search = EarlierSearches(distances=(0.1,), trials=(trial,)).extended(CHOICES)
    assert width.values == (0, 1, 2, 3, 4, 4.5, 5, 6, 7, 8, 9)
    assert kind.values == CHOICES[1].values
    assert (search.name, search.values) == (SEARCH_CHOICE, (0,))
    assert EarlierSearches().extended(CHOICES) == CHOICES


def test_only_what_is_fixed_alike_is_comparable(load: Callable[..., Experiment]) -> None:
    experiment = load("space.threads=[1, 2, 3, 4]")
    complete = experiment.space.catalog.complete(experiment.baseline)

    def past_trial(threads: int, **values: Value) -> PastTrial:
        return PastTrial(
            values={**complete, "declared": 1, "threads": threads, **values},
            multiples={"throughput": threads},
            differences={},
        )

    def found(*trials: PastTrial) -> EarlierSearches:
        past = PastSearch(
            name="other",
            folder="/other",
            subject=SUBJECT,
            baseline={**complete, "declared": 1},
            trials=trials,
        )
        return earlier_searches([past], SUBJECT, experiment.space, experiment.baseline)

    alike = [past_trial(threads) for threads in range(1, 1 + FEWEST_TRIALS)]
    others = [past_trial(2, declared=2), past_trial(3, device="cuda")]
    used = found(*alike, *others)
    assert [t.configuration["threads"] for t in used.trials] == [1, 2, 3, 4]
    assert [t.multiples for t in used.trials] == [t.multiples for t in alike]
    assert used.distances == (0.1,)
    assert found(*alike[1:], *others).trials == ()
