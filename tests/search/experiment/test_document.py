"""Experiment files as text: lines, repeated keys, overrides, and nothing but our own errors."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunefront.search.experiment.document import Document, find_experiment, read_document, slug_of
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
        ("a: 2001-13-45", "FILE: not YAML: month must be in 1..12"),
        ("[" * 3000, "FILE: not YAML: maximum recursion depth exceeded"),
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


def test_an_override_that_is_not_yaml_is_refused(file: Path) -> None:
    assert refusal(file, "a: 1", "a=[1").startswith("--set a=[1: not YAML: while parsing")


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
    ],
)
def test_a_name_becomes_a_file_name(name: str, slug: str) -> None:
    assert slug_of(name) == slug


@given(st.text())
def test_every_name_becomes_a_file_name(name: str) -> None:
    slug = slug_of(name)
    assert slug.strip("abcdefghijklmnopqrstuvwxyz0123456789-") == ""
    assert slug and slug_of(slug) == slug
