"""Choices that an experiment declares: every form, and every refusal."""

import pytest

from tunefront.spaces import SpaceError, declared_kind, is_declaration


def test_numbers_are_ordered_and_words_are_not() -> None:
    numbers = declared_kind("chunk", {"values": [16, 64], "stage": "execution"})
    assert (numbers.stage, numbers.default, numbers.words) == ("execution", 16, None)
    assert numbers.choice({"values": [16, 64]}).ordered
    words = declared_kind("mode", {"values": ["a", "b"], "stage": "model", "default": "b"})
    assert words.default == "b"
    assert not words.choice(["a", "b"]).ordered
    flags = declared_kind("flag", {"values": [True, False], "stage": "model"})
    assert flags.choice([True, False]).values == (True, False)


def test_outputs_change_unless_specified_otherwise() -> None:
    written = {"values": [1, 2], "stage": "execution"}
    assert declared_kind("x", written).changes_outputs
    assert not declared_kind("x", {**written, "changes_outputs": False}).changes_outputs


def test_a_stage_makes_a_declaration() -> None:
    assert is_declaration({"values": [1], "stage": "model"})
    assert not is_declaration({"values": [1], "when": {"runtime": "torch"}})
    assert not is_declaration([1, 2])


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (
            {"values": [1], "stage": "running"},
            "x: stage must be one of model, runtime, execution, but got 'running'",
        ),
        (
            {"values": [], "stage": "model"},
            "x: values must be a list of texts, numbers, or true and false, but got []",
        ),
        (
            {"values": [[1]], "stage": "model"},
            "x: values must be a list of texts, numbers, or true and false, but got [[1]]",
        ),
        (
            {"stage": "model"},
            "x: values must be a list of texts, numbers, or true and false, but got None",
        ),
        (
            {"values": [1], "stage": "model", "defualt": 1},
            "x: unknown key 'defualt'; did you mean 'default'?",
        ),
        (
            {"values": [1], "stage": "model", "default": 2},
            "x: default must be one of [1], but got 2",
        ),
        (
            {"values": [1], "stage": "model", "changes_outputs": "no"},
            "x: changes_outputs must be true or false, but got 'no'",
        ),
    ],
)
def test_a_declaration_is_checked(written: dict[str, object], message: str) -> None:
    with pytest.raises(SpaceError) as caught:
        declared_kind("x", written)
    assert str(caught.value) == message
