"""The result on a narrow terminal: nothing is cut, no word is broken."""

import io
from collections.abc import Callable

import pytest

from tunefront.search import Experiment, Result, Trial, result_of
from tunefront.search.study.confirmation import Confirmation
from tunefront.search.terminal.narrow import fitted, narrow_front_table


@pytest.fixture
def result(load: Callable[..., Experiment], trial: Callable[..., Trial]) -> Result:
    rows = [(35.66, 380.4, 0.0), (184.1, 206.3, 0.4), (184.2, 206.4, 0.4), (107.1, 103.0, 0.8)]
    choices = {
        "runtime": "openvino",
        "precision": "bf16",
        "quantization_bits": 8,
        "quantization_method": "rtn",
    }
    trials = [
        trial(n, {**choices, "batch_size": n + 1, "threads": 2}, throughput=t, peak_memory_mb=m,
              perplexity=10.0, quality_drop=d)
        for n, (t, m, d) in enumerate(rows)
    ]  # fmt: skip
    three = "objectives={throughput: maximize, peak_memory_mb: minimize, perplexity: minimize}"
    return result_of(load(three), trials, Confirmation(rounds={}))


def test_the_table_fits_eighty_columns_with_whole_words(result: Result) -> None:
    from rich.console import Console

    stream = io.StringIO()
    Console(file=stream, width=80).print(narrow_front_table(result))
    text = stream.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    names = ("recommended", "baseline", "throughput", "perplexity")
    words = (*names, "184", "380", "ov", "w8", "rtn")
    assert [word for word in words if word not in text.split()] == []
    assert "001 =2" in text or "002 =1" in text
    assert "items/s" in text


def test_lines_that_fit_stay_as_they_are() -> None:
    lines = ["  recommended, fastest, highest quality, knee  017 a: b", "", "  x"]
    assert fitted(lines, 80) == lines


def test_long_lines_are_broken_below_the_beginning_of_their_text() -> None:
    assert fitted(
        ["  smallest  050 onnxruntime: 3x faster and 2x less memory", "", "  short"], 30
    ) == [
        "  smallest  050 onnxruntime:",
        "            3x faster and 2x",
        "            less memory",
        "",
        "  short",
    ]


def test_what_is_reported_of_a_long_name_stands_below_it() -> None:
    names = "recommended, fastest, highest quality"
    lines = [f"  {names}  017 torch b8: 7.7x faster", f"  {'':{len(names)}}  best of all"]
    assert fitted(lines, 50) == [
        f"  {names}",
        "      017 torch b8: 7.7x faster",
        "      best of all",
    ]
