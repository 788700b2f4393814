"""Prose has the words of docs/vocabulary.md: none of the words of the first version returns."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = [
    path
    for root in ("spaces", "evaluators", "search")
    for path in sorted((ROOT / root / "tunefront").rglob("*"))
    if path.suffix in (".py", ".js", ".html")
]
EXEMPT = ROOT / "docs" / "vocabulary.md"
"""The page that lists the words."""
PAGES = [
    path
    for path in (
        *sorted(ROOT.glob("*.md")),
        *sorted((ROOT / "docs").rglob("*.md")),
        *sorted(ROOT.glob("experiments/*/*.md")),
        *sorted(ROOT.glob("experiments/*/*.yaml")),
        *sorted(ROOT.glob("experiments/*/*.py")),
    )
    if path != EXEMPT
]

WORDS = (
    # Searches and trials.
    r"nights?|mornings?|figures?|lessons?|doubts?|doubted|doubtful|mended|begun|put aside",
    r"goes on|gone on|laid over|can't be told|told apart",
    # Measuring.
    r"first looks?|hopeless|fidelity|rivals?|judges?|judged|judging|contenders?|sittings?",
    r"turnstiles?|seats?|seated|players?|twins?|kits?|others took",
    # Sampling.
    r"outlooks?|foresees?|foreseen|promises?|promised",
    # Processes.
    r"wires?|heard|hears?|beats?|beaten",
    # Sentences.
    r"told|tells?|said|says?|spoken|in words|is asked|are asked|was asked|asks|asked for",
    r"who|whom|whoever|somebody|nobody|abreast|beside|anew|of its own|of one's own|house",
)
"""Words of the first version by the tables of docs/vocabulary.md, as regular expressions.

Words of these tables that are also plain terms (`look`, `check`, `kept`, `table`, `samples`, `race`
condition, `alike`, `made`, `host` memory) are not listed: whether they are used in the old sense
cannot be decided by a pattern.
"""
UNWANTED = re.compile(rf"\b(?:{'|'.join(WORDS)})\b", re.IGNORECASE)
CODE = re.compile(r"`[^`\n]*`")
"""Code in a sentence. Names in it are not prose: `Study.tell`, `night.log` of an old version."""
ARGUMENT = re.compile(r"^\s+\w+: ")
"""The name of an argument or attribute in a docstring."""
FIELD = re.compile(r"\{[^{}]*\}")
"""A field of an f-string."""


def python_prose(source: str) -> Iterator[tuple[int, str]]:
    """Comments, docstrings and messages of a Python file, line by line.

    A string without a space is a name or a key, not a message.
    """
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        first = token.start[0]
        if token.type == tokenize.COMMENT:
            yield first, token.string
        elif token.type == tokenize.STRING and " " in token.string:
            text = token.string
            if "f" in text[: text.index(text[-1])].lower():
                text = FIELD.sub("", text)
            yield from ((first + n, ARGUMENT.sub("", x)) for n, x in enumerate(text.split("\n")))


def script_prose(source: str) -> Iterator[tuple[int, str]]:
    """Comments and messages of a script, text of an HTML page, line by line."""
    for number, line in enumerate(source.split("\n"), 1):
        yield from ((number, text) for text in re.findall(r"//.*|/?\*.*", line))
        yield from ((number, text) for text in re.findall(r"[\"'`>][^\"'`<>]* [^\"'`<>]*", line))


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Every line of prose of a file with its number, without code."""
    source = path.read_text()
    if path.suffix == ".py":
        lines = python_prose(source)
    elif path.suffix in (".js", ".html"):
        lines = script_prose(source)
    else:
        lines = enumerate(source.split("\n"), 1)
    yield from ((number, CODE.sub("", line)) for number, line in lines)


def unwanted(path: Path) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}: {word!r} in {line.strip()[:120]!r}"
        for number, line in prose(path)
        for word in UNWANTED.findall(line)
    ]


def test_prose_has_the_words_of_the_vocabulary() -> None:
    """Docs/vocabulary.md names the word to use instead."""
    found = [line for path in (*SOURCES, *PAGES) for line in unwanted(path)]
    assert found == [], "\n".join(["see docs/vocabulary.md", *found])


@pytest.mark.parametrize(
    ("name", "source", "found"),
    [
        ("page.md", "The search ran all night.", ["night"]),
        ("page.md", "It was `night.log`.", []),
        ("page.md", "The fortnight after.", []),
        ("a.py", '"""Says who is told."""', ["Says", "who", "told"]),
        ("a.py", "x = 1  # measured anew", ["anew"]),
        ("a.py", 'x = f"figures of {told}"', ["figures"]),
        ("a.py", 'x = study.tell(beside, "answers")', []),
        ("a.py", 'def f():\n    """F.\n\n    Args:\n        beside: Timing.\n    """', []),
        ("a.js", "// what the judge says", ["judge", "says"]),
        ("a.js", 'const told = "no figure here";', ["figure"]),
        ("a.html", "<p>Who is on the front?</p>", ["Who"]),
    ],
)
def test_words_are_found_in_prose_and_not_in_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, source: str, found: list[str]
) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    path = tmp_path / name
    path.write_text(source)
    if path.suffix == ".py":
        ast.parse(source)
    assert [line.split("'")[1] for line in unwanted(path)] == found
