"""The codec: every value that crosses a process or is recorded is read back as it was written."""

import dataclasses
import enum
import importlib
import json
import math
import pkgutil
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest

import tunefront.evaluators.pipelines.tasks
from tunefront.evaluators import Evaluation, EvaluationSettings, Measurement, Profile, WorkloadSpec
from tunefront.evaluators.benchmark.messages import MeasureRequest, ReadBack
from tunefront.evaluators.evaluation.built import CandidateRecord
from tunefront.evaluators.isolation.codec import CodecError, from_plain, to_plain
from tunefront.evaluators.isolation.interim import Decision, Interim
from tunefront.evaluators.measures.machine import MachineState
from tunefront.evaluators.pipelines.base import RoundResult
from tunefront.evaluators.statistics.timing import Block
from tunefront.search.cluster.jobs import Job, TurnsJob
from tunefront.search.cluster.nodes import Node
from tunefront.search.study.confirmation import Confirmation
from tunefront.spaces import Configuration, TunefrontError


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    value: float
    word: Literal["one", "two"] = "one"


@dataclass(frozen=True, kw_only=True)
class Outer:
    """One field of each kind that the codec supports."""

    inner: Inner
    many: tuple[Inner, ...]
    pair: tuple[int, str]
    numbers: Sequence[float]
    by_name: Mapping[str, Inner]
    by_number: Mapping[int, Sequence[Inner]]
    folder: Path
    colour: Colour
    choice: str | int | float | bool
    maybe: Inner | None
    either: Inner | int
    plain: Any
    facts: Mapping[str, object]
    names: list[str]
    configuration: Configuration
    array: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))


def outer() -> Outer:
    one = Inner(value=1.5)
    return Outer(
        inner=one,
        many=(one, Inner(value=2.5, word="two")),
        pair=(3, "three"),
        numbers=(1.0, 2.0),
        by_name={"a": one},
        by_number={7: (one, one)},
        folder=Path("/somewhere"),
        colour=Colour.BLUE,
        choice=True,
        maybe=None,
        either=4,
        plain={"deep": [1, {"er": None}]},
        facts={"x": 1},
        names=["n"],
        configuration=Configuration({"threads": 2, "runtime": "torch"}),
        array=np.array([[0.1, 0.2], [0.3, 0.4]]),
    )


def through_json(value: object) -> Any:
    return json.loads(json.dumps(to_plain(value)))


def same(one: object, other: object) -> bool:
    """Equality that compares arrays by their items."""
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and np.array_equal(one, other)
    if dataclasses.is_dataclass(one) and not isinstance(one, type):
        return type(one) is type(other) and all(
            same(getattr(one, f.name), getattr(other, f.name)) for f in dataclasses.fields(one)
        )
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return bool(one == other)


def test_a_value_with_every_kind_of_field_is_read_back_with_the_types_it_had() -> None:
    again = from_plain(Outer, through_json(outer()))
    assert same(again, outer())
    assert again.array.dtype == np.float64
    assert type(again.many) is tuple
    assert type(again.names) is list


def test_collections_are_read_by_their_hint() -> None:
    assert from_plain(tuple[Inner, ...], [{"value": 1.0}]) == (Inner(value=1.0),)
    assert from_plain(dict[str, float], {"a": 1}) == {"a": 1.0}
    assert from_plain(list[Inner | None], [None, {"value": 2.0}]) == [None, Inner(value=2.0)]
    assert from_plain(dict, {"a": [1]}) == {"a": [1]}


def test_numpy_numbers_are_written_as_numbers() -> None:
    plain = to_plain({"a": np.float64(0.5), "b": np.int64(3), "c": (np.float32(0.5),)})
    assert json.loads(json.dumps(plain)) == {"a": 0.5, "b": 3, "c": [0.5]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inner": {"value": "much"}}, "Outer.inner.value: wanted float, but got 'much' (str)"),
        ({"inner": {"value": True}}, "Outer.inner.value: wanted float, but got True (bool)"),
        ({"inner": 3}, "Outer.inner: wanted Inner, but got 3 (int)"),
        (
            {"many": [{"value": 1.0}, {"value": None}]},
            "Outer.many[1].value: wanted float, but got None (NoneType)",
        ),
        ({"many": 5}, "Outer.many: wanted list, but got 5 (int)"),
        (
            {"by_name": {"a": {"value": 1.0, "word": "three"}}},
            "Outer.by_name[a].word: wanted one of 'one', 'two', but got 'three' (str)",
        ),
        (
            {"by_number": {"x": []}},
            "Outer.by_number[x]: wanted a whole number as key, but got 'x' (str)",
        ),
        ({"facts": []}, "Outer.facts: wanted Mapping, but got [] (list)"),
        ({"configuration": 1}, "Outer.configuration: wanted Configuration, but got 1 (int)"),
        ({"pair": [3]}, "Outer.pair: wanted a list of 2 values, but got [3] (list)"),
        ({"pair": [3, 4]}, "Outer.pair[1]: wanted str, but got 4 (int)"),
        ({"folder": 1}, "Outer.folder: wanted Path, but got 1 (int)"),
        ({"colour": "green"}, "Outer.colour: wanted Colour, but got 'green' (str)"),
        (
            {"choice": [1]},
            "Outer.choice: wanted str or int or float or bool, but got [1] (list)",
        ),
        ({"either": "x"}, "Outer.either: wanted Inner or int, but got 'x' (str)"),
        ({"inner": {}}, "Outer.inner: missing field 'value'"),
        (
            {"inner": {"value": 1.0, "colour": 2}},
            "Outer.inner: unknown field 'colour'; known: value, word",
        ),
    ],
)
def test_an_error_names_the_field_the_value_and_the_wanted_type(
    change: Mapping[str, object], message: str
) -> None:
    with pytest.raises(CodecError) as caught:
        from_plain(Outer, {**through_json(outer()), **change})
    assert str(caught.value) == message
    assert isinstance(caught.value, TunefrontError)


