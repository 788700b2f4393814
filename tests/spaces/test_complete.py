"""Completed configurations, over all of small random spaces."""

from collections.abc import Callable
from itertools import combinations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunefront.evaluators import builtin_catalog
from tunefront.spaces import (
    STAGES,
    Configuration,
    Context,
    SearchSpace,
    SpaceError,
    Value,
    build_space,
)

CATALOG = builtin_catalog()
CHOICES = CATALOG.kinds
complete, check_complete = CATALOG.complete, CATALOG.check_complete
LISTED: dict[str, list[Value]] = {
    "pruning_ratio": [0.0, 0.25, 0.5],
    "pruning_method": ["heads", "ffn-channels", "magnitude"],
    "runtime": ["torch", "onnxruntime", "openvino"],
    "precision": ["fp32", "bf16"],
    "batch_size": [1, 8],
    "threads": [2, 4],
    "replicas": [1, 2],
}
"""Of every choice its default, or not."""


@st.composite
def spaces(draw: st.DrawFn, context: Context) -> SearchSpace:
    """Up to four choices, some of them only while the runtime is another's."""
    names = draw(st.lists(st.sampled_from(sorted(LISTED)), min_size=1, max_size=4, unique=True))
    written: dict[str, object] = {}
    for name in names:
        values = draw(st.lists(st.sampled_from(LISTED[name]), min_size=1, unique=True))
        hidden = name != "runtime" and draw(st.booleans())
        written[name] = {"values": values, "when": {"runtime": "openvino"}} if hidden else values
    rules = draw(st.sampled_from([None, ()]))
    built = build_space(written, context, CATALOG)
    return SearchSpace(choices=built.choices, context=context, catalog=CATALOG, rules=rules)


@given(st.data())
def test_a_completed_configuration_keeps_what_is_chosen_and_has_defaults_elsewhere(
    context: Callable[..., Context], data: st.DataObject
) -> None:
    runnable = data.draw(spaces(context())).enumerate().runnable
    for configuration in runnable:
        found = complete(configuration)
        assert list(found) == list(CHOICES)
        for name, kind in CHOICES.items():
            assert found[name] == configuration.get(name, kind.default)


@given(st.data())
def test_completing_again_changes_nothing(
    context: Callable[..., Context], data: st.DataObject
) -> None:
    for configuration in data.draw(spaces(context())).enumerate().runnable:
        found = complete(configuration)
        assert complete(found) == found
        check_complete(found)


@given(st.data())
def test_configurations_of_a_space_stay_different(
    context: Callable[..., Context], data: st.DataObject
) -> None:
    runnable = data.draw(spaces(context())).enumerate().runnable
    assert len({complete(configuration) for configuration in runnable}) == len(runnable)


def test_what_a_stage_depends_on_is_the_same_however_much_was_written() -> None:
    """Of the 2^n subsets of choices that can be written, the small, the large and some others."""
    few = [set(some) for size in (0, 1, 2) for some in combinations(CHOICES, size)]
    random = Random(0)
    others = [set(random.sample(list(CHOICES), random.randrange(len(CHOICES)))) for _ in range(100)]
    for named in (*few, *(set(CHOICES) - some for some in few), *others):
        chosen = {name: kind.default for name, kind in CHOICES.items() if name in named}
        for stage in STAGES:
            wanted = {
                name
                for name in CHOICES
                if STAGES.index(CATALOG.stages[name]) <= STAGES.index(stage)
            }
            found = complete(chosen).up_to(stage, CATALOG.stages)
            assert found == complete({}).up_to(stage, CATALOG.stages)
            assert set(found) == wanted


def test_an_inactive_choice_has_its_default_whatever_is_given() -> None:
    given_anyway = complete({"pruning_ratio": 0.0, "pruning_method": "heads"})
    assert given_anyway == complete({}) == complete({"pruning_ratio": 0})
    active = complete({"pruning_ratio": 0.5, "pruning_method": "heads"})
    assert active["pruning_method"] == "heads"


def test_the_catalogue_lists_a_choice_after_those_that_its_conditions_name() -> None:
    names = list(CHOICES)
    for name, kind in CHOICES.items():
        assert all(names.index(one.choice) < names.index(name) for one in kind.when)


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(SpaceError, match=r"^unknown choice 'thread'; did you mean 'threads'\?$"):
        complete({"thread": 2})


@pytest.mark.parametrize("name", CHOICES)
def test_a_configuration_that_is_not_complete_is_refused(name: str) -> None:
    values = {other: value for other, value in complete({}).items() if other != name}
    with pytest.raises(SpaceError) as caught:
        check_complete(Configuration(values))
    assert str(caught.value) == (
        f"{name}: every choice must have a value here, but the configuration "
        f"[{Configuration(values).label()}] has none; `Catalog.complete` fills in defaults"
    )
