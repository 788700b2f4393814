"""The runtime `server` with the interface `http`: its contract, its failures, its export."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tunefront.evaluators import catalog_of
from tunefront.evaluators.exports.open import runtime_of
from tunefront.evaluators.interfaces.http import Http, RequestTemplate
from tunefront.evaluators.interfaces.polled.load_generator import run_requests
from tunefront.evaluators.interfaces.polled.server_spec import ServerSpec
from tunefront.evaluators.runtimes.base import Source
from tunefront.evaluators.testing.cases import kept_below
from tunefront.evaluators.testing.http import SERVICE_CHECKS, ServiceCase
from tunefront.spaces import EvaluationError, detect_hardware

SERVICE = Path(__file__).with_name("tiny_service.py")
COMMAND = f"{sys.executable} {SERVICE} --port {{port}} --workers={{workers}}"
DECLARED: Mapping[str, Mapping[str, object]] = {"workers": {"values": [1, 2], "stage": "execution"}}
CATALOG = catalog_of((), DECLARED)
TEMPLATE = RequestTemplate(path="/v1/embeddings", body={"input": "{text}"})
RESPONSE = "data.0.embedding"
OpenCase = Callable[..., ServiceCase]


@pytest.fixture
def service_case(tmp_path: Path) -> OpenCase:
    """Returns a case with further flags of the service, and the texts of its requests."""

    def make(
        flags: str = "", *texts: str, unchanged: Path | None = None, **keys: Any
    ) -> ServiceCase:
        server = ServerSpec(**{"command": f"{COMMAND} {flags}", "start_s": 60.0, **keys})
        (tmp_path / "built").mkdir(exist_ok=True)
        rows = [{"text": text} for text in texts or ("one", "two", "three")]
        return ServiceCase(
            catalog=CATALOG,
            runtime=runtime_of(CATALOG, "server"),
            configuration=CATALOG.complete({"runtime": "server", "workers": 2}),
            source=Source(
                module=lambda: pytest.fail("no module"),
                shared=partial(kept_below, tmp_path / "shared"),
                hardware=detect_hardware(),
                interface="http",
                unchanged=unchanged,
                server=server,
            ),
            folder=tmp_path / "built",
            requests=tuple(TEMPLATE.filled(row, RESPONSE, "row") for row in rows),
        )

    return make


@pytest.mark.parametrize("check", SERVICE_CHECKS)
def test_it_keeps_the_contract(
    service_case: OpenCase, check: Callable[[ServiceCase], None]
) -> None:
    check(service_case())


def test_a_status_of_success_is_not_only_200(service_case: OpenCase) -> None:
    assert service_case("", "created").run()[0].value == [1.0]


@pytest.mark.parametrize(
    ("text", "cause", "message"),
    [
        (
            "busy",
            "exception",
            'a request failed: POST /v1/embeddings: status 503: {"detail": "no worker is free"}',
        ),
        (
            "broken",
            "exception",
            "a request failed: POST /v1/embeddings: the response broke off: ",
        ),
        (
            "page",
            "invalid output",
            "the response to POST /v1/embeddings is not JSON (Expecting value: line 1 column 1 "
            "(char 0)): '<html>'",
        ),
        (
            "other",
            "invalid output",
            "the response to POST /v1/embeddings has no 'data.0.embedding': 'embedding' is missing "
            "in data.0: its keys are index, vector; correct workload.response",
        ),
    ],
)
def test_a_failed_request_names_its_cause(
    service_case: OpenCase, monkeypatch: pytest.MonkeyPatch, text: str, cause: str, message: str
) -> None:
    from tunefront.evaluators.runtimes.server import endpoint

    monkeypatch.setattr(endpoint, "CRASH_S", 0.1)
    with pytest.raises(EvaluationError) as caught:
        service_case("", text).run()
    assert str(caught.value).startswith(message)
    assert caught.value.cause == cause


def test_the_end_of_the_server_is_the_cause(service_case: OpenCase) -> None:
    import psutil

    case = service_case()
    with closing(case.open()) as endpoint:
        pids = endpoint.processes()
        assert pids is not None
        psutil.Process(pids[0]).terminate()
        with pytest.raises(EvaluationError, match="the server ended with signal 15 while it"):
            while True:
                run_requests(endpoint, case.requests)


def test_a_server_elsewhere_is_called_with_its_key(
    service_case: OpenCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVICE_KEY", "open-sesame")
    case = service_case("--key open-sesame", api_key="SERVICE_KEY")
    with closing(case.open()) as here:
        address = here._streams  # type: ignore[attr-defined]
        url = f"http://{address._host}:{address._port}"
        elsewhere = service_case(command="", url=url, api_key="SERVICE_KEY")
        with closing(elsewhere.open()) as endpoint:
            assert endpoint.processes() is None
            assert endpoint.facts() == {"runtime": "server"}
            found = run_requests(endpoint, elsewhere.requests)
        assert elsewhere.runtime.deployment(elsewhere.built, case.configuration) is None
        keyless = service_case(command="", url=url)
        with pytest.raises(EvaluationError, match="status 401: "):
            keyless.run()
    assert len(found) == 3


def test_values_of_a_row_are_in_the_path_and_the_headers(service_case: OpenCase) -> None:
    template = RequestTemplate(
        path="/sum?number={first}&number=2", method="GET", headers={"X-Row": "row {first}"}
    )
    request = template.filled({"first": 40}, "", "row")
    with closing(service_case().open()) as endpoint:
        assert run_requests(endpoint, [request])[0].value == {"sum": 42, "header": "row 40"}


def test_the_model_is_linked_and_the_script_calls_it(
    service_case: OpenCase, tmp_path: Path
) -> None:
    (tmp_path / "model" / "inner").mkdir(parents=True)
    (tmp_path / "model" / "inner" / "weights.bin").write_bytes(b"123")
    case = service_case("--model {model}", unchanged=tmp_path / "model")
    assert (case.built.folder / "model" / "inner" / "weights.bin").read_bytes() == b"123"
    deployment = case.runtime.deployment(case.built, case.configuration)
    assert deployment is not None and deployment.requirements == ()
    assert '--model "$HERE/model"' in deployment.files["serve.sh"]
    run = case.built.folder / "run.py"
    run.write_text(deployment.script + Http().sample_script())
    (response,) = case.run()[:1]
    Http().write_sample(case.requests[0], response, case.built.folder)
    command = [sys.executable, "-I", str(run)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout == "POST /v1/embeddings | as recorded\n"
    sample = json.loads((case.built.folder / "sample.json").read_text())
    (case.built.folder / "sample.json").write_text(json.dumps({**sample, "response": [0.0]}))
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout == "POST /v1/embeddings | different\n"
