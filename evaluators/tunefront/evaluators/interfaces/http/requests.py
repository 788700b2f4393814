"""Requests over HTTP, and their responses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tunefront.spaces import EvaluationError

from .response_path import json_value, value_at

SHOWN_CONTENT = 200
"""First characters of a response in a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """The response to a request.

    Attributes:
        value: The JSON value at the request's path into the response.
        arrival_s: Seconds from the time at which the request was due to the end of the response.
    """

    value: object
    arrival_s: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A request; its response must have a status from 200 to 299 and be JSON.

    Attributes:
        method: The method, such as `POST`.
        path: The path on the server, with a query if it has one.
        headers: Further headers.
        body: The body, a JSON text; empty without one.
        response: Path of the value in the response that is wanted: names of keys and indices,
            separated by dots; the whole response if empty.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    response: str = ""

    @property
    def most_parts(self) -> int:
        """A response over HTTP arrives in one part."""
        return 1

    def timed_response(self, parts: Sequence[bytes], arrival_s: Sequence[float]) -> HttpResponse:
        """Return the response with a content.

        Raises:
            EvaluationError: If the content is missing or not JSON, or does not have the wanted
                value (cause "invalid output").
        """
        content = b"".join(parts)
        try:
            value = value_at(json_value(content), self.response)
        except LookupError as error:
            raise self._unusable(
                f"has no {self.response!r}: {error.args[0]}; correct workload.response"
            ) from error
        except ValueError as error:
            text = content.decode(errors="replace")[:SHOWN_CONTENT]
            raise self._unusable(f"is not JSON ({error}): {text!r}") from error
        return HttpResponse(value=value, arrival_s=tuple(arrival_s))

    def _unusable(self, problem: str) -> EvaluationError:
        return EvaluationError(
            f"the response to {self.method} {self.path} {problem}", cause="invalid output"
        )
