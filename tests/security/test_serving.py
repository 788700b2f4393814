"""S10 to S12: slow clients, large bodies, strange hosts; /health responds all the while."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.security.conftest import write_scripts

RECEIVE_S = 2.0
START_S = 90
BODY = json.dumps({"inputs": {"input": [[1.0]]}}).encode()


class Server(NamedTuple):
    port: int
    log: Path

    def request(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, Any]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def predict(
        self, body: bytes = BODY, content_type: str = "application/json"
    ) -> tuple[int, Any]:
        return self.request("POST", "/predict", body, **{"Content-Type": content_type})

    def connect(self, text: bytes) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        client.sendall(text)
        return client


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """serve.py, with little patience."""
    folder = tmp_path_factory.mktemp("served")
    write_scripts(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder.parent / "log"
    serve = f"{sys.executable} -B {folder}/serve.py --port {port} --receive-s {RECEIVE_S}"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["/bin/sh", "-c", f"ulimit -n 1024; exec {serve} --allow-host model.example"],
            stdout=output,
            stderr=output,
            cwd=folder,
        )
    found = Server(port, log)
    deadline = time.monotonic() + START_S
    while True:
        try:
            found.request("GET", "/health")
            break
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
    yield found
    process.terminate()
    process.wait(30)
    assert "Traceback" not in log.read_text()


def head(length: int) -> bytes:
    """The head of a request whose body has that length."""
    return (
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: " + str(length).encode() + b"\r\n\r\n"
    )


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /health HT", head(1000) + b"{"],
    ids=["nothing", "part of a head", "part of a body"],
)
def test_500_slow_clients_do_not_stop_health(server: Server, sent: bytes) -> None:
    """The one that waited longest makes room, and none waits longer than the limit."""
    with ExitStack() as clients:
        for _ in range(500):
            clients.enter_context(server.connect(sent))
        assert server.request("GET", "/health")[0] == 200
        assert server.predict() == (200, {"outputs": [[[2.0]]]})


@pytest.mark.parametrize("sent", [b"", b"GET /health HT"])
def test_a_connection_without_a_request_is_closed(server: Server, sent: bytes) -> None:
    with server.connect(sent) as client:
        assert client.recv(100) == b""


def test_a_second_request_has_a_limit_too(server: Server) -> None:
    with server.connect(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n") as client:
        assert client.recv(12) == b"HTTP/1.1 200"
        client.sendall(b"GET /hea")
        while client.recv(4096):
            continue


def test_a_body_that_comes_too_slowly_is_refused(server: Server) -> None:
    with server.connect(head(1000) + b"{") as client:
        response = b""
        while part := client.recv(4096):
            response += part
    assert response.startswith(b"HTTP/1.1 408 ")
    assert b"the body did not arrive within 2 s" in response


def test_a_large_body_is_refused_by_its_announced_length(server: Server) -> None:
    """Before it was sent: the client waits for leave to send it."""
    announced = head(2**40)[:-2] + b"Expect: 100-continue\r\n\r\n"
    with server.connect(announced) as client:
        response = client.recv(4096)
    assert response.startswith(b"HTTP/1.1 413 ")
    status, told = server.predict(b"1" * 2**20)
    assert (status, told["detail"]) == (413, "the body is too large; 69,632 bytes are the most")


def test_a_large_body_without_a_length_is_refused_while_it_is_read(server: Server) -> None:
    chunked = head(0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    with server.connect(chunked) as client:
        for _ in range(4):
            client.sendall(b"8000\r\n" + b"1" * 0x8000 + b"\r\n")
        client.sendall(b"0\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_clients_that_disconnect_leave_no_traceback(server: Server) -> None:
    for _ in range(50):
        server.connect(head(1000) + b"{").close()
    assert server.request("GET", "/health")[0] == 200
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "json", ""])
def test_what_a_page_can_send_without_leave_is_refused(server: Server, kind: str) -> None:
    status, told = server.predict(content_type=kind)
    assert (status, told["detail"]) == (415, "the content type must be application/json")
    assert server.predict(content_type="application/json; charset=utf-8")[0] == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:1234", 200),
        ("127.0.0.1:80", 200),
        ("[::1]:80", 200),
        ("model.example", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("10.0.0.1", 421),
        ("", 421),
    ],
)
def test_only_known_hosts_are_served(server: Server, host: str, status: int) -> None:
    """A name that a page's own server answers for could be given this machine's address."""
    found, told = server.request("GET", "/health", Host=host)
    assert found == status
    if status == 421:
        assert told["detail"] == f"Host {host!r} is not served here; --allow-host NAME adds a name"


def test_the_queue_is_counted(server: Server) -> None:
    assert server.request("GET", "/health")[1]["queued"] == 0
