"""The request of a workload as written: a template that rows of data fill."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from tunefront.spaces import WorkloadError, did_you_mean

from .requests import HttpRequest

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_COLUMN = re.compile(r"\{([A-Za-z_]\w*)\}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_PATH = re.compile(r"/[!-~]*")
_HEADER_TEXT = re.compile(r"[ -~]*")
_OWN_HEADERS = ("host", "content-length", "transfer-encoding", "connection", "accept-encoding")
"""Headers that the client sets itself."""
_KEY_HEADERS = ("authorization", "proxy-authorization", "cookie", "x-api-key", "api-key")
"""Headers whose value is a secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTemplate:
    """The key `workload.request`; `{column}` is replaced by the value of a row.

    A text of the body that is exactly one placeholder becomes the value itself, with its type;
    other braces are left as they are.

    Attributes:
        path: The path on the server, such as `/v1/embeddings`.
        method: The method.
        headers: Further headers.
        body: The body, a JSON value; None without one.

    Raises:
        WorkloadError: If a value is invalid.
    """

    path: str
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: object = None

    def __post_init__(self) -> None:
        if not self.path.startswith("/"):
            raise WorkloadError(
                f"request.path: a path such as /v1/embeddings is needed, but got {self.path!r}"
            )
        if self.method not in METHODS:
            raise WorkloadError(
                f"request.method: unknown value {self.method!r}"
                f"{did_you_mean(self.method.upper(), METHODS)}; methods are {', '.join(METHODS)}"
            )
        if self.method == "GET" and self.body is not None:
            raise WorkloadError(
                "request.body: a GET request has no body; write the values into the path, such as "
                "/search?query={text}, or remove the key method"
            )
        for name in self.headers:
            self._check_header(name)

    def _check_header(self, name: str) -> None:
        if not _HEADER_NAME.fullmatch(name):
            raise WorkloadError(
                f"request.headers: a name consists of letters, digits and hyphens, but got {name!r}"
            )
        if name.lower() in _OWN_HEADERS:
            raise WorkloadError(f"request.headers: {name} is set by the client; remove the key")
        if name.lower() in _KEY_HEADERS:
            raise WorkloadError(
                f"request.headers: the value of {name} would be recorded; name the environment "
                "variable with the key in server.api_key, which is sent as `Authorization: Bearer`"
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the placeholders, in order, without repetition."""
        texts = (self.path, *self.headers.values(), *_texts(self.body))
        found = (name for text in texts for name in _COLUMN.findall(text))
        return tuple(dict.fromkeys(found))

    def filled(self, row: Mapping[str, object], response: str, place: str) -> HttpRequest:
        """Return the request of a row.

        Args:
            row: Its values by column.
            response: Path of the wanted value in the response.
            place: Where the row is, for the message.

        Raises:
            WorkloadError: If path, headers or body can't be sent with its values.
        """
        path = _replaced(self.path, row, encoded=True)
        if not _PATH.fullmatch(path):
            raise WorkloadError(
                f"request.path: {place}: spaces and other characters than those of ASCII must be "
                f"percent-encoded outside of placeholders, but got {path!r}"
            )
        headers = {name: _replaced(text, row) for name, text in self.headers.items()}
        for name, text in headers.items():
            if not _HEADER_TEXT.fullmatch(text):
                raise WorkloadError(
                    f"request.headers.{name}: {place}: a header is one line of ASCII characters, "
                    f"but got {text!r}"
                )
        try:
            body = "" if self.body is None else json.dumps(_filled(self.body, row))
        except TypeError as error:
            raise WorkloadError(
                f"request.body: {place}: a value can't be written as JSON: {error}"
            ) from error
        return HttpRequest(
            method=self.method, path=path, headers=headers, body=body, response=response
        )


def _texts(value: object) -> Iterator[str]:
    """Yield the texts of a JSON value, the names of its keys not included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)


def _filled(value: object, row: Mapping[str, object]) -> object:
    """Return a JSON value with the values of a row in place of the placeholders."""
    if isinstance(value, str):
        whole = _COLUMN.fullmatch(value)
        return row[whole[1]] if whole else _replaced(value, row)
    if isinstance(value, Mapping):
        return {name: _filled(one, row) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(one, row) for one in value]
    return value


def _replaced(text: str, row: Mapping[str, object], *, encoded: bool = False) -> str:
    def value(found: re.Match[str]) -> str:
        given = row[found[1]]
        shown = given if isinstance(given, str) else json.dumps(given)
        return quote(shown, safe="") if encoded else shown

    return _COLUMN.sub(value, text)
