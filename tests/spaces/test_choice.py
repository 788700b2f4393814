"""Choices and conditions: what they accept, when they are active, what they say when not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunefront.spaces import Choice, Condition, SpaceError, Value
from tunefront.spaces.choice import Operator, parse_value

NUMBERS = st.integers(-100, 100) | st.floats(-100, 100)


def condition(test: Operator, *operands: Value) -> Condition:
    return Condition(choice="other", test=test, operands=operands)


@pytest.mark.parametrize(
    ("text", "value"),
    [("8", 8), ("-3", -3), ("0.5", 0.5), ("1e3", 1000.0), ("torch", "torch"), ("1.2.3", "1.2.3")],
)
def test_a_number_is_read_where_the_text_is_one(text: str, value: Value) -> None:
    found = parse_value(text)
    assert found == value
    assert type(found) is type(value)


@given(NUMBERS, NUMBERS)
def test_comparisons_are_those_of_numbers(value: float, operand: float) -> None:
    assert condition("<", operand).holds(value) is (value < operand)
    assert condition("<=", operand).holds(value) is (value <= operand)
    assert condition(">", operand).holds(value) is (value > operand)
    assert condition(">=", operand).holds(value) is (value >= operand)


def test_equality_takes_any_of_several_operands() -> None:
    either = condition("==", "torch", "openvino")
    assert either.holds("openvino")
    assert not either.holds("inductor")


def test_inequality_refuses_all_of_several_operands() -> None:
    neither = condition("!=", "torch", "openvino")
    assert not neither.holds("openvino")
    assert neither.holds("inductor")


def test_a_word_keeps_no_comparison_with_a_number() -> None:
    assert not condition(">", 0).holds("torch")
    assert not condition("<", 0).holds("torch")


@pytest.mark.parametrize("operands", [(), (1, 2), ("torch",)])
def test_a_comparison_needs_exactly_one_number(operands: tuple[Value, ...]) -> None:
    with pytest.raises(SpaceError) as caught:
        condition(">", *operands)
    assert str(caught.value) == (
        "when: other: '>' must be followed by one number, "
        f"but got {list(operands)}; write e.g. '> 0'"
    )


@pytest.mark.parametrize(
    ("written", "test", "operands"),
    [
        ("torch", "==", ("torch",)),
        (8, "==", (8,)),
        (["torch", "openvino"], "==", ("torch", "openvino")),
        ("> 0", ">", (0,)),
        (" >=0.5 ", ">=", (0.5,)),
        ("< 1e3", "<", (1000.0,)),
        ("<= 4", "<=", (4,)),
        ("!= none", "!=", ("none",)),
        ("== torch", "==", ("torch",)),
    ],
)
def test_conditions_are_read_as_users_write_them(
    written: object, test: Operator, operands: tuple[Value, ...]
) -> None:
    assert Condition.parse("other", written) == condition(test, *operands)


@pytest.mark.parametrize("written", [None, [], {"low": 1}, [["torch"]], ["torch", None]])
def test_what_is_no_condition_is_refused(written: object) -> None:
    with pytest.raises(SpaceError) as caught:
        Condition.parse("other", written)
    assert str(caught.value) == (
        "when: other must be a value, a list of values or a comparison such as '> 0', "
        f"but got {written!r}"
    )


def test_a_comparison_with_a_word_is_refused() -> None:
    with pytest.raises(SpaceError, match=r"'>' must be followed by one number, but got \['many'\]"):
        Condition.parse("other", "> many")


def test_a_condition_is_shown_as_it_is_meant() -> None:
    assert str(condition("==", "torch", "openvino")) == "other == torch, openvino"
    assert str(condition(">", 0)) == "other > 0"


def choice(*values: Value, when: tuple[Condition, ...] = ()) -> Choice:
    return Choice(name="threads", values=values, stage="execution", default=1, when=when)


def test_a_choice_without_values_is_refused() -> None:
    with pytest.raises(SpaceError) as caught:
        choice()
    assert str(caught.value) == "space: threads: at least one value is needed, but got none"


def test_a_choice_with_a_repeated_value_is_refused() -> None:
    with pytest.raises(SpaceError) as caught:
        choice(1, 2, 1)
    assert str(caught.value) == (
        "space: threads: values must differ, but got [1, 2, 1]; remove the repeated one"
    )


def test_numbers_equal_in_value_are_a_repeated_value() -> None:
    with pytest.raises(SpaceError, match="values must differ"):
        choice(1, 1.0)


def test_a_choice_without_conditions_is_always_active() -> None:
    assert choice(1, 2).active({})


def test_a_choice_is_active_where_all_its_conditions_hold() -> None:
    both = (
        Condition(choice="a", test=">", operands=(0,)),
        Condition(choice="b", test="==", operands=("x",)),
    )
    conditional = choice(1, 2, when=both)
    assert conditional.active({"a": 1, "b": "x"})
    assert not conditional.active({"a": 1, "b": "y"})
    assert not conditional.active({"a": 0, "b": "x"})


def test_a_condition_on_a_choice_that_has_no_value_does_not_hold() -> None:
    assert not choice(1, when=(condition("!=", 5),)).active({})
