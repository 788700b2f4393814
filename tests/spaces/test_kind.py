"""Built-in choices as users write them: values, lists, ranges, conditions, and every refusal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunefront.spaces import ChoiceKind, Condition, SpaceError, Value

WHOLE = ChoiceKind(
    name="threads",
    stage="execution",
    default=1,
    help="",
    low=1,
    high=1024,
    whole=True,
    log=True,
    unit="threads",
)
REAL = ChoiceKind(name="ratio", stage="model", default=0.0, help="", low=0.0, high=0.95)
WORDS = ChoiceKind(
    name="quantization",
    stage="runtime",
    default="none",
    help="",
    words={"none": "", "int8-dynamic": "", "int8-static": ""},
)
CONDITIONAL = ChoiceKind(
    name="method",
    stage="model",
    default="heads",
    help="",
    words={"heads": "", "layers": ""},
    when=(Condition(choice="ratio", test=">", operands=(0,)),),
)


def refusal(kind: ChoiceKind, written: object) -> str:
    with pytest.raises(SpaceError) as caught:
        kind.choice(written)
    return str(caught.value)


@given(st.integers(1, 1024))
def test_a_whole_number_may_be_written_as_a_fraction_of_nothing(value: int) -> None:
    checked = WHOLE.check(float(value))
    assert checked == value
    assert type(checked) is int


@given(st.floats(0, 0.95))
def test_a_real_number_within_its_bounds_is_kept(value: float) -> None:
    assert REAL.check(value) == value


def test_a_real_number_may_be_written_whole() -> None:
    assert type(REAL.check(0)) is float


@pytest.mark.parametrize("word", ["none", "int8-dynamic", "int8-static"])
def test_a_known_word_is_kept(word: str) -> None:
    assert WORDS.check(word) == word


def test_an_empty_yaml_value_is_the_word_none() -> None:
    assert WORDS.check(None) == "none"


@pytest.mark.parametrize("value", ["2", None, True, [1], {"a": 1}])
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(SpaceError) as caught:
        WHOLE.check(value)
    assert str(caught.value) == f"threads: a number is needed, but got {value!r}"


@pytest.mark.parametrize("value", [0, 1025, -1, float("inf"), float("nan")])
def test_a_number_beyond_its_bounds_is_refused(value: float) -> None:
    with pytest.raises(SpaceError) as caught:
        WHOLE.check(value)
    assert str(caught.value) == f"threads: `1 <= threads <= 1024` must hold, but got {value:g}"


@pytest.mark.parametrize("whole", [False, True])
def test_a_number_without_bounds_is_finite(whole: bool) -> None:
    kind = ChoiceKind(name="x", stage="model", default=0, help="", whole=whole)
    assert refusal(kind, float("inf")) == "x: a finite number is needed, but got inf"


def test_a_doubling_range_can_span_all_numbers() -> None:
    kind = ChoiceKind(name="x", stage="model", default=0, help="")
    values = kind.choice({"low": 5e-324, "high": 1e308, "log": True}).values
    assert (len(values), values[0], values[-1]) == (2098, 5e-324, 2.0**1023)


def test_a_broken_number_is_refused_where_a_whole_one_is_needed() -> None:
    assert refusal(WHOLE, 1.5) == "threads: a whole number is needed, but got 1.5"


def test_an_unknown_word_is_answered_with_the_nearest() -> None:
    assert refusal(WORDS, "int8-dynamo") == (
        "quantization: unknown value 'int8-dynamo'; did you mean 'int8-dynamic'?"
    )


def test_an_unknown_word_far_from_all_is_answered_with_the_list() -> None:
    assert refusal(WORDS, 8) == (
        "quantization: unknown value 8; known: int8-dynamic, int8-static, none"
    )


@pytest.mark.parametrize(
    ("written", "values"),
    [
        (2, (2,)),
        ([1, 2, 8], (1, 2, 8)),
        ({"values": [8, 2]}, (8, 2)),
        ({"values": 4}, (4,)),
        ({"low": 1, "high": 3}, (1, 2, 3)),
        ({"low": 1, "high": 6, "step": 2}, (1, 3, 5)),
        ({"low": 3, "high": 3}, (3,)),
        ({"low": 1, "high": 8, "log": True}, (1, 2, 4, 8)),
        ({"low": 3, "high": 20, "log": True}, (3, 6, 12)),
    ],
)
def test_values_lists_and_ranges_are_written_out(
    written: object, values: tuple[Value, ...]
) -> None:
    assert WHOLE.choice(written).values == values


def test_steps_that_binary_numbers_miss_still_reach_the_end() -> None:
    values = REAL.choice({"low": 0.0, "high": 0.3, "step": 0.1}).values
    assert values == (0.0, 0.1, 0.2, 0.3)


@given(st.integers(1, 512), st.integers(0, 512), st.integers(1, 64))
def test_a_range_holds_what_pythons_range_holds(low: int, width: int, step: int) -> None:
    written = {"low": low, "high": low + width, "step": step}
    assert WHOLE.choice(written).values == tuple(range(low, low + width + 1, step))


def test_the_choice_takes_over_what_the_kind_knows() -> None:
    choice = WHOLE.choice([1, 2])
    assert (choice.name, choice.stage, choice.default) == ("threads", "execution", 1)
    assert (choice.unit, choice.ordered, choice.log) == ("threads", True, True)
    assert not WORDS.choice(["none"]).ordered


def test_conditions_of_the_user_come_after_those_of_the_kind() -> None:
    choice = CONDITIONAL.choice({"values": ["heads"], "when": {"runtime": ["torch"]}})
    assert [str(condition) for condition in choice.when] == ["ratio > 0", "runtime == torch"]


def test_a_condition_given_twice_counts_once() -> None:
    choice = CONDITIONAL.choice({"values": ["heads"], "when": {"ratio": "> 0"}})
    assert choice.when == CONDITIONAL.when


def test_a_range_may_carry_conditions() -> None:
    choice = WHOLE.choice({"low": 1, "high": 2, "when": {"runtime": "torch", "ratio": "< 1"}})
    assert choice.values == (1, 2)
    assert [str(condition) for condition in choice.when] == ["runtime == torch", "ratio < 1"]


def test_what_the_user_wrote_is_not_changed() -> None:
    written = {"values": [1, 2], "when": {"runtime": ["torch"]}}
    WHOLE.choice(written)
    assert written == {"values": [1, 2], "when": {"runtime": ["torch"]}}


@pytest.mark.parametrize("when", [None, {}, [], "runtime", 3])
def test_conditions_that_are_no_mapping_are_refused(when: object) -> None:
    assert refusal(WHOLE, {"values": [1], "when": when}) == (
        "threads: when must map another choice to its values, e.g. {runtime: [torch]}, "
        f"but got {when!r}"
    )


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"low": 1, "hihg": 4}, "threads: unknown key 'hihg'; did you mean 'high'?"),
        ({"high": 4}, "threads: a range needs low and high, but low is missing"),
        ({"low": 4}, "threads: a range needs low and high, but high is missing"),
        ({}, "threads: a range needs low and high, but high is missing"),
        (
            {"low": 4, "high": 1},
            "threads: `low <= high` must hold, but got low=4, high=1",
        ),
        ({"low": 0, "high": 1}, "threads: `1 <= threads <= 1024` must hold, but got 0"),
        ({"low": 1, "high": "8"}, "threads: a number is needed, but got '8'"),
        (
            {"low": 1, "high": 4, "step": 0.5},
            "threads: a whole number is needed, but got 1.5",
        ),
        (
            {"low": 1, "high": 8, "step": 2, "log": True},
            "threads: a range has either step or log, but got both",
        ),
        ([], "space: threads: at least one value is needed, but got none"),
    ],
)
def test_a_range_that_is_none_is_refused(written: object, expected: str) -> None:
    assert refusal(WHOLE, written) == expected


@pytest.mark.parametrize("step", [0, -1, "2", True, float("nan")])
def test_a_step_must_lead_upwards(step: object) -> None:
    assert refusal(WHOLE, {"low": 1, "high": 4, "step": step}) == (
        f"threads: a range needs `step > 0` or `log: true`, but got step={step!r}"
    )


def test_a_range_of_real_numbers_needs_its_step() -> None:
    assert refusal(REAL, {"low": 0, "high": 0.5}) == (
        "ratio: a range needs `step > 0` or `log: true`, but got step=None"
    )


def test_doubling_must_start_above_zero() -> None:
    assert refusal(REAL, {"low": 0, "high": 0.5, "log": True}) == (
        "ratio: `low > 0` must hold with log, but got 0"
    )


def test_a_range_of_a_great_many_values_is_refused() -> None:
    assert refusal(REAL, {"low": 0, "high": 0.5, "step": 0.00001}) == (
        "ratio: a range may hold at most 10000 values, but step=1e-05 gives 50001"
    )


def test_words_have_no_range() -> None:
    text = "quantization: a list of words is needed, but got a range"
    assert refusal(WORDS, {"low": 1, "high": 2}) == text


BITS = ChoiceKind(
    name="bits",
    stage="runtime",
    default=16,
    help="",
    low=2,
    high=16,
    numbers=(16, 8, 4),
    whole=True,
)


def test_only_some_numbers_may_be_allowed() -> None:
    assert BITS.choice([16, 8.0]).values == (16, 8)
    assert BITS.choice({"low": 4, "high": 16}).values == (4, 8, 16)
    assert refusal(BITS, [5]) == "bits: one of 16, 8, 4 is needed, but got 5"


def test_true_and_one_are_different_words() -> None:
    flag = ChoiceKind(
        name="flag", stage="runtime", default=False, help="", words={False: "off", True: "on"}
    )
    assert flag.choice([True, False]).values == (True, False)
    assert refusal(flag, [1]) == "flag: unknown value 1; known: False, True"
