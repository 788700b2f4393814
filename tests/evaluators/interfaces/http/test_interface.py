"""The interface `http`: files, comparison, and its metrics by a clock that is counted."""

import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import pytest

from tunefront.evaluators.interfaces.builtin import RequestSet, interface_of, timing_of
from tunefront.evaluators.interfaces.endpoint import Facts
from tunefront.evaluators.interfaces.http import (
    HTTP_METRICS,
    ContentEvent,
    Http,
    HttpEndpoint,
    HttpRequest,
    HttpResponse,
)
from tunefront.evaluators.interfaces.load import Load
from tunefront.evaluators.interfaces.polled.capacity_probe import run_probe
from tunefront.evaluators.interfaces.polled.load_generator import run_requests
from tunefront.spaces import EvaluationError, ExportError
from tunefront.spaces.metric import reference_rate

REQUESTS = [
    HttpRequest(method="POST", path="/call", body=f'{{"n": {number}}}', response="value")
    for number in range(4)
]
SECONDS = 0.1


class Service(HttpEndpoint):
    """Each worker answers one request at a time; `time.perf_counter` is the service's clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, workers: int = 1) -> None:
        self.now = 0.0
        self.free = [0.0] * workers
        self.waiting: deque[tuple[float, int]] = deque()
        self.received: list[HttpRequest] = []
        self.content, self.error = b'{"value": [1.0, 2.0]}', ""
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(time, "process_time", lambda: 0.0)

    def submit(self, request: HttpRequest) -> int:
        self.received.append(request)
        worker = min(range(len(self.free)), key=self.free.__getitem__)
        self.free[worker] = max(self.free[worker], self.now) + SECONDS
        self.waiting.append((self.free[worker], len(self.received)))
        return len(self.received)

    def poll(self, timeout_s: float) -> Sequence[ContentEvent]:
        if not self.waiting or self.waiting[0][0] > self.now + timeout_s:
            self.now += timeout_s
            return []
        self.now, number = max(self.now, self.waiting[0][0]), self.waiting[0][1]
        self.waiting.popleft()
        parts = () if self.error else (self.content,)
        return [ContentEvent(request=number, parts=parts, arrival_s=self.now, error=self.error)]

    def cancel(self, request: int) -> None:
        self.waiting = deque(one for one in self.waiting if one[1] != request)
        self.waiting.appendleft((self.now, request))

    def facts(self) -> Facts:
        return {}

    def processes(self) -> Sequence[int]:
        return ()


class NoWatch:
    """A clock of CPU time that is always 0."""

    def start(self) -> None:
        return

    def stop(self) -> tuple[float, float]:
        return 0.0, 0.0


def measured(service: Service, load: Load, slo: dict[str, float]) -> dict[str, float]:
    made = RequestSet(interface=Http(), load=load, requests=REQUESTS, slo=slo)
    blocks = [
        [Http().run_block(service, REQUESTS, made.load_of(turn), 1.0, NoWatch())]
        for turn in range(3)
    ]
    timing = timing_of(made, blocks)
    assert Http().warnings(timing, cores=1) == ()
    assert list(Http().distributions(timing)) == ["e2e_latency_ms"]
    return {name: one.value for name, one in Http().measurements(timing).items()}


def test_metrics_are_those_of_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers, four in progress: a request waits as long as it is worked on."""
    load, slo = Load(concurrency=4), {"e2e_latency_ms": 250.0}
    found = measured(Service(monkeypatch, workers=2), load, slo)
    assert list(found) == [metric.name for metric in HTTP_METRICS]
    assert found["requests_per_second"] == pytest.approx(20.0)
    for name in ("e2e_latency_ms", "e2e_latency_p90_ms", "e2e_latency_p99_ms"):
        assert found[name] == pytest.approx(200.0)
    assert found["goodput"] == pytest.approx(20.0)
    tight = measured(Service(monkeypatch, workers=2), load, {"e2e_latency_ms": 150.0})
    assert tight["goodput"] == 0.0
    assert "goodput" not in measured(Service(monkeypatch), Load(), {})