def test_an_array_of_another_form_is_refused() -> None:
    with pytest.raises(CodecError, match=r"^Outer\.array: wanted .*ndarray.*, but got 'x' \(str\)"):
        from_plain(Outer, {**through_json(outer()), "array": "x"})


def test_a_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(CodecError) as caught:
        from_plain(Inner, {"value": "x" * 1000})
    assert len(str(caught.value)) < 200


def test_values_without_a_json_form_are_refused() -> None:
    with pytest.raises(CodecError, match="no JSON form for a value of type object"):
        to_plain(object())
    with pytest.raises(CodecError, match=r"a key must be text or a whole number, but got \(1, 2\)"):
        to_plain({(1, 2): 3})
    with pytest.raises(CodecError, match="no JSON form for values of type complex"):
        from_plain(complex, 1)


CROSSING = (
    CandidateRecord,
    Confirmation,
    Decision,
    Evaluation,
    EvaluationSettings,
    Interim,
    Job,
    MachineState,
    MeasureRequest,
    Node,
    Profile,
    ReadBack,
    RoundResult,
    Block,
    TurnsJob,
)
"""Values that cross a process or are recorded, besides the requests and results of tasks."""


def values_of_tasks() -> Iterator[type[Any]]:
    """The dataclasses that the modules of tasks define: their requests and results."""
    package = tunefront.evaluators.pipelines.tasks
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        for value in vars(importlib.import_module(module.name)).values():
            own = getattr(value, "__module__", "") == module.name
            if own and isinstance(value, type) and hasattr(value, "__dataclass_fields__"):
                yield value


def an(hint: Any) -> Any:
    """Some value of a type; of a union, one of the first member."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return an(arguments[0])
    if origin is Literal:
        return arguments[0]
    kind: Any = origin or hint
    if kind in SOME:
        return SOME[kind]
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        fields: Any = {f.name: an(hints[f.name]) for f in dataclasses.fields(kind)}
        made: Any = kind
        return made(**fields)
    if kind is np.ndarray:
        return np.array([[0.25, 0.5]])
    if issubclass(kind, Configuration):
        return Configuration({"threads": 2, "runtime": "torch"})
    if issubclass(kind, Mapping):
        return {an(arguments[0]): an(arguments[1])}
    if issubclass(kind, tuple) and arguments[-1] is not Ellipsis:
        return tuple(an(one) for one in arguments)
    return list(map(an, arguments[:1])) if kind is list else tuple(map(an, arguments[:1]))


SOME: Mapping[Any, Any] = {
    str: "text",
    int: 3,
    float: 0.5,
    bool: True,
    Any: "anything",
    object: "anything",
    Path: Path("/somewhere"),
    WorkloadSpec: WorkloadSpec(task="causal-lm", model="m", folder="/nowhere", data="d"),
    Measurement: Measurement(value=1.5, unit="ms", low=1.0, high=2.0, samples=9),
}


@pytest.mark.parametrize(
    "kind", sorted({*CROSSING, *values_of_tasks()}, key=lambda kind: str(kind))
)
def test_every_value_that_crosses_a_process_is_read_back(kind: type[Any]) -> None:
    value = an(kind)
    again = from_plain(kind, through_json(value))
    assert same(again, value)
    assert through_json(again) == through_json(value)


def test_tasks_have_values() -> None:
    names = {kind.__name__ for kind in values_of_tasks()}
    assert names >= {"BuildRequest", "QualityRequest", "ProfileRequest", "WorkloadDescription"}


@pytest.mark.parametrize(("end", "text"), [(math.inf, "Infinity"), (-math.inf, "-Infinity")])
def test_an_open_interval_is_valid_json(end: float, text: str) -> None:
    found = Measurement(value=1.0, unit="ms", low=0.5, high=end, samples=3)
    plain = to_plain(found)
    assert plain["high"] == text
    written = json.dumps(plain, allow_nan=False)
    assert from_plain(Measurement, json.loads(written)) == found


def test_a_text_that_names_an_infinite_number_stays_a_text() -> None:
    hint: Any = str | int | float | bool
    assert from_plain(hint, "Infinity") == "Infinity"
