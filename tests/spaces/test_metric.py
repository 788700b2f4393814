"""Metrics by what they say of themselves."""

import pytest

from tunefront.spaces.metric import (
    Metric,
    MetricKind,
    at_level,
    first_of_kind,
    reference_rate,
)

PLAIN = Metric(name="score", unit="", direction="maximize", summary="what a user's function says")
RATE = Metric(
    name="pages_per_second",
    unit="pages/s",
    direction="maximize",
    summary="pages in a second",
    kind="speed",
    follows="rate",
    reference_rate=True,
)


def test_a_metric_is_one_of_quality_with_an_interval_of_its_own_unless_it_says_otherwise() -> None:
    assert (PLAIN.kind, PLAIN.follows, PLAIN.occupies) == ("quality", "none", "none")
    assert not (PLAIN.single_reading or PLAIN.reference_rate or PLAIN.timed)


@pytest.mark.parametrize(
    ("kind", "timed"),
    [
        ("speed", True),
        ("energy", True),
        ("cost", True),
        ("memory", False),
        ("quality", False),
        ("training", False),
    ],
)
def test_further_turns_change_what_is_computed_from_timed_requests(
    kind: MetricKind, timed: bool
) -> None:
    metric = Metric(name="m", unit="", direction="minimize", summary="", kind=kind)
    assert metric.timed is timed


def test_parts_are_found_by_property() -> None:
    assert reference_rate([PLAIN, RATE]) is RATE
    assert reference_rate([PLAIN]) is None
    assert first_of_kind([RATE, PLAIN], "quality") is PLAIN
    assert first_of_kind([RATE, PLAIN], "memory") is None


def test_a_metric_at_a_load_level_is_named_by_it() -> None:
    found = at_level(RATE, "2.5")
    assert (found.name, found.level, found.plain_name) == (f"{RATE.name}@2.5", "2.5", RATE.name)
    assert found.summary == f"{RATE.summary}, at load 2.5"
    assert found.reference_rate
    assert at_level(RATE, "") is RATE
    assert RATE.plain_name == RATE.name


def test_the_reference_rate_of_several_levels_is_that_of_the_highest_one() -> None:
    rates = [at_level(RATE, level) for level in ("16", "4", "2.5")]
    assert reference_rate([PLAIN, *rates]) is rates[0]
    assert reference_rate([PLAIN, *rates], "4") is rates[1]
    assert reference_rate(rates, "8") is None
