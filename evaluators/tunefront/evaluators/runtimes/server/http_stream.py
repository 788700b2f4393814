"""Streams of server-sent events and whole responses over HTTP, many at a time in one thread."""

import http.client
import json
import selectors
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import h11

from tunefront.spaces import EvaluationError

CONNECT_S = 30.0
"""Seconds in which a connection must be made, and a request without a stream answered."""
BLOCK_BYTES = 2**16
REFUSAL_CHARACTERS = 300
SUCCESS = range(200, 300)
"""Status codes of success."""
_STREAM, _JSON = "text/event-stream", "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPart:
    """What has arrived of a stream.

    Attributes:
        number: Number of the stream.
        arrival_s: When, by `time.perf_counter`.
        events: The texts of its events.
        content: The content of a whole response that has ended.
        end: Whether the stream has ended.
        error: Why it ended before its time; empty if it did not.
        broken: Whether the connection was lost.
    """

    number: int
    arrival_s: float
    events: tuple[str, ...] = ()
    content: bytes = b""
    end: bool = False
    error: str = ""
    broken: bool = False


@dataclass(slots=True)
class _Stream:
    """A response in progress: its connection, and what was read of its next event.

    A whole one is no stream of events: its content is kept until its end.
    """

    number: int
    connection: socket.socket
    http: h11.Connection
    whole: bool = False
    status: int = 0
    rest: bytes = b""
    refusal: bytes = b""
    events: list[str] = field(default_factory=list)
    content: list[bytes] = field(default_factory=list)
    end: bool = False


