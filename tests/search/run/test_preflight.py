"""What a night's evaluations share, from the experiment."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tunefront.search import Experiment
from tunefront.search.experiment.evaluation_settings import settings_of

BATCH_OF_ONE = "baseline.batch_size=1"
Load = Callable[..., Experiment]


def test_candidates_are_measured_next_to_the_experiments_baseline(load: Load) -> None:
    experiment = load("measurement.wait=7", "measurement.reference=false")
    settings = settings_of(experiment, "abc")
    assert settings.baseline == experiment.space.catalog.complete(experiment.baseline)
    assert settings.fingerprint == "abc"
    assert replace(settings.protocol, part_items=8) == experiment.protocol
    assert (settings.protocol.wait_s, settings.protocol.reference) == (7.0, False)


@pytest.mark.parametrize(
    ("sizes", "items"),
    [("[1]", 8), ("[1, 4, 32]", 32), ("[3, 4]", 12), ("[5]", 10), ("[1, 31, 37]", 37)],
)
def test_a_turn_has_items_for_every_batch_size(load: Load, sizes: str, items: int) -> None:
    protocol = settings_of(load(f"space.batch_size={sizes}", BATCH_OF_ONE), "abc").protocol
    assert (protocol.requests, protocol.part_items, protocol.percentile) == (4, items, 0.0)


@pytest.mark.parametrize(
    ("override", "parts", "items", "needed"),
    [
        ("limits.latency_p90_ms='<= 50'", 16, 3 * 8, 36),
        ("objectives.latency_p99_ms=minimize", 16, 23 * 8, 368),
    ],
)
def test_a_percentile_that_decides_takes_more_requests(
    load: Load, override: str, parts: int, items: int, needed: int
) -> None:
    protocol = settings_of(load("space.batch_size=[1, 8]", override), "abc").protocol
    found = (protocol.requests, protocol.part_items, protocol.requests_needed)
    assert found == (parts, items, needed)


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
    ("overrides", "matters", "limit"),
    [
        (("objectives={throughput: maximize}",), False, 5.0),
        (("objectives={perplexity: minimize}",), True, 5.0),
        (("objectives={quality_drop: minimize}",), True, 5.0),
        (("limits.perplexity='<= 30'",), True, 5.0),
        (("prefer=perplexity",), True, 5.0),
        (("objectives={agreement: maximize}",), True, None),
        (("limits.agreement='>= 0.9'",), True, None),
        (("prefer=agreement",), True, None),
    ],
)
def test_quality_that_decides_is_evaluated_on_all_items(
    load: Load, overrides: tuple[str, ...], matters: bool, limit: float | None
) -> None:
    """No early end by keeping if the primary metric decides, none at all if another one does."""
    settings = settings_of(load(*overrides), "abc")
    assert settings.quality_matters is matters
    assert settings.quality_limit == limit
