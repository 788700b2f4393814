"""Requests over HTTP: templates that rows fill, paths into responses, and values compared."""

import json
import math
from typing import Any

import pytest

from tunefront.evaluators.interfaces.http import HttpRequest, RequestTemplate
from tunefront.evaluators.interfaces.http.agreement import value_agreement
from tunefront.evaluators.interfaces.http.response_path import json_value, value_at
from tunefront.spaces import EvaluationError, WorkloadError

RESPONSE: dict[str, Any] = {"data": [{"embedding": [1.0, 2.0], "index": 0}], "model": "m"}


def filled(row: dict[str, object], **template: Any) -> HttpRequest:
    return RequestTemplate(**{"path": "/call", **template}).filled(row, "data", "row 1 of rows")


def test_a_whole_placeholder_keeps_its_type_and_others_become_text() -> None:
    body = {
        "input": "{text}",
        "size": "{dims}",
        "nested": [{"on": "{flag}"}, 3, None],
        "said": "{dims} of {text} {not closed",
        "{text}": "{rest}",
    }
    row = {"text": "a {b}", "dims": 64, "flag": True, "rest": [1, {"x": None}]}
    found = filled(row, body=body)
    assert json.loads(found.body) == {
        "input": "a {b}",
        "size": 64,
        "nested": [{"on": True}, 3, None],
        "said": "64 of a {b} {not closed",
        "{text}": [1, {"x": None}],
    }
    assert (found.method, found.path, found.response) == ("POST", "/call", "data")


def test_the_path_is_encoded_and_headers_are_filled() -> None:
    template = RequestTemplate(
        path="/of/{name}?query={text}", method="GET", headers={"X-Size": "{dims} px"}
    )
    assert template.columns == ("name", "text", "dims")
    found = template.filled({"name": "a/b", "text": "ä & b", "dims": 3}, "", "row 1")
    assert found.path == "/of/a%2Fb?query=%C3%A4%20%26%20b"
    assert (found.headers, found.body) == ({"X-Size": "3 px"}, "")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ({"path": "v1"}, "request.path: a path such as /v1/embeddings is needed, but got 'v1'"),
        (
            {"method": "PSOT"},
            "request.method: unknown value 'PSOT'; did you mean 'POST'?; methods are GET, POST",
        ),
        ({"method": "GET", "body": {}}, "request.body: a GET request has no body; write the"),
        ({"headers": {"X Y": "1"}}, "request.headers: a name consists of letters, digits and"),
        ({"headers": {"Host": "h"}}, "request.headers: Host is set by the client; remove the key"),
        (
            {"headers": {"authorization": "Bearer x"}},
            "request.headers: the value of authorization would be recorded; name the environment",
        ),
    ],
)
def test_a_wrong_template_is_refused(template: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        RequestTemplate(**{"path": "/call", **template})
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("template", "row", "message"),
    [
        (
            {"path": "/a b"},
            {},
            "request.path: row 1 of rows: spaces and other characters than those of ASCII must",
        ),
        (
            {"headers": {"X-Row": "{text}"}},
            {"text": "two\nlines"},
            "request.headers.X-Row: row 1 of rows: a header is one line of ASCII characters, but",
        ),
        (
            {"body": {"input": "{text}"}},
            {"text": b"bytes"},
            "request.body: row 1 of rows: a value can't be written as JSON: Object of type bytes",
        ),
    ],
)
def test_a_row_that_cannot_be_sent_is_refused(
    template: dict[str, Any], row: dict[str, object], message: str
) -> None:
    with pytest.raises(WorkloadError) as caught:
        filled(row, **template)
    assert str(caught.value).startswith(message)


def test_a_path_leads_through_keys_and_indices() -> None:
    assert value_at(RESPONSE, "data.0.embedding.1") == 2.0
    assert value_at(RESPONSE, "") is RESPONSE
    assert value_at({"a": None}, "a") is None


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("date", "'date' is missing: its keys are data, model"),
        ("data.0.vector", "'vector' is missing in data.0: its keys are embedding, index"),
        ("data.1", "'1' is missing in data: it is a list of 1"),
        ("data.first", "'first' is missing in data: it is a list of 1"),
        ("model.name", "'name' is missing in model: it is \"m\""),
    ],
)
def test_a_missing_value_is_named_with_what_is_there(path: str, message: str) -> None:
    with pytest.raises(LookupError) as caught:
        value_at(RESPONSE, path)
    assert caught.value.args[0] == message


def test_numbers_that_json_does_not_have_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN is no JSON number"):
        json_value(b'{"a": NaN}')


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b'{"date": 1}',
            "the response to POST /call has no 'data': 'data' is missing: its keys are date; "
            "correct workload.response",
        ),
        (b"<html>", "the response to POST /call is not JSON (Expecting value: line 1 column 1"),
        (b"\xff", "the response to POST /call is not JSON ("),
    ],
)
def test_an_unusable_response_is_an_error(content: bytes, message: str) -> None:
    with pytest.raises(EvaluationError) as caught:
        filled({}).timed_response([content], [0.1])
    assert str(caught.value).startswith(message)
    assert caught.value.cause == "invalid output"


@pytest.mark.parametrize(
    ("value", "expected", "agreement"),
    [
        ([3.0, 4.0], [6.0, 8.0], 1.0),
        ([1.0, 0.0], [1.0, 1.0], math.sqrt(0.5)),
        ([1, 0], [-1, 0], -1.0),
        ([[1, 0], [0, 1]], [[1, 0], [0, 1]], 1.0),
        ([0.0, 0.0], [0.0, 0.0], 1.0),
        ([0.0, 0.0], [1.0, 0.0], 0.0),
        ([1.0, 2.0], [1.0, 2.0, 3.0], 0.0),
        ([[1.0], [2.0, 3.0]], [[1.0], [2.0, 3.0]], 1.0),
        ([[1.0], [2.0, 3.0]], [[1.0], [2.0, 4.0]], 0.0),
        ([True, False], [True, True], 0.0),
        ("a", "a", 1.0),
        ("a", "b", 0.0),
        ({"x": [1, 2]}, {"x": [1, 2]}, 1.0),
        (None, 0, 0.0),
        ([], [], 1.0),
    ],
)
def test_agreement_is_a_cosine_of_numbers_and_equality_of_all_else(
    value: object, expected: object, agreement: float
) -> None:
    assert value_agreement(value, expected) == pytest.approx(agreement)