class HttpStreams:
    """Streams of one server.

    Connections are kept for later streams as long as the server keeps them open.

    Args:
        url: Address of the server, without a path or with a beginning of paths.
        headers: Headers of every request, such as a key.
        watched: A file descriptor that ends the waiting of `poll` when it can be read; none if
            negative.
    """

    def __init__(self, url: str, headers: Mapping[str, str], watched: int = -1) -> None:
        parts = urlsplit(url)
        self._host, self._base = str(parts.hostname), parts.path.rstrip("/")
        self._secure = parts.scheme == "https"
        self._port = parts.port or (443 if self._secure else 80)
        self._headers = {"Host": f"{self._host}:{self._port}", **headers}
        self._selector = selectors.DefaultSelector()
        if watched >= 0:
            self._selector.register(watched, selectors.EVENT_READ)
        self._streams: dict[int, _Stream] = {}
        self._idle: list[tuple[socket.socket, h11.Connection]] = []
        self._number = 0

    def get(self, path: str) -> tuple[int, bytes]:
        """Return status and content of a path.

        Raises:
            EvaluationError: If there is no answer (cause "crash").
        """
        made = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = made(self._host, self._port, timeout=CONNECT_S)
        try:
            connection.request("GET", self._base + path, headers=self._headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()

    def post(self, path: str, body: Mapping[str, Any]) -> int:
        """Send a request and return the number of its stream.

        Raises:
            EvaluationError: If the server can't be reached (cause "crash").
        """
        head = {"Content-Type": _JSON, "Accept": _STREAM}
        return self._send("POST", path, head, json.dumps(body).encode(), whole=False)

    def send(self, method: str, path: str, headers: Mapping[str, str], content: bytes) -> int:
        """Send a request for a whole response and return its number.

        Raises:
            EvaluationError: If the server can't be reached (cause "crash").
        """
        head = {"Accept": _JSON, **({"Content-Type": _JSON} if content else {})}
        written = {name.lower() for name in headers}
        own = {name: text for name, text in head.items() if name.lower() not in written}
        return self._send(method, path, {**own, **headers}, content, whole=True)

    def _send(
        self, method: str, path: str, headers: Mapping[str, str], content: bytes, *, whole: bool
    ) -> int:
        head = {**self._headers, **headers, "Content-Length": str(len(content))}
        connection, protocol = self._connection()
        request = h11.Request(method=method, target=self._base + path, headers=list(head.items()))
        sent = (request, h11.Data(data=content), h11.EndOfMessage())
        try:
            connection.settimeout(CONNECT_S)
            connection.sendall(b"".join(protocol.send(one) or b"" for one in sent))
            connection.setblocking(False)
        except OSError as error:
            connection.close()
            raise self._unreachable(error) from error
        self._number += 1
        stream = _Stream(number=self._number, connection=connection, http=protocol, whole=whole)
        self._streams[self._number] = stream
        self._selector.register(connection, selectors.EVENT_READ, stream)
        return self._number

    def poll(self, timeout_s: float) -> Sequence[StreamPart]:
        """Return what has arrived; wait at most `timeout_s` seconds for the first."""
        ready = self._selector.select(timeout_s)
        now = time.perf_counter()
        return [self._read(key.data, now) for key, _ in ready if key.data is not None]

    def drop(self, number: int) -> bool:
        """Close the connection of a stream; return whether it was in progress."""
        stream = self._streams.get(number)
        if stream is not None:
            self._forget(stream)
            stream.connection.close()
        return stream is not None

    def close(self) -> None:
        """Close all connections."""
        for number in list(self._streams):
            self.drop(number)
        for connection, _ in self._idle:
            connection.close()
        self._idle = []
        self._selector.close()

    def _connection(self) -> tuple[socket.socket, h11.Connection]:
        """Return a connection that was kept and is still open, or a new one."""
        while self._idle:
            connection, protocol = self._idle.pop()
            if _is_open(connection):
                return connection, protocol
            connection.close()
        try:
            made = socket.create_connection((self._host, self._port), timeout=CONNECT_S)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._secure:
                context = ssl.create_default_context()
                made = context.wrap_socket(made, server_hostname=self._host)
        except OSError as error:
            raise self._unreachable(error) from error
        return made, h11.Connection(our_role=h11.CLIENT)

    def _unreachable(self, error: Exception) -> EvaluationError:
        return EvaluationError(
            f"the server at {self._host}:{self._port} can't be reached: {error}", cause="crash"
        )

    def _read(self, stream: _Stream, now: float) -> StreamPart:
        """Read what has arrived of a stream."""
        error, broken = "", False
        try:
            while not stream.end:
                try:
                    block = stream.connection.recv(BLOCK_BYTES)
                except (BlockingIOError, ssl.SSLWantReadError):
                    break
                stream.http.receive_data(block)
                self._take(stream)
                if not block and not stream.end:
                    raise h11.RemoteProtocolError("the connection was closed")
        except (OSError, h11.RemoteProtocolError) as lost:
            error, broken = f"the response broke off: {lost}", True
        if stream.end:
            error = _refusal(stream)
        if stream.end or broken:
            self._leave(stream, reusable=not broken)
        events, stream.events = tuple(stream.events), []
        return StreamPart(
            number=stream.number,
            arrival_s=now,
            events=events,
            content=b"".join(stream.content) if stream.end else b"",
            end=stream.end or broken,
            error=error,
            broken=broken,
        )

    def _take(self, stream: _Stream) -> None:
        """Take the parts of the response that are complete."""
        while True:
            part = stream.http.next_event()
            if isinstance(part, h11.Response):
                stream.status = part.status_code
                kinds = dict(part.headers).get(b"content-type", b"").decode()
                events = stream.whole or kinds.startswith(_STREAM)
                if part.status_code == http.client.OK and not events:
                    stream.refusal = f"it has the content type {kinds or 'none'}: ".encode()
            elif isinstance(part, h11.Data):
                self._content(stream, bytes(part.data))
            elif isinstance(part, h11.EndOfMessage):
                stream.end = True
                return
            else:
                return

    def _content(self, stream: _Stream, data: bytes) -> None:
        if stream.whole and stream.status in SUCCESS:
            stream.content.append(data)
            return
        if stream.whole or stream.status != http.client.OK or stream.refusal:
            stream.refusal = (stream.refusal + data)[:BLOCK_BYTES]
            return
        *lines, stream.rest = (stream.rest + data).split(b"\n")
        for line in lines:
            name, _, value = line.strip().partition(b":")
            if name == b"data":
                stream.events.append(value.strip().decode())

    def _leave(self, stream: _Stream, *, reusable: bool) -> None:
        """Keep the connection of an ended stream, or close it."""
        self._forget(stream)
        if reusable and stream.http.their_state is h11.DONE:
            stream.http.start_next_cycle()
            self._idle.append((stream.connection, stream.http))
        else:
            stream.connection.close()

    def _forget(self, stream: _Stream) -> None:
        del self._streams[stream.number]
        self._selector.unregister(stream.connection)


def _is_open(connection: socket.socket) -> bool:
    """Return whether an idle connection is open: nothing can be read, not even its end."""
    try:
        connection.recv(1)
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    except OSError:
        return False
    return False


def _refusal(stream: _Stream) -> str:
    """Return why a complete response is not what is wanted; empty if it is.

    That is a stream of events, or of a whole response a status of success.
    """
    text = " ".join(stream.refusal.decode(errors="replace").split())[:REFUSAL_CHARACTERS]
    if stream.whole and stream.status in SUCCESS:
        return ""
    if stream.whole or stream.status != http.client.OK:
        return f"status {stream.status}: {text}"
    return f"the response is no stream of events: {text}" if text else ""
