"""The conformance suites of the interface `http` find what is wrong."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tunefront.evaluators import builtin_catalog
from tunefront.evaluators.interfaces.endpoint import Endpoint, Facts
from tunefront.evaluators.interfaces.http import ContentEvent, HttpEndpoint, HttpRequest
from tunefront.evaluators.runtimes.base import Built, Deployment, Runtime, Source
from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.testing import http, polled
from tunefront.evaluators.testing.cases import NotConformant
from tunefront.evaluators.workloads.base import EnoughItems, HttpWorkload
from tunefront.evaluators.workloads.quality import Quality
from tunefront.spaces import Configuration, detect_hardware

REQUEST = HttpRequest(method="POST", path="/call")


class Faulty(HttpEndpoint):
    """Answers with a counted number, at a given time; a cancelled request never ends."""

    def __init__(self, arrival_s: float = 1e9, error: str = "") -> None:
        self.number, self.sent = 0, list[int]()
        self.arrival_s, self.error = arrival_s, error

    def submit(self, request: HttpRequest) -> int:
        self.number += 1
        self.sent.append(self.number)
        return self.number

    def poll(self, timeout_s: float) -> Sequence[ContentEvent]:
        sent, self.sent = self.sent, []
        content = str(self.number).encode()
        return [
            ContentEvent(request=one, parts=(content,), arrival_s=self.arrival_s, error=self.error)
            for one in sent
        ]

    def cancel(self, request: int) -> None:
        if not self.error:
            self.sent.remove(request)

    def facts(self) -> Facts:
        return {}


class FaultyRuntime(Runtime):
    """Opens what a test chooses, and exports a script."""

    name = "faulty"

    def __init__(self, endpoint: Endpoint, script: str = "") -> None:
        self.endpoint, self.script = endpoint, script

    def build(
        self, source: Source, configuration: Configuration, folder: Path
    ) -> Mapping[str, object]:
        return {}

    def open(self, built: Built, configuration: Configuration) -> Endpoint:
        return self.endpoint

    def deployment(self, built: Built, configuration: Configuration) -> Deployment | None:
        return Deployment(script=self.script, requirements=()) if self.script else None


class Other(Endpoint):
    def facts(self) -> Facts:
        return {}


def case_of(folder: Path, endpoint: Endpoint, script: str = "") -> http.ServiceCase:
    catalog = builtin_catalog()
    return http.ServiceCase(
        catalog=catalog,
        runtime=FaultyRuntime(endpoint, script),
        configuration=catalog.complete({"runtime": "server"}),
        source=Source(
            module=lambda: pytest.fail("no module"),
            shared=lambda name, make: folder,
            hardware=detect_hardware(),
        ),
        folder=folder,
        requests=(REQUEST,),
    )


@pytest.mark.parametrize(
    ("check", "endpoint", "script", "message"),
    [
        (
            http.every_request_is_answered,
            Other(),
            "",
            "open\\(\\) must return an HttpEndpoint, but returned Other",
        ),
        (http.every_request_is_answered, Faulty(), "", "responses must be the same one at a time"),
        (http.a_cancelled_request_ends, Faulty(), "", "must report the end of a cancelled request"),
        (
            http.a_cancelled_request_ends,
            Faulty(error="lost"),
            "",
            "a cancelled request must not report an error",
        ),
        (
            http.the_script_calls_the_service,
            Faulty(),
            "def load(): ...",
            "the script must define load\\(\\) and run\\(address, request\\), but defines load",
        ),
        (
            http.the_script_calls_the_service,
            Faulty(),
            "import tunefront\ndef load(): ...\ndef run(address, request): ...",
            "the script must not use tunefront",
        ),
    ],
)
def test_what_is_wrong_is_found(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    check: Callable[[http.ServiceCase], None],
    endpoint: Endpoint,
    script: str,
    message: str,
) -> None:
    monkeypatch.setattr(polled, "CANCEL_END_S", 0.05)
    with pytest.raises(NotConformant, match=message):
        check(case_of(tmp_path, endpoint, script))


def test_a_response_before_its_request_is_found(tmp_path: Path) -> None:
    class Early(Faulty):
        def submit(self, request: HttpRequest) -> int:
            self.sent.append(0)
            return 0

    with pytest.raises(NotConformant, match="arrival_s of events must not be before the request"):
        http.every_request_is_answered(case_of(tmp_path, Early(arrival_s=-1.0)))


class Changing(HttpWorkload):
    """A workload with other requests each time, or with a path of its own."""

    task = "changing"

    def __init__(self, path: str = "") -> None:
        self.path, self.calls = path, 0

    def requests(self, batch_size: int, count: int) -> list[HttpRequest]:
        self.calls += 1
        path = self.path or f"/{self.calls}"
        return [replace(REQUEST, path=path) for _ in range(count)]

    def quality(
        self,
        run: HttpEndpoint,
        reference: Mapping[str, Array] | None,
        enough: EnoughItems | None = None,
    ) -> Quality:
        raise AssertionError("not evaluated")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "must return 3 requests, the same ones at every call"),
        ("call", "a request must have a path that begins with a slash"),
    ],
)
def test_wrong_requests_of_a_workload_are_found(path: str, message: str) -> None:
    with pytest.raises(NotConformant, match=message):
        http.a_service_gets_the_same_requests_at_every_call(Changing(path))
