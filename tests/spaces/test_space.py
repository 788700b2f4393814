"""The space: enumeration against a product and a filter, completion, conditions, refusals."""

import tracemalloc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import product

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tunefront.evaluators import builtin_catalog
from tunefront.spaces import (
    STAGES,
    Choice,
    Condition,
    Configuration,
    Context,
    Enumeration,
    Rule,
    SearchSpace,
    SpaceError,
    Stage,
    Value,
    build_space,
)
from tunefront.spaces.enumeration import RunnableConfigurations

ContextOf = Callable[..., Context]
CATALOG = builtin_catalog()
NAMES = ("a", "b", "c", "d", "e")


def plain(name: str, *values: Value, when: tuple[Condition, ...] = ()) -> Choice:
    return Choice(name=name, values=values, stage="execution", default=values[0], when=when)


def only(choice: str, *operands: Value) -> Condition:
    return Condition(choice=choice, test="==", operands=operands)


@st.composite
def small_spaces(draw: st.DrawFn, context: Context) -> SearchSpace:
    """Up to five choices in any order; conditions look at choices earlier in the alphabet."""
    names = NAMES[: draw(st.integers(1, len(NAMES)))]
    choices: list[Choice] = []
    for place, name in enumerate(names):
        values = tuple(range(draw(st.integers(1, 3))))
        parents = draw(st.lists(st.sampled_from(names[:place]), max_size=2)) if place else []
        when = tuple(only(parent, *draw(_subsets(3, least=1))) for parent in parents)
        default = draw(st.integers(0, 3))
        stage: Stage = draw(st.sampled_from(STAGES))
        choices.append(replace(plain(name, *values, when=when), default=default, stage=stage))
    rules = draw(st.lists(_rules(names), max_size=3))
    return SearchSpace(
        choices=tuple(draw(st.permutations(choices))),
        context=context,
        catalog=CATALOG,
        rules=tuple(rules),
    )


def _subsets(size: int, least: int = 0) -> st.SearchStrategy[tuple[int, ...]]:
    numbers = st.lists(st.integers(0, size - 1), min_size=least, unique=True)
    return numbers.map(tuple)


def _rules(names: tuple[str, ...]) -> st.SearchStrategy[Rule]:
    """A rule that speaks where the values of one or two choices add up to some number."""

    def make(looked_at: list[str], forbidden: int) -> Rule:
        def reason(_: Context, *values: int) -> str | None:
            return f"adds up to {forbidden}" if sum(values) == forbidden else None

        return Rule(name="sum", choices=tuple(looked_at), reason=reason)

    looked_at = st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True)
    return st.builds(make, looked_at, st.integers(0, 4))


def every_configuration(space: SearchSpace) -> set[Configuration]:
    """The product of all values, with what is inactive under each point left out."""
    by_name = {choice.name: choice for choice in space.choices}
    defaults = space.defaults()

    def value(name: str, point: Mapping[str, Value]) -> Value:
        return point[name] if name in by_name and active(name, point) else defaults[name]

    def active(name: str, point: Mapping[str, Value]) -> bool:
        return all(c.holds(value(c.choice, point)) for c in by_name[name].when)

    points = product(*(choice.values for choice in space.choices))
    found: set[Configuration] = set()
    for values in points:
        point = dict(zip(by_name, values, strict=True))
        found.add(Configuration({n: v for n, v in point.items() if active(n, point)}))
    return found


def agrees_with_brute_force(space: SearchSpace, found: Enumeration) -> None:
    everything = every_configuration(space)
    can_run = {one for one in everything if space.obstacle(one) is None}
    assert len(found.runnable) == len(set(found.runnable))
    assert set(found.runnable) == can_run
    assert found.total == len(everything)
    assert sum(drop.count for drop in found.dropped) == len(everything) - len(can_run)


@given(st.data())
def test_small_spaces_are_listed_as_brute_force_lists_them(
    context: ContextOf, data: st.DataObject
) -> None:
    space = data.draw(small_spaces(context()))
    agrees_with_brute_force(space, space.enumerate())


