"""Which connection makes room, and how many there are; with a server in tests/security."""

import resource
import socket
import threading
from typing import Any

import pytest
import uvicorn

from tunefront.evaluators.exports import connections as module
from tunefront.evaluators.exports.connections import Connections, open_files, server_options
from tunefront.evaluators.exports.serve import HostCheck, Input, Refused, ServedModel, body_limit


class Waiting:
    """A connection as far as `Connections` uses it."""

    def __init__(self, name: str, aborted: list[str]) -> None:
        self._name, self._aborted = name, aborted

    def abort(self) -> None:
        self._aborted.append(self._name)


def test_the_connection_that_waited_longest_makes_room() -> None:
    aborted: list[str] = []
    among, (a, b, c) = Connections(2, 1.0), [Waiting(name, aborted) for name in "abc"]
    waits: Any = among.wait
    goes_on: Any = among.go_on
    for connection in (a, b, c):
        waits(connection)
    among.make_room(2)
    assert aborted == []
    goes_on(a)
    among.make_room(3)
    assert aborted == ["b"]
    waits(b)  # it waits for a next request
    among.make_room(3)
    assert aborted == ["b", "c"]
    for connection in (b, c):
        goes_on(connection)
    among.make_room(3)  # all are being answered
    assert aborted == ["b", "c"]


@pytest.mark.parametrize(
    ("files", "most", "backlog"), [(1024, 256, 256), (128, 48, 32), (8, 16, 16), (10**6, 256, 256)]
)
def test_fewer_connections_are_open_where_few_files_can_be(
    monkeypatch: pytest.MonkeyPatch, files: int, most: int, backlog: int
) -> None:
    monkeypatch.setattr(module, "open_files", lambda: files)
    options = server_options(256, 30.0)
    assert options["backlog"] == backlog
    assert options["http"].keywords["among"]._most == most


def test_files_without_a_limit_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_files() > 0
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    assert open_files() == 2**16


@pytest.mark.parametrize(
    ("host", "written", "known"),
    [
        ("0.0.0.0", "10.1.2.3:8000", True),
        ("0.0.0.0", "[fe80::1]:8000", True),
        ("::", "10.1.2.3", True),
        ("0.0.0.0", "evil.example", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "10.1.2.4", False),
        ("box.example", "BOX.example:80", True),
    ],
)
def test_hosts_that_are_known(host: str, written: str, known: bool) -> None:
    async def app(*_: object) -> None:
        """No application is needed."""

    assert HostCheck(app, host).knows(written) is known


def test_a_body_is_limited_by_what_the_inputs_can_hold() -> None:
    import numpy as np

    rule = Input(dtype=np.dtype("float32"), shape=("batch",), most=1000)
    assert body_limit({"a": rule, "b": rule}, 2**30) == 2**16 + 64 * 2000
    assert body_limit({"a": rule}, 1000) == 1000


def test_a_full_queue_is_known_before_a_body_is_read() -> None:
    served = ServedModel(lambda: None, lambda model, inputs: [], {}, waiting=0)
    served.check_room()
    served.queued = 1
    with pytest.raises(Refused, match="too many requests are waiting; try again later") as refused:
        served.check_room()
    assert refused.value.status == 503


def test_a_client_that_takes_nothing_does_not_hold_up_a_response_forever() -> None:
    """The response is larger than all buffers on the way, and its client never reads."""
    ended = threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(64):
            await send({"type": "http.response.body", "body": bytes(2**20), "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        ended.set()

    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="error", lifespan="off", **server_options(16, 0.2))
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        with socket.create_connection(listening.getsockname(), timeout=60) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert ended.wait(60)
    finally:
        server.should_exit = True
        thread.join(60)
