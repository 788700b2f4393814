"""Texts of users' code and libraries, before they are recorded and shown."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunefront.evaluators.evaluation.clean_text import (
    LONGEST_FAILURE,
    LONGEST_LINE,
    clean_text,
    clean_values,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("日本\u3000語, e\u0301, 👩\u200d🔬", "日本\u3000語, e\u0301, 👩\u200d🔬"),
        ("bad \udcff name", r"bad \udcff name"),
        ("\x1b[1;31mred\x1b[0m, \x1b[2Jcleared", "red, cleared"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]52;c;YQ==\x1b\\text", "text"),
        ("\x1b]52;c;YQ==", r"\x1b]52;c;YQ=="),
        ("10 %\r20 %\r\ndone", "10 %\n20 %\ndone"),
        ("\x00\x07\x7f\x85\x9b", r"\x00\x07\x7f\x85\x9b"),
        ("\u202eright to left\u2066, \u2028line", r"\u202eright to left\u2066, \u2028line"),
    ],
)
def test_only_characters_that_can_be_shown_stay(text: str, expected: str) -> None:
    assert clean_text(text) == expected


def test_of_a_long_text_the_middle_is_left_out() -> None:
    text = "start" + "x" * 50_000_000 + "end"
    short = clean_text(text, LONGEST_FAILURE)
    assert LONGEST_FAILURE - 1 <= len(short) <= LONGEST_FAILURE
    assert short.startswith("startxxx")
    assert short.endswith("xxxend")
    assert "x [...] x" in short


@given(st.text(st.characters(codec=None) | st.sampled_from("\x1b[]m\x07\udcff"), max_size=300))
def test_every_clean_text_can_be_written_and_stays_as_it_is(text: str) -> None:
    clean = clean_text(text, 100)
    clean.encode()
    assert len(clean) <= 100
    assert not set(clean) & {"\x1b", "\x07", "\r", "\x00"}
    assert clean_text(clean, 100) == clean


def test_values_are_cleaned_at_every_depth() -> None:
    values = {"a\x07": ["\udcff", ("\x1b[1mb", 1.5, None)], "long": "x" * 5000}
    clean = clean_values(values)
    assert clean == {
        r"a\x07": [r"\udcff", ("b", 1.5, None)],
        "long": clean_text("x" * 5000),
    }
    assert len(clean_text("x" * 5000)) <= LONGEST_LINE
    json.dumps(clean, ensure_ascii=False).encode()
