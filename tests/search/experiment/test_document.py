"""Experiment files as text: lines, repeated keys, overrides, and nothing but our own errors."""

from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunefront.search.experiment.document import Document, find_experiment, read_document, slug_of
from tunefront.search.experiment.yaml_reader import LARGEST_BYTES
from tunefront.search.study.atomic_write import write_whole
from tunefront.spaces import ExperimentError

FRAGMENTS = st.sampled_from(
    ["a", "b", ": ", "\n", "  ", "- ", "[", "]", "{", "}", ",", "'", '"', "#", "|", ">", "?"]
    + ["<=", "1", ".5", "null", "yes", "2001-13-45", "!", "%", "---", "\t", "\x00", "é"]
)


@pytest.fixture(scope="session")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A path that tests write to, one after the other."""
    return tmp_path_factory.mktemp("files") / "experiment.yaml"


def read(file: Path, text: str, *overrides: str) -> Document:
    file.write_text(text)
    return read_document(file, overrides)


def refusal(file: Path, text: str, *overrides: str) -> str:
    with pytest.raises(ExperimentError) as caught:
        read(file, text, *overrides)
    return str(caught.value).replace(str(file), "FILE")


def test_an_experiment_is_a_file_or_the_folder_that_holds_it(tmp_path: Path) -> None:
    file = tmp_path / "experiment.yaml"
    file.touch()
    assert find_experiment(file) == file
    assert find_experiment(str(tmp_path)) == file


@pytest.mark.parametrize("name", ["nowhere.yaml", "nowhere"])
def test_a_missing_experiment_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ExperimentError) as caught:
        find_experiment(tmp_path / name)
    assert str(caught.value) == (
        f"{tmp_path / name} does not exist; "
        "name an experiment file, or start one with `tunefront init`"
    )


def test_a_folder_without_an_experiment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"experiment\.yaml does not exist; name an"):
        find_experiment(tmp_path)


def test_every_key_has_its_line(file: Path) -> None:
    document = read(file, "# first\na: 1\nb:\n  c: 2\n\n  d: [x, {e: 3}]\n")
    assert document.values == {"a": 1, "b": {"c": 2, "d": ["x", {"e": 3}]}}
    assert document.lines == {
        ("a",): 2,
        ("b",): 3,
        ("b", "c"): 4,
        ("b", "d"): 6,
        ("b", "d", "1", "e"): 6,
    }


@pytest.mark.parametrize(
    ("key", "place"),
    [
        (("b", "c"), "FILE:3: b.c"),
        (("b", "missing"), "FILE:2: b.missing"),
        (("b", "c", 0, "e"), "FILE:3: b.c.0.e"),
        (("missing",), "FILE: missing"),
        ((), "FILE"),
    ],
)
def test_a_place_is_the_line_of_the_nearest_key(
    file: Path, key: tuple[str | int, ...], place: str
) -> None:
    document = read(file, "a: 1\nb:\n  c: 2\n")
    assert document.place(key).replace(str(file), "FILE") == place


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", "FILE:3: a stands twice (first in line 1); keep one"),
        ("b:\n  c: 1\n  c: 2\n", "FILE:3: b.c stands twice (first in line 2); keep one"),
        ("b:\n- c: 1\n  c: 2\n", "FILE:3: b.0.c stands twice (first in line 2); keep one"),
        ("{a: 1, a: 1}", "FILE:1: a stands twice (first in line 1); keep one"),
    ],
)
def test_a_key_that_stands_twice_is_refused(file: Path, text: str, expected: str) -> None:
    assert refusal(file, text) == expected


def test_the_same_key_in_two_sections_is_two_keys(file: Path) -> None:
    assert read(file, "a: {c: 1}\nb: {c: 1}\n").values == {"a": {"c": 1}, "b": {"c": 1}}


@pytest.mark.parametrize(
    ("text", "kind"), [("", "NoneType"), ("- a", "list"), ("a", "str"), ("3", "int")]
)
def test_a_file_must_hold_keys_and_values(file: Path, text: str, kind: str) -> None:
    assert refusal(file, text) == f"FILE: keys and values are needed, but got {kind}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: [", "FILE:2: not YAML: expected the node content, but found '<stream end>'"),
        ("a: 1\n b: 2", "FILE:2: not YAML: mapping values are not allowed here"),
        ("a: 1\n? [b]\n: c", "FILE:2: not YAML: found unhashable key"),
        ("a: *b", "FILE:1: not YAML: found undefined alias 'b'"),
        ("a: 1\nb: 2001-13-45", "FILE:2: not YAML: month must be in 1..12"),
        ("a: !!int x", "FILE:1: not YAML: invalid literal for int() with base 10: 'x'"),
        (
            "a: !!bool x",
            "FILE:1: not YAML: 'x' does not fit the tag 'tag:yaml.org,2002:bool'",
        ),
        (
            "a: !!timestamp x",
            "FILE:1: not YAML: 'x' does not fit the tag 'tag:yaml.org,2002:timestamp'",
        ),
        ("--- a\n--- b", "FILE:2: not YAML: but found another document"),
        (
            "a: !!python/object:os.system x",
            "FILE:1: not YAML: could not determine a constructor for the tag "
            "'tag:yaml.org,2002:python/object:os.system'",
        ),
    ],
)
def test_what_is_not_yaml_is_refused_with_its_line(file: Path, text: str, expected: str) -> None:
    assert refusal(file, text).startswith(expected)


EXPLODING = "a: &a [lol]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
"""Each of nine lists repeats the one before it nine times."""
ALIAS = "an alias can repeat a single value, not a list or a mapping"
DEEP = "lists and mappings can be nested 32 deep, not deeper"
WHOLE = "a whole number of at most 64 bits is needed, but got "


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (EXPLODING, f"FILE:2: {ALIAS}"),
        ("a: 1\nb: &b {self: *b}", f"FILE:2: {ALIAS}"),
        ("a: &a [1,\n*a]", f"FILE:2: {ALIAS}"),
        ("a: &a {b: 1}\nc: {<<: *a}", f"FILE:2: {ALIAS}"),
        ("a:\n  " + "[" * 3000, f"FILE:2: {DEEP}"),
        ("- " * 3000, f"FILE:1: {DEEP}"),
        ("a: " + "{a: " * 40, f"FILE:1: {DEEP}"),
        (f"a: 1\nseed: {2**64}", f"FILE:2: {WHOLE}{2**64}"),
        (f"a: -{2**63 + 1}", f"FILE:1: {WHOLE}-{2**63 + 1}"),
        ("a: " + "9" * 5000, f"FILE:1: {WHOLE}{'9' * 60}..."),
        ("a: 0x" + "f" * 5000, f"FILE:1: {WHOLE}0x{'f' * 58}..."),
        (r'a: "b\0"', r"FILE:1: a text can't hold the character '\x00'"),
        (r'a: "b\ud83d"', r"FILE:1: a text can't hold the character '\ud83d'"),
    ],
)
def test_yaml_that_breaks_a_rule_is_refused_with_its_line(
    file: Path, text: str, expected: str
) -> None:
    assert refusal(file, text) == expected


def test_single_values_can_be_repeated_and_lists_be_nested(file: Path) -> None:
    assert read(file, "a: &b 3\nc: [*b, *b]").values == {"a": 3, "c": [3, 3]}
    nested = read(file, "a: " + "[" * 31 + "]" * 31)
    assert str(nested.values["a"]) == "[" * 31 + "]" * 31


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63)])
def test_whole_numbers_have_64_bits(file: Path, number: int) -> None:
    assert read(file, f"a: {number}").values == {"a": number}


def test_a_large_file_is_refused_before_it_is_parsed(file: Path) -> None:
    text = "# comment\na: 1\n"
    assert read(file, text.ljust(LARGEST_BYTES)).values == {"a": 1}
    assert refusal(file, text.ljust(LARGEST_BYTES + 1)) == (
        "FILE: an experiment file has at most 64 kB, but this one has more; write long lists as "
        "ranges, and data into a separate file"
    )


def test_what_is_not_text_is_refused(file: Path) -> None:
    file.write_bytes(b"name: \xff\xfe")
    with pytest.raises(ExperimentError) as caught:
        read_document(file)
    assert str(caught.value) == f"{file}: not UTF-8: invalid start byte"


@pytest.mark.parametrize(
    ("override", "values"),
    [
        ("a=2", {"a": 2, "b": {"c": 1}}),
        ("b.c=[1, 2]", {"a": 1, "b": {"c": [1, 2]}}),
        ("b.d=x=y", {"a": 1, "b": {"c": 1, "d": "x=y"}}),
        ("e.f.g=yes", {"a": 1, "b": {"c": 1}, "e": {"f": {"g": True}}}),
        ("b=", {"a": 1, "b": None}),
        ("b.c=<= 5%", {"a": 1, "b": {"c": "<= 5%"}}),
    ],
)
def test_overrides_are_laid_over_the_file(file: Path, override: str, values: object) -> None:
    assert read(file, "a: 1\nb: {c: 1}", override).values == values


def test_of_two_overrides_the_later_one_counts(file: Path) -> None:
    assert read(file, "a: 1", "a=2", "a=3").values == {"a": 3}


@pytest.mark.parametrize("override", ["a", "", "=1", "a.=1", ".a=1", "a..b=1"])
def test_an_override_names_a_key_and_a_value(file: Path, override: str) -> None:
    text = f"--set: a.b=value is needed, but got {override!r}"
    assert refusal(file, "a: 1", override) == text


def test_an_override_below_a_value_is_refused(file: Path) -> None:
    assert refusal(file, "a: 1", "a.b=2") == "--set a.b=2: a holds no keys"
    assert refusal(file, "a: {b: []}", "a.b.c=2") == "--set a.b.c=2: b holds no keys"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("a=[1", "not YAML: expected ',' or ']', but got '<stream end>'"),
        ("a=2001-13-45", "not YAML: month must be in 1..12"),
        (f"a={2**64}", f"{WHOLE}{2**64}"),
        ("a=&a [*a]", ALIAS),
    ],
)
def test_an_override_that_breaks_a_rule_of_yaml_is_refused(
    file: Path, override: str, expected: str
) -> None:
    assert refusal(file, "a: 1", override) == f"--set {override}: {expected}"


@given(st.text())
def test_any_text_is_a_document_or_an_error_of_ours(file: Path, text: str) -> None:
    file.write_bytes(text.encode(errors="surrogatepass"))
    _document_or_error(file)


@given(st.lists(FRAGMENTS, max_size=30).map("".join))
def test_anything_like_yaml_is_a_document_or_an_error_of_ours(file: Path, text: str) -> None:
    file.write_text(text)
    _document_or_error(file)


@given(st.binary())
def test_any_bytes_are_a_document_or_an_error_of_ours(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    _document_or_error(file)


def _document_or_error(file: Path) -> None:
    try:
        document = read_document(file)
    except ExperimentError as error:
        assert str(error).startswith(str(file))
    else:
        assert isinstance(document.values, dict)


def test_a_file_is_written_whole_below_folders_that_are_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.json"
    write_whole(path, "first")
    write_whole(path, "zweitens: größer")
    assert path.read_text(encoding="utf-8") == "zweitens: größer"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("MiniLM", "minilm"),
        ("My first, small model!", "my-first-small-model"),
        ("  a__b  ", "a-b"),
        ("../etc/passwd", "etc-passwd"),
        ("???", "experiment"),
        ("MiniLM (smoke)", "minilm-smoke"),
        ("a" * 200, "a" * 200),
        ("\u6a21\u578b", "experiment-c98e118e"),
        ("Mod\u00e8le v2", "modele-v2-b3d83cd2"),
        ("b" * 201, "b" * 60 + "-" + sha256(b"b" * 201).hexdigest()[:8]),
    ],
)
def test_a_name_becomes_a_file_name(name: str, slug: str) -> None:
    assert slug_of(name) == slug


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("\u6a21\u578b", "\u5b9f\u9a13"),
        ("\u00e9", "e"),
        ("\u00e9", "\u00e8"),
        ("\U0001f680", "\U0001f525"),
        ("\u00df", "ss"),
        ("a" * 250, "a" * 251),
    ],
)
def test_names_of_other_letters_have_other_slugs(one: str, other: str) -> None:
    assert slug_of(one) != slug_of(other)


@pytest.mark.parametrize(
    ("one", "other"), [("\u00c9t\u00e9 1", "\u00e9t\u00e9-1"), ("\u00e9", "e\u0301")]
)
def test_case_separators_and_ways_to_write_a_letter_make_no_difference(
    one: str, other: str
) -> None:
    assert slug_of(one) == slug_of(other)


@given(st.text())
def test_every_name_becomes_a_file_name(name: str) -> None:
    slug = slug_of(name)
    assert slug.strip("abcdefghijklmnopqrstuvwxyz0123456789-") == ""
    assert slug and slug_of(slug) == slug
