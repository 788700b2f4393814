"""The task `http`: rows as requests, and how responses are compared."""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tunefront.evaluators import WorkloadSpec, build_workload
from tunefront.evaluators.interfaces.endpoint import Facts
from tunefront.evaluators.interfaces.generation import LoadSpec, ServerSpec
from tunefront.evaluators.interfaces.http import (
    ContentEvent,
    HttpEndpoint,
    HttpRequest,
    RequestTemplate,
)
from tunefront.evaluators.isolation.codec import from_plain, to_plain
from tunefront.evaluators.testing.http import HTTP_WORKLOAD_CHECKS
from tunefront.evaluators.workloads.base import HttpWorkload
from tunefront.evaluators.workloads.http.workload import HttpService
from tunefront.spaces import Configuration, EvaluationError, WorkloadError

ROWS = [{"text": f"text {number}", "dims": 3, "answer": number % 2} for number in range(40)]
Values = Callable[[dict[str, Any]], object]


class Answering(HttpEndpoint):
    """Answers each request at once with a value that depends on its body."""

    def __init__(self, value: Values) -> None:
        self.value = value
        self.sent: list[HttpRequest] = []

    def submit(self, request: HttpRequest) -> int:
        self.sent.append(request)
        return len(self.sent)

    def poll(self, timeout_s: float) -> Sequence[ContentEvent]:
        content = json.dumps({"value": self.value(json.loads(self.sent[-1].body))}).encode()
        return [ContentEvent(request=len(self.sent), parts=(content,), arrival_s=1e9)]

    def cancel(self, request: int) -> None:
        return

    def facts(self) -> Facts:
        return {}


def vector(body: dict[str, Any]) -> object:
    return [float(len(body["input"])), 1.0, 2.0, 3.0, 4.0]


def number_of(body: dict[str, Any]) -> object:
    return int(body["input"].removeprefix("text ")) % 2


@pytest.fixture
def spec(tmp_path: Path) -> WorkloadSpec:
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    return WorkloadSpec(
        task="http",
        folder=str(tmp_path),
        data="rows.jsonl",
        server=ServerSpec(command="serve --port {port}", folder=str(tmp_path)),
        request=RequestTemplate(path="/call", body={"input": "{text}", "dims": "{dims}"}),
        response="value",
    )


def without_answers(spec: WorkloadSpec) -> WorkloadSpec:
    rows = [{"text": row["text"], "dims": row["dims"]} for row in ROWS]
    spec.path("rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return spec


@pytest.mark.parametrize("check", HTTP_WORKLOAD_CHECKS)
def test_it_keeps_the_contract(spec: WorkloadSpec, check: Callable[[HttpWorkload], None]) -> None:
    check(HttpService(spec))


def test_it_crosses_processes(spec: WorkloadSpec) -> None:
    assert from_plain(WorkloadSpec, json.loads(json.dumps(to_plain(spec)))) == spec
    assert isinstance(build_workload(spec), HttpService)


def test_requests_are_those_of_rows(spec: WorkloadSpec) -> None:
    found = HttpService(spec).requests(8, 40)
    bodies = [json.loads(one.body) for one in found]
    assert sorted(one["input"] for one in bodies) == sorted(str(row["text"]) for row in ROWS)
    assert {one["dims"] for one in bodies} == {3}
    assert {(one.method, one.path, one.response) for one in found} == {("POST", "/call", "value")}


def test_the_reference_agrees_with_itself_and_others_by_cosine(spec: WorkloadSpec) -> None:
    workload = HttpService(without_answers(spec))
    reference = workload.quality(Answering(vector), None)
    assert reference.metrics["response_agreement"].value == 1.0
    assert list(reference.metrics) == ["response_agreement"]
    same = workload.quality(Answering(vector), reference.predictions)
    assert same.metrics["response_agreement"].value == pytest.approx(1.0)
    other = Answering(lambda body: [1.0, *[0.0] * 4])
    found = workload.quality(other, reference.predictions)
    lengths = np.array([len(str(row["text"])) for row in ROWS])
    assert found.items == pytest.approx(lengths / np.sqrt(lengths**2 + 30.0))
    (first, *_) = workload.samples(other, found)
    assert first.input == f"text: text {first.item}, dims: 3"
    assert first.output == "[1, 0, 0, 0, ...] (5 numbers)"
    assert first.expected.endswith("1, 2, 3, ...] (5 numbers)")
    assert first.score == pytest.approx(found.items[first.item], abs=1e-4)
    assert (first.score_name, first.right) == ("response_agreement", None)


def test_a_part_of_the_rows_can_decide(spec: WorkloadSpec) -> None:
    spec.path("rows.jsonl").write_text("\n".join(map(json.dumps, ROWS * 8)))
    workload = HttpService(spec)
    reference = workload.quality(Answering(number_of), None)
    found = workload.quality(
        Answering(number_of), reference.predictions, lambda items, weights: True
    )
    assert 0 < found.weights.sum() < 320
    assert len(workload.samples(Answering(number_of), found)) == 12


def test_answers_are_compared(spec: WorkloadSpec) -> None:
    workload = HttpService(spec)
    assert [metric.name for metric in workload.metrics] == ["response_agreement", "exact_match"]
    right = workload.quality(Answering(number_of), None)
    assert right.metrics["exact_match"].value == 1.0
    wrong = workload.quality(Answering(lambda body: 1), right.predictions)
    assert wrong.metrics["exact_match"].value == 0.5
    assert wrong.metrics["response_agreement"].value == 0.5
    sample = workload.samples(Answering(lambda body: 1), wrong)[0]
    assert (sample.output, sample.expected) == ("1", str(sample.item % 2))
    assert sample.right == (sample.item % 2 == 1) and sample.score is None


def test_tables_hold_numbers_as_text_and_texts_are_normalized(spec: WorkloadSpec) -> None:
    lines = ["text,dims,answer", "a,3,7", "b,3,The end."]
    spec.path("rows.csv").write_text("\n".join(lines))
    workload = HttpService(replace(spec, data="rows.csv"))
    values = {"a": 7, "b": "the end"}
    found = workload.quality(Answering(lambda body: values[body["input"]]), None)
    assert found.metrics["exact_match"].value == 1.0


def test_without_answers_the_reason_is_named(spec: WorkloadSpec) -> None:
    workload = HttpService(without_answers(spec))
    assert workload.metrics_left_out() == {
        "exact_match": "the data has no column 'answer' to compare responses with"
    }
    assert HttpService(replace(spec, columns={"answer": "dims"})).metrics_left_out() == {}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"dims": 1}, "rows.jsonl:2: column 'text' is missing; the columns are dims; name the"),
        ({"text": " ", "dims": 1}, "rows.jsonl:2: column 'text' is blank"),
        ({"text": "a", "dims": None}, "rows.jsonl:2: column 'dims' is missing"),
    ],
)
def test_a_row_without_a_value_is_refused(
    spec: WorkloadSpec, row: dict[str, object], message: str
) -> None:
    lines = [json.dumps({"text": "a", "dims": 1}), json.dumps(row)]
    spec.path("rows.jsonl").write_text("\n".join(lines))
    with pytest.raises(WorkloadError, match="data: ") as caught:
        HttpService(spec).requests(1, 1)
    if row.get("dims") is None:
        message = message.replace("missing", "blank")
    assert message in str(caught.value)


