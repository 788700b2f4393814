"""Streams of events over HTTP, of a server that sends what a test tells it."""

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path

import pytest
from tests.conftest import WORDS

from tunefront.evaluators.interfaces.generation import (
    GenerationRequest,
    GenerationResponse,
    ServerSpec,
    generate,
)
from tunefront.evaluators.runtimes.server.endpoint import ServerEndpoint
from tunefront.evaluators.runtimes.server.http_stream import HttpStreams, StreamPart
from tunefront.evaluators.runtimes.server.protocol import Tokenizer
from tunefront.spaces import EvaluationError

MODELS = b'{"data": [{"id": "tiny"}]}'
IDS = {word: number for number, word in enumerate(sorted(set(WORDS)), start=5)}
"""Ids of the words of the tiny model's tokenizer."""
REQUEST = GenerationRequest(prompt=(5, 6), new_tokens=3)


def response(content: bytes, kind: str = "application/json", status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


def stream(*events: object) -> bytes:
    """A stream of events, each in a chunk of its own, and the last one."""
    texts = [one if isinstance(one, str) else json.dumps(one) for one in (*events, "[DONE]")]
    lines = [f"data: {text}\n\n".encode() for text in texts]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(line), line) for line in lines)
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    return head + chunks + b"0\r\n\r\n"


def text(*words: str, **usage: int) -> list[Mapping[str, object]]:
    events: list[Mapping[str, object]] = [{"choices": [{"text": word}]} for word in words]
    return [*events, {"choices": [], "usage": usage}] if usage else events


class Scripted:
    """A server that answers each request with the next of some texts, cut into parts."""

    def __init__(self) -> None:
        self.answers: list[Sequence[bytes]] = []
        self.connections = 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        """Answer until a part is empty, or the client has closed the connection."""
        with suppress(OSError), connection, connection.makefile("rb") as lines:
            while line := lines.readline():
                length, head = 0, line
                while head.strip():
                    if head.lower().startswith(b"content-length"):
                        length = int(head.split(b":")[1])
                    head = lines.readline()
                lines.read(length)
                if b"/v1/models" in line:
                    connection.sendall(response(MODELS))
                    continue
                for part in self.answers.pop(0):
                    connection.sendall(part)
                    if part == b"":
                        return


@pytest.fixture
def server() -> Iterator[Scripted]:
    made = Scripted()
    yield made
    made.socket.close()


@pytest.fixture
def ask(server: Scripted, chat_folder: Path) -> Callable[..., GenerationResponse]:
    """Returns the response to `REQUEST` that follows from what the server sends."""

    def answer(*parts: bytes) -> GenerationResponse:
        server.answers.append(parts)
        spec = ServerSpec(url=server.url)
        tokenizer = Tokenizer(chat_folder / "model")
        with closing(ServerEndpoint(server.url, spec, tokenizer, None, {})) as endpoint:
            return generate(endpoint, [REQUEST])[0]

    return answer


def test_a_stream_is_read_however_it_is_cut(server: Scripted) -> None:
    whole = stream(*text("a", "line"))
    with closing(HttpStreams(server.url, {})) as streams:
        for cut in range(1, len(whole), 7):
            server.answers.append((whole[:cut], whole[cut:]))
            number, found = streams.post("/v1/completions", {}), list[StreamPart]()
            while not found or not found[-1].end:
                found += streams.poll(5.0)
            assert [event for one in found for event in one.events] == [
                '{"choices": [{"text": "a"}]}',
                '{"choices": [{"text": "line"}]}',
                "[DONE]",
            ]
            assert {one.number for one in found} == {number} and not found[-1].error
    assert server.connections == 1  # it was kept open


CHUNKS = b"Transfer-Encoding: chunked\r\n\r\n2\r\n[1\r\n4\r\n, 2]\r\n0\r\n\r\n"
WHOLE = {
    "a length": response(b"[1, 2]"),
    "chunks": b"HTTP/1.1 201 Created\r\n" + CHUNKS,
    "any content type": response(b"[1, 2]", kind="text/plain"),
}