@given(st.data())
def test_what_is_built_when_it_is_read_is_what_is_listed(
    context: ContextOf, data: st.DataObject
) -> None:
    space = data.draw(small_spaces(context()))
    listed = list(space.enumerate().runnable)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tunefront.spaces.enumeration.MOST_BUILT", -1)
        found = space.enumerate().runnable
    assert isinstance(found, RunnableConfigurations)
    assert len(found) == len(listed)
    assert list(found) == listed
    places = range(-len(listed), len(listed))
    assert [found[place] for place in places] == [listed[place] for place in places]
    assert list(found[1:3]) == listed[1:3]
    with pytest.raises(IndexError):
        found[len(listed)]
    everything = every_configuration(space) | {Configuration({"z": 1}), Configuration({})}
    assert {one for one in everything if one in found} == set(listed)
    assert "a" not in found


@given(st.data())
def test_candidates_are_counted_as_a_list_is(context: ContextOf, data: st.DataObject) -> None:
    space = data.draw(small_spaces(context()))
    built = {choice.name for choice in space.choices if choice.stage != "execution"}
    candidates = {
        Configuration({name: value for name, value in one.items() if name in built})
        for one in space.enumerate().runnable
    }
    assert space.count_candidates() == len(candidates)


def test_a_million_configurations_are_counted_without_being_built(context: ContextOf) -> None:
    choices = tuple(plain(name, *range(10)) for name in "abcdef")
    never = Rule(
        name="never",
        choices=("b", "e"),
        reason=lambda _, b, e: "they add up to 18" if b + e == 18 else None,
    )
    space = SearchSpace(choices=choices, context=context(), catalog=CATALOG, rules=(never,))
    tracemalloc.start()
    found = space.enumerate()
    assert len(found.runnable) == 990_000
    assert [(drop.count, dict(drop.values)) for drop in found.dropped] == [
        (10_000, {"b": (9,), "e": (9,)})
    ]
    assert found.runnable[-1] == Configuration(dict.fromkeys("abcdf", 9) | {"e": 8})
    assert Configuration(dict.fromkeys("abcdef", 9)) not in found.runnable
    assert space.count_candidates() == 1
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * 2**20


@dataclass(frozen=True, kw_only=True)
class Part:
    """A region of a space."""

    equal: Mapping[str, Value] = field(default_factory=dict)
    least: Mapping[str, float] = field(default_factory=dict)

    def holds(self, space: SearchSpace, configuration: Configuration) -> bool:
        values = {**space.defaults(), **configuration}
        reached = all(float(values[name]) >= least for name, least in self.least.items())
        return reached and all(values[name] == value for name, value in self.equal.items())


def agrees_with_counting(space: SearchSpace, parts: list[Part]) -> None:
    firsts = [
        next((n for n, part in enumerate(parts) if part.holds(space, one)), None)
        for one in space.enumerate().runnable
    ]
    assert space.count(parts) == [firsts.count(number) for number in range(len(parts))]


@given(st.data())
def test_regions_of_small_spaces_are_counted_as_a_list_is(
    context: ContextOf, data: st.DataObject
) -> None:
    space = data.draw(small_spaces(context()))
    names = st.sampled_from([choice.name for choice in space.choices])
    values = st.dictionaries(names, st.integers(0, 3), max_size=2)
    parts = data.draw(st.lists(st.builds(Part, equal=values, least=values), max_size=4))
    agrees_with_counting(space, parts)