def test_the_rate_of_requests_is_what_speed_ups_are_ratios_of() -> None:
    rate = reference_rate(Http().metrics)
    assert rate is not None and rate.name == "requests_per_second"
    assert Http().size(REQUESTS).items == 4


def test_requests_are_repeated_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(monkeypatch)
    Http().run_block(service, REQUESTS, Load(), 0.0, NoWatch())
    assert set(map(str, service.received)) == set(map(str, REQUESTS))


def test_the_capacity_is_where_requests_wait_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers: with two in progress none waits, with four each waits as long as it takes."""
    shares = []
    for level in (2.0, 4.0):
        found = run_probe(
            Service(monkeypatch, workers=2),
            REQUESTS,
            {"e2e_latency_ms": 150.0},
            "concurrency",
            level,
            5.0,
            0,
            Http().repeated,
        )
        assert found is not None
        shares.append(found.probe.share)
    assert shares == [1.0, 0.0]


def test_a_probe_shorter_than_a_request_waits_for_one_that_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slo = {"e2e_latency_ms": 500.0}
    service = Service(monkeypatch)
    submit = service.submit

    def slow(request: HttpRequest) -> int:
        service.now += 0.05  # longer than twice the probe
        return submit(request)

    monkeypatch.setattr(service, "submit", slow)
    found = run_probe(service, REQUESTS, slo, "concurrency", 1.0, 0.02, 0, Http().repeated)
    assert found is not None and found.probe.share == 1.0


def test_a_failed_request_is_an_error_with_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(monkeypatch)
    service.error = "POST /call: status 503: busy"
    with pytest.raises(EvaluationError, match="a request failed: POST /call: status 503: busy"):
        Http().respond(service, REQUESTS[0])


def test_a_content_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(monkeypatch)
    found = run_requests(service, REQUESTS, Load(concurrency=2))
    assert [one.value for one in found] == [[1.0, 2.0]] * 4
    assert [one.arrival_s[0] for one in found] == pytest.approx([0.1, 0.2, 0.2, 0.2])


def test_metrics_of_tokens_have_a_reason() -> None:
    found = Http().not_measured({}, None)
    for name in ("ttft_ms", "tpot_p99_ms", "output_tokens_per_second", "input_tokens_per_second"):
        assert found[name] == (
            "responses over HTTP have no tokens; use e2e_latency_ms or requests_per_second"
        )
    assert found["goodput"].endswith("add the key workload.slo, such as {e2e_latency_ms: 200}")
    assert "requests_per_second" not in found and "e2e_latency_ms" not in found
    assert "goodput" not in Http().not_measured({"e2e_latency_ms": 1.0}, None)


def test_requests_and_samples_are_files(tmp_path: Path) -> None:
    interface = interface_of("http")
    interface.write(REQUESTS, tmp_path)
    assert interface.read(tmp_path) == REQUESTS
    response = HttpResponse(value={"a": [1, "b"]}, arrival_s=(0.1,))
    interface.write_sample(REQUESTS[1], response, tmp_path)
    assert interface.read_sample(tmp_path) == (REQUESTS[1], HttpResponse(value={"a": [1, "b"]}))
    (tmp_path / "sample.json").write_text("{}")
    with pytest.raises(ExportError, match="sample.json can't be read: 'request'"):
        interface.read_sample(tmp_path)


@pytest.mark.parametrize(
    ("recorded", "now", "holds", "detail"),
    [
        ([1.0, -2.0], [1.001, -2.0], True, "largest difference 0.0005 of the largest number"),
        ([1.0, -2.0], [1.1, -2.0], False, "largest difference 0.05 of the largest number, 0.001"),
        ([1.0], [1.0, 2.0], False, "the response is another one than was recorded"),
        ({"a": 1}, {"a": 1}, True, "the response is the recorded one"),
        ("a", "b", False, "the response is another one than was recorded"),
    ],
)
def test_responses_are_compared(recorded: object, now: object, holds: bool, detail: str) -> None:
    found = Http().compare(HttpResponse(value=recorded), HttpResponse(value=now), 1e-5)
    assert found.holds is holds
    assert found.detail.startswith(detail)
