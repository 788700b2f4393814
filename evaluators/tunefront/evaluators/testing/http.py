"""The conformance suites of runtimes and workloads with the interface `http`."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from tunefront.evaluators.interfaces.http import HttpEndpoint, HttpRequest, HttpResponse
from tunefront.evaluators.interfaces.load import Load
from tunefront.evaluators.interfaces.polled.load_generator import run_requests
from tunefront.evaluators.workloads.base import HttpWorkload

from .cases import NotConformant
from .polled import (
    PolledCase,
    cancelled_request_ends,
    choices_of_an_engine_are_read_back,
    its_processes_end_with_it,
    no_file_is_a_pickle,
    script_defines_run,
    the_workload_names_its_metrics,
)


@dataclass(frozen=True)
class ServiceCase(PolledCase):
    """A runtime that starts a service over HTTP, with a configuration.

    Attributes:
        requests: Requests that it answers.
    """

    interface = "http"
    requests: tuple[HttpRequest, ...] = ()

    def open(self) -> HttpEndpoint:
        """Open the built candidate."""
        endpoint = self.runtime.open(self.built, self.configuration)
        if not isinstance(endpoint, HttpEndpoint):
            raise NotConformant(
                f"open() must return an HttpEndpoint, but returned {type(endpoint).__name__}"
            )
        return endpoint

    def run(self, load: Load | None = None) -> list[HttpResponse]:
        """Open the candidate, send the requests under a load, and close it."""
        with closing(self.open()) as endpoint:
            return run_requests(endpoint, self.requests, load)


def every_request_is_answered(case: ServiceCase) -> None:
    """One at a time and three at a time, every request has its response, always the same.

    Raises:
        NotConformant: If a response is another one, or arrives before its request is sent.
        EvaluationError: If one is missing.
    """
    alone, together = case.run(), case.run(Load(concurrency=3))
    if [one.value for one in alone] != [one.value for one in together]:
        raise NotConformant("responses must be the same one at a time and three at a time")
    if any(one.arrival_s[0] < 0 for one in (*alone, *together)):
        raise NotConformant("arrival_s of events must not be before the request")


def a_cancelled_request_ends(case: ServiceCase) -> None:
    """A cancelled request ends with an event, and the next one gets its response.

    Raises:
        NotConformant: If it does not end, or an event of it reports an error.
    """
    request = case.requests[0]
    with closing(case.open()) as endpoint:
        cancelled_request_ends(endpoint, request)
        run_requests(endpoint, [request])


def the_script_calls_the_service(case: ServiceCase) -> None:
    """The script of an export defines `load()` and `run(address, request)`.

    Raises:
        NotConformant: If it does not, or uses tunefront.
    """
    script_defines_run(case, ("address", "request"))


SERVICE_CHECKS: tuple[Callable[[ServiceCase], None], ...] = (
    every_request_is_answered,
    choices_of_an_engine_are_read_back,
    a_cancelled_request_ends,
    its_processes_end_with_it,
    no_file_is_a_pickle,
    the_script_calls_the_service,
)


def a_service_gets_the_same_requests_at_every_call(workload: HttpWorkload) -> None:
    """`requests` returns the requested number of requests, the same every time.

    Raises:
        NotConformant: If it does not.
    """
    first, second = (workload.requests(1, 3) for _ in range(2))
    if len(first) != 3 or first != second:
        raise NotConformant("requests(1, 3) must return 3 requests, the same ones at every call")
    if any(not request.path.startswith("/") for request in first):
        raise NotConformant("a request must have a path that begins with a slash")


HTTP_WORKLOAD_CHECKS: tuple[Callable[[HttpWorkload], None], ...] = (
    a_service_gets_the_same_requests_at_every_call,
    the_workload_names_its_metrics,
)