def test_regions_of_a_real_space_are_counted_as_a_list_is(context: ContextOf) -> None:
    written = {
        "pruning_ratio": [0.0, 0.25, 0.5],
        "pruning_method": ["layers", "magnitude"],
        "runtime": ["torch", "onnxruntime", "openvino"],
        "precision": ["fp32", "bf16"],
        "quantization_bits": {"values": [16, 8], "when": {"pruning_ratio": "< 0.5"}},
        "quantization_method": ["dynamic", "rtn"],
        "batch_size": [1, 8, 32],
    }
    space = build_space(written, context(), CATALOG)
    parts = [
        Part(equal={"runtime": "openvino"}),
        Part(equal={"runtime": "torch", "pruning_ratio": 0.5}, least={"batch_size": 8.0}),
        Part(equal={"pruning_method": CATALOG.kinds["pruning_method"].default}),
        Part(
            equal={"threads": CATALOG.kinds["threads"].default}
        ),  # not searched: every configuration
        Part(equal={}),
    ]
    agrees_with_counting(space, parts)
    assert all(space.count(parts)[:4])
    assert space.count([Part(equal={"threads": 7})]) == [0]


def test_a_space_too_large_to_be_listed_is_counted(context: ContextOf) -> None:
    """10^30 configurations: whatever lists them does not come back."""
    names = [f"n{place:02}" for place in range(30)]
    choices = tuple(plain(name, *range(10)) for name in names)

    def differ(_: Context, one: int, other: int) -> str | None:
        return "the same" if one == other else None

    rules = tuple(
        Rule(name="differ", choices=pair, reason=differ)
        for pair in zip(names, names[1:], strict=False)
    )
    space = SearchSpace(choices=choices, context=context(), catalog=CATALOG, rules=rules)
    counts = space.count([Part(equal={"n00": 1}), Part(equal={}, least={"n00": 8.0}), Part()])
    assert counts == [9**29, 2 * 9**29, 7 * 9**29]


@given(st.data())
def test_a_space_holds_what_it_lists(context: ContextOf, data: st.DataObject) -> None:
    space = data.draw(small_spaces(context()))
    listed = set(space.enumerate().runnable)
    for one in every_configuration(space):
        assert space.holds(one) == (one in listed)
        assert not space.holds(Configuration({**one, "unheard-of": 1}))
        assert not space.holds(Configuration({**one, space.choices[0].name: 99}))
    assert not space.holds(Configuration({}))


@given(
    ratios=st.sets(st.sampled_from([0.0, 0.25, 0.5]), min_size=1),
    methods=st.sets(st.sampled_from(["layers", "magnitude"]), min_size=1),
    runtimes=st.sets(st.sampled_from(["torch", "inductor", "openvino"]), min_size=1),
    precisions=st.sets(st.sampled_from(["fp32", "bf16", "fp16"]), min_size=1),
    bits=st.sets(st.sampled_from([16, 8, 4]), min_size=1),
    quantization=st.sets(st.sampled_from(["static", "rtn"]), min_size=1),
    ranks=st.sets(st.sampled_from([1, 2]), min_size=1),
    threads=st.sets(st.sampled_from([1, 4, 32]), min_size=1),
)
def test_real_spaces_are_listed_as_brute_force_lists_them(
    context: ContextOf,
    ratios: set[float],
    methods: set[str],
    runtimes: set[str],
    precisions: set[str],
    bits: set[int],
    quantization: set[str],
    ranks: set[int],
    threads: set[int],
) -> None:
    written = {
        "threads": sorted(threads),
        "tensor_parallel": sorted(ranks),
        "quantization_method": sorted(quantization),
        "quantization_bits": {"values": sorted(bits), "when": {"pruning_ratio": "< 0.5"}},
        "precision": sorted(precisions),
        "runtime": sorted(runtimes),
        "pruning_method": sorted(methods),
        "pruning_ratio": sorted(ratios),
    }
    space = build_space(written, context(parallel_on_cpu=True), CATALOG)
    agrees_with_brute_force(space, space.enumerate())