def test_columns_can_have_other_names(spec: WorkloadSpec) -> None:
    named = replace(spec, columns={"text": "dims"})
    assert json.loads(HttpService(named).requests(1, 1)[0].body)["input"] == 3
    with pytest.raises(WorkloadError, match="columns: task http has text, dims, answer, but got"):
        replace(spec, columns={"label": "dims"})


def test_the_users_function_gives_the_primary_metric(
    spec: WorkloadSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = "own_scores_of_a_service"
    spec.path(f"{module}.py").write_text(
        "def score(respond, configuration):\n"
        "    values = respond([{'text': 'text 3', 'dims': 1}, {'text': 'text 4', 'dims': 1}])\n"
        "    return [value + configuration['threads'] for value in values]\n"
        "def wrong(respond):\n"
        "    respond([{'text': 'a'}])\n"
    )
    monkeypatch.setattr(sys, "path", [*sys.path])
    own = replace(spec, quality=f"{module}:score", metric="hits")
    workload = HttpService(own)
    workload.configure(Configuration({"threads": 2}))
    assert workload.primary.name == "hits"
    assert not workload.files_are_complete
    assert spec.path(f"{module}.py") in workload.files()
    found = workload.quality(Answering(number_of), None)
    assert found.items.tolist() == [3.0, 2.0]
    assert found.metrics["hits"].value == 2.5
    assert found.metrics["exact_match"].value == 1.0
    assert len(workload.samples(Answering(number_of), found)) == 12
    failing = HttpService(replace(own, quality=f"{module}:wrong"))
    with pytest.raises(WorkloadError, match="must call respond with rows that have text, dims,"):
        failing.quality(Answering(number_of), None)
    with pytest.raises(WorkloadError, match="metric: response_agreement is a metric of task http"):
        HttpService(replace(own, metric="response_agreement")).metrics  # noqa: B018


def test_files_are_data_model_and_what_the_command_names(spec: WorkloadSpec) -> None:
    folder = Path(spec.folder)
    (folder / "serve.py").write_text("")
    (folder / "weights").mkdir()
    command = "python {folder}/serve.py --port {port} --model {model} --n {n}"
    server = ServerSpec(command=command, folder=spec.folder)
    workload = HttpService(replace(spec, server=server, model="weights"))
    assert workload.checkpoint() == folder / "weights"
    assert set(workload.files()) == {
        folder / "rows.jsonl",
        folder / "weights",
        folder / "serve.py",
    }
    assert HttpService(spec).checkpoint() is None
    missing = HttpService(replace(spec, server=server, model="./gone"))
    with pytest.raises(WorkloadError, match="model: './gone' is neither a folder"):
        missing.checkpoint()


def test_a_trace_has_times_only(spec: WorkloadSpec) -> None:
    spec.path("trace.jsonl").write_text('{"at_s": 1.0}\n{"at_s": 1.5}\n')
    replayed = HttpService(replace(spec, load=LoadSpec(trace="trace.jsonl")))
    assert replayed.loads()[0].times_s == (0.0, 0.5)
    assert replayed.notes() == ("the trace has 2 requests in 0.5 s",)
    spec.path("trace.jsonl").write_text('{"at_s": 1.0}\n{"at_s": 1.5, "input_tokens": 3}\n')
    with pytest.raises(WorkloadError, match="load.trace: request 2 has a number of tokens, but"):
        HttpService(replace(spec, load=LoadSpec(trace="trace.jsonl"))).loads()
    assert HttpService(spec).notes() == ()


def test_a_service_has_no_module(spec: WorkloadSpec) -> None:
    with pytest.raises(EvaluationError, match="task http has no torch module"):
        HttpService(spec).load_module()
