"""The interface `http`: requests over HTTP with JSON, responses compared as JSON values."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path

import numpy as np

from tunefront.evaluators.interfaces.base import Comparison, PassSize, Percentiles
from tunefront.evaluators.interfaces.generation import GENERATION_METRICS
from tunefront.evaluators.interfaces.polled.capacity import CAPACITY, NOT_OF_EVERY_TRIAL
from tunefront.evaluators.interfaces.polled.interface import PolledInterface, time_distributions
from tunefront.evaluators.interfaces.polled.metrics import (
    GOODPUT,
    REQUEST_TIMES,
    REQUESTS_PER_SECOND,
    SLO_SAMPLES,
    generator_warnings,
    measured_times,
    request_rates,
)
from tunefront.evaluators.statistics.formatting import number_text
from tunefront.evaluators.statistics.measurement import Measurement
from tunefront.evaluators.statistics.timing import REQUEST, Timing
from tunefront.spaces import ExportError

from .agreement import numbers_of
from .endpoint import HttpEndpoint
from .requests import HttpRequest, HttpResponse
from .run_script import HTTP_SAMPLE, http_sample_script

HTTP_REQUESTS = "requests.json"
LEAST_TOLERANCE = 1e-3
"""Smallest allowed difference of a number relative to the largest one: services round, too."""
_TIMES = tuple(metric for metric, sample in REQUEST_TIMES.items() if sample == REQUEST)
HTTP_METRICS = (replace(REQUESTS_PER_SECOND, reference_rate=True), *_TIMES, GOODPUT)
"""Metrics of the interface, in the order of their listings."""
HTTP_SLO = tuple(name for name, sample in SLO_SAMPLES.items() if sample == REQUEST)
"""What an SLO can limit."""
NO_TOKENS_OVER_HTTP = (
    f"responses over HTTP have no tokens; use {HTTP_SLO[0]} or {REQUESTS_PER_SECOND.name}"
)


class Http(PolledInterface[HttpRequest, HttpResponse, HttpEndpoint]):
    """Requests under a load: a number of them in progress, or a rate."""

    name = "http"
    metrics = HTTP_METRICS
    unserved = "`sh serve.sh PORT` starts the measured server itself"
    checked = HTTP_SLO
    slo_example = f"{{{HTTP_SLO[0]}: 200}}"
    usage = """\
from tunefront.evaluators import load
from tunefront.evaluators.interfaces.http import Http
service = load("path/to/this/folder")
request, recorded = Http().read_sample("path/to/this/folder")
response = Http().respond(service, request)
service.close()
"""

    def sample_script(self) -> str:
        """Return the end of run.py."""
        return http_sample_script()

    def write(self, requests: Sequence[HttpRequest], folder: Path) -> None:
        """Write `requests.json`."""
        (folder / HTTP_REQUESTS).write_text(json.dumps([asdict(one) for one in requests]))

    def read(self, folder: Path) -> list[HttpRequest]:
        """Read `requests.json`."""
        return [HttpRequest(**row) for row in json.loads((folder / HTTP_REQUESTS).read_text())]

    def size(self, requests: Sequence[HttpRequest]) -> PassSize:
        """Return the number of requests."""
        return PassSize(items=len(requests))

    def repeated(
        self, requests: Sequence[HttpRequest], seed: int, start: int, step: int
    ) -> Iterator[HttpRequest]:
        """Yield the requests again and again, as they are; see `Repeat`."""
        for number, _ in enumerate(count(start, step)):
            yield requests[number % len(requests)]

    def measurements(self, timing: Timing) -> Mapping[str, Measurement]:
        """Return the measurements of `HTTP_METRICS`; the goodput only with an SLO."""
        found = measured_times(timing, [REQUEST]) | request_rates(timing)
        return {metric.name: found[metric.name] for metric in self.metrics if metric.name in found}

    def distributions(self, timing: Timing) -> Mapping[str, Percentiles]:
        """Return the distribution of the times of requests."""
        return time_distributions(timing, [REQUEST])

    def warnings(self, timing: Timing, cores: int) -> Sequence[str]:
        """Return warnings about the load generator."""
        return generator_warnings(timing, cores, "time of a request")

    def not_measured(self, slo: Mapping[str, float], output_tokens: int | None) -> dict[str, str]:
        """Return the metrics of tokens, the capacity, and without an SLO the goodput."""
        own = {metric.name for metric in self.metrics}
        found = {m.name: NO_TOKENS_OVER_HTTP for m in GENERATION_METRICS if m.name not in own}
        found[CAPACITY.name] = NOT_OF_EVERY_TRIAL
        if not slo:
            found[GOODPUT.name] = (
                f"it needs limits: add the key workload.slo, such as {self.slo_example}"
            )
        return found

    def write_sample(self, request: HttpRequest, response: HttpResponse, folder: Path) -> None:
        """Write `sample.json`."""
        fields = {"request": asdict(request), "response": response.value}
        (folder / HTTP_SAMPLE).write_text(json.dumps(fields) + "\n")

    def read_sample(self, folder: Path) -> tuple[HttpRequest, HttpResponse]:
        """Read `sample.json`.

        Raises:
            ExportError: If it can't be read.
        """
        path = Path(folder, HTTP_SAMPLE)
        try:
            fields = json.loads(path.read_text())
            return HttpRequest(**fields["request"]), HttpResponse(value=fields["response"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ExportError(f"{path} can't be read: {error}") from error

    def compare(self, recorded: HttpResponse, now: HttpResponse, allowed: float) -> Comparison:
        """Compare numbers within a tolerance, at least `LEAST_TOLERANCE`; other values exactly."""
        own, other = numbers_of(now.value), numbers_of(recorded.value)
        if own is None or other is None or own.shape != other.shape:
            same = now.value == recorded.value
            text = "the recorded one" if same else "another one than was recorded"
            return Comparison(holds=same, detail=f"the response is {text}")
        allowed = max(allowed, LEAST_TOLERANCE)
        largest = float(np.abs(other).max()) or 1.0
        difference = float(np.abs(own - other).max()) / largest
        return Comparison(
            holds=difference <= allowed,
            detail=f"largest difference {number_text(difference)} of the largest number, "
            f"{number_text(allowed)} allowed",
        )
