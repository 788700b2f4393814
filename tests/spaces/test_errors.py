"""The tree of errors, and the nearest known name."""

import pytest

from tunefront.spaces import (
    EvaluationError,
    TunefrontError,
    did_you_mean,
    errors,
    named_error,
    text_of,
)

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, Exception) and kind is not TunefrontError
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_hangs_below_the_one_root(kind: type[Exception]) -> None:
    assert kind.__bases__ == (TunefrontError,)
    assert str(kind("what went wrong")) == "what went wrong"


def test_a_failed_evaluation_carries_its_cause() -> None:
    assert EvaluationError("no memory left", "oom").cause == "oom"
    assert EvaluationError("something else").cause == "exception"


def test_the_nearest_name_is_suggested() -> None:
    assert did_you_mean("thread", ["threads", "runtime"]) == "; did you mean 'threads'?"


def test_without_a_near_name_all_are_listed_in_order() -> None:
    assert did_you_mean("zzz", ["threads", "runtime"]) == "; known: runtime, threads"


def test_without_any_name_nothing_is_reported() -> None:
    assert did_you_mean("zzz", []) == ""


class Wordless(Exception):
    """An error of a user's class whose text can't be read."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_an_error_without_a_text_is_named_by_its_class() -> None:
    assert (text_of(Wordless()), named_error(Wordless())) == ("", "Wordless")
    assert named_error(ValueError("not a number")) == "ValueError: not a number"
    assert named_error(ValueError()) == "ValueError"