@pytest.mark.parametrize("whole", WHOLE.values(), ids=list(WHOLE))
def test_a_whole_response_is_read_however_it_is_cut(server: Scripted, whole: bytes) -> None:
    with closing(HttpStreams(server.url, {})) as streams:
        for cut in range(1, len(whole), 7):
            server.answers.append((whole[:cut], whole[cut:]))
            number, found = streams.send("GET", "/call", {}, b""), list[StreamPart]()
            while not found or not found[-1].end:
                found += streams.poll(5.0)
            assert [one.content for one in found if one.end] == [b"[1, 2]"]
            assert {one.number for one in found} == {number} and not found[-1].error
    assert server.connections == 1  # it was kept open


def test_a_whole_response_without_a_length_ends_with_its_connection(server: Scripted) -> None:
    with closing(HttpStreams(server.url, {})) as streams:
        for _ in range(2):
            server.answers.append((b"HTTP/1.0 200 OK\r\n\r\n[1", b", 2]", b""))
            streams.send("POST", "/call", {"content-type": "text/plain"}, b"a")
            found = list[StreamPart]()
            while not found or not found[-1].end:
                found += streams.poll(5.0)
            assert (found[-1].content, found[-1].error) == (b"[1, 2]", "")
    assert server.connections == 2


def test_each_event_with_text_is_a_token(ask: Callable[..., GenerationResponse]) -> None:
    assert ask(stream(*text(" a", " line", " of"))).tokens == (IDS["a"], IDS["line"], IDS["of"])


def test_tokens_without_text_arrive_at_the_end(ask: Callable[..., GenerationResponse]) -> None:
    found = ask(stream(*text(" a", " line", completion_tokens=3)))
    assert found.tokens == (IDS["a"], IDS["line"], IDS["line"])


def test_several_tokens_of_an_event_are_its_ids(ask: Callable[..., GenerationResponse]) -> None:
    event = {"choices": [{"text": " a line", "token_ids": [7, 8]}]}
    assert ask(stream(event, *text(" of"))).tokens == (7, 8, IDS["of"])


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([stream({"error": {"message": "no memory"}})], "a request failed: no memory"),
        ([stream({"error": "no memory"})], "a request failed: no memory"),
        ([stream("nonsense")], "the event 'nonsense' is not in the OpenAI-compatible interface"),
        ([stream([1])], "an event must be a JSON object"),
        ([stream({"text": "a"})], "an event must have a list of choices"),
        ([stream({"choices": ["a"]})], "is not in the OpenAI-compatible interface"),
        ([stream(*text("a"))[:120], b""], "the response broke off"),
        ([b"HTTP nonsense\r\n\r\n"], "the response broke off"),
        ([response(b"busy", status="503 Unavailable")], "a request failed: status 503: busy"),
        (
            [stream(*text("a", "of", completion_tokens=1))],
            "a request failed: the server counts 1 tokens, but has sent 2",
        ),
        (
            [stream(*text("a", "of"))],
            "a request for 3 tokens returned 2; the engine must generate exactly as many",
        ),
    ],
)
def test_what_is_no_response_is_an_error(
    ask: Callable[..., GenerationResponse], parts: Sequence[bytes], message: str
) -> None:
    with pytest.raises(EvaluationError) as caught:
        ask(*parts)
    assert message in str(caught.value)


def test_a_connection_that_was_closed_is_not_used_again(server: Scripted) -> None:
    with closing(HttpStreams(server.url, {})) as streams:
        for _ in range(2):
            server.answers.append((stream(*text("a")), b""))
            streams.post("/v1/completions", {})
            while not any(one.end for one in streams.poll(5.0)):
                pass
            # The end of the connection arrives with the response, or soon after it.
            for connection, _ in streams._idle:
                connection.settimeout(5.0)
                assert connection.recv(1, socket.MSG_PEEK) == b""
    assert server.connections == 2


def test_a_dropped_stream_does_not_arrive(server: Scripted) -> None:
    with closing(HttpStreams(server.url, {})) as streams:
        server.answers.append((stream(*text("a"))[:-8],))
        number = streams.post("/v1/completions", {})
        assert streams.drop(number) and not streams.drop(number)
        assert streams.poll(0.0) == []
