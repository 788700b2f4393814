"""Traces: what is read, what is refused, and what they make of the timed requests."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tunefront.evaluators.interfaces.generation import LoadSpec
from tunefront.evaluators.interfaces.load import Load
from tunefront.evaluators.pipelines.keys import trace_content
from tunefront.evaluators.workloads.sources.trace import Arrival, read_trace
from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.evaluators.workloads.text_generation.workload import TextGeneration
from tunefront.spaces import WorkloadError

ROWS = (
    {"at_s": 100.0, "input_tokens": 12, "output_tokens": 3},
    {"at_s": 100.25},
    {"at_s": 101, "output_tokens": 5},
)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "arrivals.jsonl"
    path.write_text("\n".join([*map(json.dumps, ROWS), "", ""]))
    return path


def spec_with(chat_spec: WorkloadSpec, trace: Path, **more: int) -> WorkloadSpec:
    return replace(chat_spec, load=LoadSpec(trace=str(trace), **more))  # type: ignore[arg-type]


def test_times_are_those_since_the_first_request(trace: Path) -> None:
    assert read_trace(trace) == (
        Arrival(at_s=0.0, input_tokens=12, output_tokens=3),
        Arrival(at_s=0.25),
        Arrival(at_s=1.0, output_tokens=5),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"at_s": 1}\nnonsense', "row 2: not JSON (Expecting value); write {"),
        ('{"at_s": 1}\n\n[3]', "row 3: an object with at_s is needed, such as {"),
        ('{"input_tokens": 4}', "row 1: an object with at_s is needed"),
        ('{"at_s": "soon"}', "row 1: at_s must be a number of seconds, but got 'soon'"),
        ('{"at_s": NaN}', "row 1: at_s must be a number of seconds, but got nan"),
        ('{"at_s": 0, "input": 4}', "row 1: unknown key 'input'; known: at_s, input_tokens"),
        (
            '{"at_s": 0, "output_tokens": 0}',
            "row 1: output_tokens must be a whole number from 1, but got 0; or leave the key out",
        ),
        (
            '{"at_s": 2}\n{"at_s": 1.5}',
            "row 2: at_s must not be before that of the row above, 2, but got 1.5; sort the rows",
        ),
        ('{"at_s": 2}', "requests at two different times are needed at least, but got 1 at the"),
        ('{"at_s": 2}\n{"at_s": 2}', "but got 2 at the same; add rows, or write concurrency"),
    ],
)
def test_a_bad_row_is_refused_with_its_number(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "arrivals.jsonl"
    path.write_text(text)
    with pytest.raises(WorkloadError, match=re.escape(message)):
        read_trace(path)


def test_a_missing_trace_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match=r"load\.trace: .*nowhere.jsonl can't be read"):
        read_trace(tmp_path / "nowhere.jsonl")


def test_the_rows_are_the_timed_requests(chat_spec: WorkloadSpec, trace: Path) -> None:
    workload = TextGeneration(spec_with(chat_spec, trace, output_tokens=8))
    assert workload.loads() == (Load(times_s=(0.0, 0.25, 1.0)),)
    requests = workload.requests(1, 3)
    assert [one.new_tokens for one in requests] == [3, 8, 5]
    assert len(requests[0].prompt) == 12
    assert "the trace has 3 requests in 1 s" in workload.notes()[0]


@pytest.mark.parametrize(
    ("row", "more", "message"),
    [
        (
            {"input_tokens": 60, "output_tokens": 8},
            {},
            "load.trace: request 2: 60 input tokens and 8 output tokens are more than the 64",
        ),
        (
            {"input_tokens": 4},
            {"shared_prefix": 4},
            "load.trace: request 2: input_tokens must be above shared_prefix, 4, but got 4",
        ),
    ],
)
def test_a_request_that_does_not_fit_is_refused(
    chat_spec: WorkloadSpec, tmp_path: Path, row: dict[str, int], more: dict[str, int], message: str
) -> None:
    path = tmp_path / "arrivals.jsonl"
    path.write_text('{"at_s": 0}\n' + json.dumps({"at_s": 1, **row}))
    workload = TextGeneration(spec_with(chat_spec, path, output_tokens=8, **more))
    with pytest.raises(WorkloadError, match=re.escape(message)):
        workload.requests(1, 1)


def test_prompts_share_a_prefix_and_end_in_their_own(chat_spec: WorkloadSpec) -> None:
    load = LoadSpec(concurrency=(2,), shared_prefix=6, input_tokens=10, output_tokens=4)
    workload = TextGeneration(replace(chat_spec, load=load))
    requests = workload.requests(1, 4)
    assert {len(one.prompt) for one in requests} == {10}
    assert len({one.prompt[:6] for one in requests}) == 1
    assert {one.shared for one in requests} == {6}
    assert len({one.prompt for one in requests}) == 4
    assert "they begin with 6 tokens that all of them share" in workload.notes()[0]
    plain = TextGeneration(replace(chat_spec, load=replace(load, input_tokens=None)))
    own = TextGeneration(replace(chat_spec, load=LoadSpec(output_tokens=4))).requests(1, 4)
    assert [one.prompt[6:] for one in plain.requests(1, 4)] == [one.prompt for one in own]


def test_the_content_of_a_trace_is_known_by_its_hash(chat_spec: WorkloadSpec, trace: Path) -> None:
    spec = spec_with(chat_spec, trace)
    before = trace_content(spec)
    trace.write_text(trace.read_text().replace("0.25", "0.5"))
    assert trace_content(spec) != before
    assert trace_content(chat_spec) == ""
