"""What a night's evaluations share, from the experiment."""

from collections.abc import Callable

import pytest

from tunefront.search import Experiment
from tunefront.search.experiment.evaluation_settings import settings_of

Load = Callable[..., Experiment]


def test_candidates_are_measured_next_to_the_experiments_baseline(load: Load) -> None:
    experiment = load("measurement.wait=7", "measurement.reference=false")
    settings = settings_of(experiment, "abc")
    assert settings.baseline == experiment.space.catalog.complete(experiment.baseline)
    assert settings.fingerprint == "abc"
    assert settings.protocol == experiment.protocol
    assert (settings.protocol.wait_s, settings.protocol.reference) == (7.0, False)


@pytest.mark.parametrize(
    ("overrides", "limit"),
    [
        ((), 5.0),
        (("limits.quality_drop='<= -1%'",), -1.0),
        (("limits={throughput: '>= 1'}",), None),
        (("limits={}",), None),
        (("measurement.early_stop=false",), None),
    ],
)
def test_a_limit_of_the_loss_ends_quality_evaluation_early(
    load: Load, overrides: tuple[str, ...], limit: float | None
) -> None:
    assert settings_of(load(*overrides), "abc").quality_limit == limit


@pytest.mark.parametrize(
    ("objective", "matters"),
    [
        ("throughput: maximize", False),
        ("perplexity: minimize", True),
        ("agreement: maximize", True),
        ("quality_drop: minimize", True),
    ],
)
def test_quality_matters_where_it_is_an_objective(
    load: Load, objective: str, matters: bool
) -> None:
    experiment = load(f"objectives={{{objective}}}")
    assert settings_of(experiment, "abc").quality_matters is matters