def test_a_drop_says_which_rule_spoke_at_what_and_how_often(context: ContextOf) -> None:
    written: dict[str, object] = {
        "runtime": ["torch", "onnxruntime", "openvino"],
        "precision": ["fp32", "bf16"],
        "threads": [1, 2, 32],
    }
    found = build_space(written, context(), CATALOG).enumerate()
    lines = [(d.rule, d.reason, d.count, dict(d.values)) for d in found.dropped]
    assert lines == [
        (
            "cores",
            "32 threads = 32 cores, but this machine offers 16",
            5,
            {"threads": (32,)},
        ),
        (
            "support",
            "onnxruntime does not support precision bf16; it supports fp32",
            3,
            {"runtime": ("onnxruntime",), "precision": ("bf16",)},
        ),
    ]
    assert (found.total, len(found.runnable)) == (18, 10)


def test_a_rule_may_speak_at_defaults_alone(context: ContextOf) -> None:
    found = build_space({"threads": [1, 2]}, context(libraries={}), CATALOG).enumerate()
    (drop,) = found.dropped
    assert (drop.reason, drop.count, dict(drop.values)) == ("torch not installed", 2, {})
    assert list(found.runnable) == []
    assert found.total == 2


def test_configurations_come_in_catalogue_order_the_last_choice_fastest(
    context: ContextOf,
) -> None:
    written: dict[str, object] = {"threads": [2, 1], "batch_size": [8, 1], "runtime": ["torch"]}
    labels = [c.label() for c in build_space(written, context(), CATALOG).enumerate().runnable]
    assert labels == [
        "runtime=torch batch_size=8 threads=2",
        "runtime=torch batch_size=8 threads=1",
        "runtime=torch batch_size=1 threads=2",
        "runtime=torch batch_size=1 threads=1",
    ]


def test_a_choice_comes_after_those_that_its_conditions_name(context: ContextOf) -> None:
    written: dict[str, object] = {
        "runtime": {"values": ["torch", "openvino"], "when": {"batch_size": "> 1"}},
        "batch_size": [1, 8],
    }
    space = build_space(written, context(), CATALOG)
    assert [choice.name for choice in space.choices] == ["batch_size", "runtime"]
    labels = {c.label() for c in space.enumerate().runnable}
    assert labels == {
        "batch_size=1",
        "batch_size=8 runtime=torch",
        "batch_size=8 runtime=openvino",
    }


def test_a_condition_on_a_choice_outside_the_space_looks_at_its_default(
    context: ContextOf,
) -> None:
    on_torch = {"values": [1, 2], "when": {"runtime": ["torch"]}}
    on_openvino = {"values": [1, 8], "when": {"runtime": ["openvino"]}}
    space = build_space({"threads": on_torch, "batch_size": on_openvino}, context(), CATALOG)
    assert {c.label() for c in space.enumerate().runnable} == {"threads=1", "threads=2"}


def test_more_runnable_configurations_than_the_limit_are_refused(context: ContextOf) -> None:
    space = build_space(
        {"batch_size": {"low": 1, "high": 1001}, "threads": [1, 32]}, context(), CATALOG
    )
    assert len(space.enumerate(limit=1001).runnable) == 1001
    with pytest.raises(SpaceError) as caught:
        space.enumerate(limit=1000)
    assert str(caught.value) == (
        "space: at most 1,000 runnable configurations are listed, but this one holds more; "
        "use coarser ranges or fewer choices"
    )


def test_combinations_that_can_not_run_are_counted_without_being_listed(
    context: ContextOf,
) -> None:
    written: dict[str, object] = {
        "runtime": ["torch", "openvino"],
        "batch_size": {"low": 1, "high": 5000},
        "threads": {"low": 1, "high": 1024},
    }
    space = build_space(written, context(libraries={}), CATALOG)
    assert space.enumerate(limit=0).total == 2 * 5000 * 1024


def test_defaults_fill_in_what_is_not_named(context: ContextOf) -> None:
    space = build_space({"runtime": ["torch", "openvino"], "threads": [1, 2]}, context(), CATALOG)
    assert space.member({"threads": 2}).label() == "runtime=torch threads=2"


