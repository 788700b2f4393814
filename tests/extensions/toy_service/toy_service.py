"""A task and a runtime of a user with the interface `http`: a service that doubles a number."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tunefront.evaluators.interfaces.endpoint import Facts
from tunefront.evaluators.interfaces.generation import LoadSpec
from tunefront.evaluators.interfaces.http import ContentEvent, HttpEndpoint, HttpRequest
from tunefront.evaluators.interfaces.load import Load
from tunefront.evaluators.interfaces.polled.load_generator import run_requests
from tunefront.evaluators.runtimes.base import Built, Deployment, Runtime, Source
from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.statistics.estimates import mean_of
from tunefront.evaluators.workloads.base import EnoughItems, HttpWorkload
from tunefront.evaluators.workloads.quality import Quality
from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import Configuration, Extension, Metric

RUNTIME = Extension(
    name="doubler",
    values={"runtime": {"doubler": "a service in this process that doubles a number"}},
    supports={
        "device": frozenset({"cpu"}),
        "precision": frozenset({"fp32"}),
        "quantization_bits": frozenset({16}),
    },
    interfaces=frozenset({"http"}),
    provides={"runtime": "toy_service:DoublerRuntime"},
)
TASK = Extension(
    name="doubling",
    interfaces=frozenset({"http"}),
    provides={"workload": "toy_service:Doubling"},
)


class Doubling(HttpWorkload):
    """Numbers that are doubled; quality is the share of right responses."""

    task = "doubling"
    metrics = (
        Metric(
            name="right_responses",
            unit="",
            direction="maximize",
            summary="share of responses that are right",
        ),
    )

    def __init__(self, spec: WorkloadSpec) -> None:
        self.spec = spec

    def loads(self) -> Sequence[Load]:
        """Return the load levels of the experiment."""
        return (self.spec.load or LoadSpec()).loads()

    def requests(self, batch_size: int, count: int) -> list[HttpRequest]:
        """Return requests to double the first numbers."""
        bodies = (json.dumps({"number": number}) for number in range(count))
        return [
            HttpRequest(method="POST", path="/double", body=body, response="double")
            for body in bodies
        ]

    def quality(
        self,
        run: HttpEndpoint,
        reference: Mapping[str, Array] | None,
        enough: EnoughItems | None = None,
    ) -> Quality:
        """Compare with the doubled numbers."""
        found = [one.value for one in run_requests(run, self.requests(1, 6))]
        items = np.array([float(one == 2 * place) for place, one in enumerate(found)])
        return Quality(
            metrics={"right_responses": mean_of(items)}, items=items, weights=np.ones_like(items)
        )


class DoublerRuntime(Runtime):
    """Has nothing to build."""

    name = "doubler"

    def build(
        self, source: Source, configuration: Configuration, folder: Path
    ) -> Mapping[str, object]:
        """Build nothing."""
        return {}

    def open(self, built: Built, configuration: Configuration) -> HttpEndpoint:
        """Return the service."""
        return Doubler()

    def deployment(self, built: Built, configuration: Configuration) -> Deployment:
        """Return a script that needs Python only."""
        return Deployment(script=_SCRIPT, requirements=(), not_served="it is one function")


class Doubler(HttpEndpoint):
    """Doubles the numbers of all requests at the next poll."""

    def __init__(self) -> None:
        self._waiting: dict[int, HttpRequest] = {}
        self._cancelled: list[int] = []
        self._number = 0

    def submit(self, request: HttpRequest) -> int:
        """Keep the request."""
        self._number += 1
        self._waiting[self._number] = request
        return self._number

    def poll(self, timeout_s: float) -> Sequence[ContentEvent]:
        """Return all responses."""
        now = time.perf_counter()
        ended = [ContentEvent(request=one, arrival_s=now) for one in self._cancelled]
        for number, request in self._waiting.items():
            content = json.dumps({"double": 2 * json.loads(request.body)["number"]}).encode()
            ended.append(ContentEvent(request=number, parts=(content,), arrival_s=now))
        self._waiting, self._cancelled = {}, []
        return ended

    def cancel(self, request: int) -> None:
        """Forget the request."""
        if self._waiting.pop(request, None) is not None:
            self._cancelled.append(request)

    def facts(self) -> Facts:
        """Return what runs."""
        return {"runtime": "doubler", "device": "cpu", "precision": "fp32", "threads": 1}


_SCRIPT = '''\
"""Doubles the recorded number. Needs Python only."""
import json
import pathlib

HERE = pathlib.Path(__file__).parent


def load():
    """Nothing has to be started."""
    return ""


def run(address, request):
    """A request in, its value out."""
    return 2 * json.loads(request["body"])["number"]
'''