def test_defaults_need_not_be_listed_first(context: ContextOf) -> None:
    space = build_space({"runtime": ["openvino", "torch"], "threads": [2, 1]}, context(), CATALOG)
    assert space.member({}).label() == "runtime=torch threads=1"


def test_a_default_that_is_not_listed_gives_way_to_the_first_value(context: ContextOf) -> None:
    space = build_space({"runtime": ["openvino"], "threads": [4, 2]}, context(), CATALOG)
    assert space.member({}).label() == "runtime=openvino threads=4"


def test_a_member_leaves_inactive_choices_out(context: ContextOf) -> None:
    written: dict[str, object] = {"pruning_ratio": [0.0, 0.5], "pruning_method": ["heads"]}
    space = build_space(written, context(), CATALOG)
    assert space.member({"pruning_method": "heads"}).label() == "pruning_ratio=0"
    assert space.member({"pruning_ratio": 0.5}).label() == "pruning_ratio=0.5 pruning_method=heads"


@given(st.data())
def test_a_listed_configuration_is_a_member_as_it_is(
    context: ContextOf, data: st.DataObject
) -> None:
    space = data.draw(small_spaces(context()))
    runnable = space.enumerate().runnable
    assume(runnable)
    configuration = data.draw(st.sampled_from(runnable))
    assert space.member(configuration) == configuration


def test_a_member_with_an_unknown_choice_is_refused(context: ContextOf) -> None:
    space = build_space({"runtime": ["torch"], "threads": [1, 2]}, context(), CATALOG)
    with pytest.raises(SpaceError) as caught:
        space.member({"thread": 2})
    assert str(caught.value) == "'thread' is not a choice of this space; did you mean 'threads'?"


def test_defaults_cover_every_choice_the_rules_look_at(context: ContextOf) -> None:
    space = SearchSpace(choices=(plain("own", 7, 8),), context=context(), catalog=CATALOG)
    assert {name for rule in CATALOG.rules for name in rule.choices} <= set(space.defaults())
    assert space.defaults()["own"] == 7
    assert space.defaults()["runtime"] == CATALOG.kinds["runtime"].default


def test_a_space_without_choices_is_refused(context: ContextOf) -> None:
    with pytest.raises(SpaceError) as caught:
        build_space({}, context(), CATALOG)
    assert str(caught.value) == "space: at least one choice is needed, but got none"


def test_a_choice_given_twice_is_refused(context: ContextOf) -> None:
    with pytest.raises(SpaceError) as caught:
        SearchSpace(
            choices=(plain("a", 1), plain("b", 1), plain("a", 2)),
            context=context(),
            catalog=CATALOG,
        )
    assert str(caught.value) == "space: a is given twice; keep one"


def test_an_unknown_choice_is_refused(context: ContextOf) -> None:
    with pytest.raises(SpaceError, match=r"^unknown choice 'thread'; did you mean 'threads'\?$"):
        build_space({"thread": [1]}, context(), CATALOG)


def test_a_condition_on_an_unknown_choice_is_refused(context: ContextOf) -> None:
    written: dict[str, object] = {"threads": {"values": [1], "when": {"runtim": "torch"}}}
    with pytest.raises(SpaceError) as caught:
        build_space(written, context(), CATALOG)
    assert str(caught.value) == (
        "threads: when names the unknown choice 'runtim'; did you mean 'runtime'?"
    )


@pytest.mark.parametrize("names", [("a",), ("a", "b"), ("a", "b", "c")])
def test_conditions_in_a_circle_are_refused(context: ContextOf, names: tuple[str, ...]) -> None:
    circle = zip(names, (*names[1:], names[0]), strict=True)
    choices = [plain(name, 0, 1, when=(only(next_name, 1),)) for name, next_name in circle]
    with pytest.raises(SpaceError) as caught:
        SearchSpace(choices=(plain("z", 0), *choices), context=context(), catalog=CATALOG)
    assert str(caught.value) == (
        f"when: conditions must not form a circle, but got one among {', '.join(names)}"
    )
