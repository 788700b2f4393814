"""The server of texts: an engine in a thread, requests that join and leave, every error."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import Any

import pytest
from starlette.requests import ClientDisconnect
from tests.evaluators.exports.words import END, Counter, model

from tunefront.evaluators.exports.serve import Refused
from tunefront.evaluators.exports.serve_text import text_application
from tunefront.evaluators.exports.text_engine import OneAtATime, TextEngine
from tunefront.evaluators.interfaces.generation import GenerationRequest


@pytest.fixture
def engine() -> Iterator[TextEngine]:
    made = TextEngine(Counter, no_source, parallel=2, waiting=1)
    yield made
    counter: Any = made._engine
    made.close()
    assert not made._thread.is_alive()
    assert counter is None or counter.closed


def no_source(model: Any, prompt: Sequence[int], new_tokens: int) -> Iterator[int]:
    raise AssertionError("an engine with submit needs no source")


def wanted(*prompt: int, new_tokens: int = 3) -> GenerationRequest:
    return GenerationRequest(prompt=prompt, new_tokens=new_tokens, stop=(END,))


async def never() -> None:
    await asyncio.Event().wait()


async def tokens_of(
    engine: TextEngine, request: GenerationRequest, gone: Callable[[], Awaitable[None]] = never
) -> list[int]:
    found: list[int] = []
    async with aclosing(engine.events(request, gone())) as events:
        async for event in events:
            found += event.tokens
    return found


def test_requests_share_the_engine(engine: TextEngine) -> None:
    async def both() -> tuple[list[int], list[int]]:
        first, second = await asyncio.gather(
            tokens_of(engine, wanted(5)), tokens_of(engine, wanted(7, new_tokens=2))
        )
        return first, second

    assert asyncio.run(both()) == ([6, 7, 8], [8, 9])
    assert engine.open == 0


def test_a_client_that_goes_cancels_its_request(engine: TextEngine) -> None:
    async def left() -> None:
        gone = asyncio.Event()

        async def wait() -> None:
            await gone.wait()

        async with aclosing(engine.events(wanted(5, new_tokens=10**6), wait())) as events:
            async for _ in events:
                gone.set()

    with pytest.raises(ClientDisconnect):
        asyncio.run(left())
    assert asyncio.run(tokens_of(engine, wanted(5))) == [6, 7, 8]
    counter: Any = engine._engine
    assert counter.cancelled == [1]
    assert engine.open == 0


@pytest.mark.parametrize(
    ("prompt", "status", "why"),
    [(50, 400, "no prompt begins with 50"), (51, 500, "it is full"), (60, 500, "a step failed")],
)
def test_a_request_that_fails_has_a_status(
    engine: TextEngine, prompt: int, status: int, why: str
) -> None:
    with pytest.raises(Refused, match=why) as refused:
        asyncio.run(tokens_of(engine, wanted(prompt)))
    assert refused.value.status == status
    assert asyncio.run(tokens_of(engine, wanted(5))) == [6, 7, 8]


def test_an_engine_that_failed_is_closed_and_opened_again(engine: TextEngine) -> None:
    first, before = engine._engine, Counter.opened
    with pytest.raises(Refused, match="the engine failed: a step failed"):
        asyncio.run(tokens_of(engine, wanted(60)))
    asyncio.run(tokens_of(engine, wanted(5)))
    assert first.closed and Counter.opened == before + 1


def test_an_engine_that_cannot_be_opened_ends_the_server() -> None:
    def load() -> None:
        raise OSError("no file")

    with pytest.raises(OSError, match="no file"):
        TextEngine(load, no_source, parallel=1, waiting=1)


def test_other_models_generate_for_one_request_at_a_time() -> None:
    closed: list[int] = []

    def source(step: int, prompt: Sequence[int], new_tokens: int) -> Iterator[int]:
        try:
            for number in range(1, new_tokens + 1):
                yield prompt[-1] + step * number
        finally:
            closed.append(prompt[-1])

    one = OneAtATime(3, source)
    first, second, third = (one.submit(wanted(n)) for n in (1, 93, 40))
    one.cancel(third)
    assert [event.request for event in one.poll(0)] == [third]
    found = [event for _ in range(5) for event in one.poll(0)]
    assert [(event.request, event.tokens[0], event.end) for event in found] == [
        (first, 4, False),
        (first, 7, False),
        (first, 10, True),
        (second, 96, False),
        (second, END, True),
    ]
    assert one.poll(0) == () and closed == [1, 93]
    fourth = one.submit(wanted(20))
    one.poll(0)
    one.cancel(fourth)
    one.cancel(fourth)
    assert [event.end for event in one.poll(0)] == [True] and closed[-1] == 20
    one.submit(wanted(21))
    one.poll(0)
    one.close()
    assert closed[-1] == 21


class Call:
    """A request to the application, without a connection."""

    def __init__(self, engine: TextEngine, path: str, body: object, **headers: str) -> None:
        self._app = text_application(model(), engine, {"experiment": "mine"}, 10_000, 1.0)
        self._path, self._headers = path, {"content-type": "application/json", **headers}
        self._parts = [json.dumps(body).encode()]
        self.status, self.kind, self.content = 0, "", b""
        self.leave = False
        """Whether the client leaves with the first part of the response."""
        self._left = asyncio.Event()

    def run(self) -> Any:
        asyncio.run(self._run())
        return json.loads(self.content) if self.kind == "application/json" else self.events()

    async def _run(self) -> None:
        scope = {
            "type": "http",
            "asgi": {"spec_version": "2.4"},
            "method": "POST" if self._path.endswith("completions") else "GET",
            "path": self._path,
            "query_string": b"",
            "headers": [(n.encode(), v.encode()) for n, v in self._headers.items()],
        }
        await self._app(scope, self._receive, self._send)

    async def _receive(self) -> dict[str, object]:
        if self._parts:
            return {"type": "http.request", "body": self._parts.pop(), "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.kind = dict(message["headers"])[b"content-type"].decode().partition(";")[0]
        else:
            self.content += message["body"]
        if self.leave:
            self._left.set()

    def events(self) -> list[Any]:
        lines = self.content.decode().split("\n\n")
        assert lines.pop() == ""
        return [json.loads(line.removeprefix("data: ")) for line in lines if "[DONE]" not in line]


def test_a_completion(engine: TextEngine) -> None:
    found = Call(engine, "/v1/completions", {"prompt": "5", "max_tokens": 2}).run()
    assert found["choices"][0]["text"] == "6 7 "
    assert found["choices"][0]["finish_reason"] == "length"
    assert found["usage"]["completion_tokens"] == 2
    assert (engine.open, engine.answered) == (0, 1)


def test_a_chat_as_a_stream(engine: TextEngine) -> None:
    body = {
        "messages": [{"role": "user", "content": "96"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    call = Call(engine, "/v1/chat/completions", body)
    *some, last = call.run()
    assert call.content.endswith(b"data: [DONE]\n\n")
    deltas = [event["choices"][0]["delta"] for event in some]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert [delta["content"] for delta in deltas[1:]] == ["96 "] * 98
    assert some[-1]["choices"][0]["finish_reason"] == "length"
    assert last["choices"] == [] and last["usage"]["completion_tokens"] == 98


def test_what_is_served_is_listed(engine: TextEngine) -> None:
    listed = Call(engine, "/v1/models", {}).run()
    assert [one["id"] for one in listed["data"]] == ["words"]
    health = Call(engine, "/health", {}).run()
    assert health == {
        "status": "ok",
        "experiment": "mine",
        "model": "words",
        "context": 100,
        "parallel": 2,
        "open": 0,
        "waiting": 0,
        "answered": 0,
    }


@pytest.mark.parametrize(
    ("body", "status", "kind", "why"),
    [
        ({"prompt": "5", "n": 2}, 400, "invalid_request_error", "n: only 1 is offered"),
        ({"prompt": "5", "model": "a"}, 404, "not_found_error", "model: 'a' is not served here"),
        ({"prompt": "60"}, 500, "server_error", "the engine failed: a step failed"),
        ({"prompt": "60", "stream": True}, 500, "server_error", "the engine failed: a step fai"),
        ({"prompt": "5" * 20_000}, 413, "invalid_request_error", "the body is too large; 10,000"),
    ],
)
def test_errors_have_the_form_of_the_interface(
    engine: TextEngine, body: object, status: int, kind: str, why: str
) -> None:
    call = Call(engine, "/v1/completions", body)
    error = call.run()["error"]
    assert (call.status, error["type"], error["code"]) == (status, kind, status)
    assert why in error["message"]


def test_only_json_is_taken(engine: TextEngine) -> None:
    call = Call(engine, "/v1/completions", {"prompt": "5"}, **{"content-type": "text/plain"})
    assert call.run()["error"]["code"] == 415


def test_too_many_requests_are_refused(engine: TextEngine) -> None:
    engine.open = 3
    assert Call(engine, "/v1/completions", {"prompt": "5"}).run()["error"]["code"] == 503
    assert Call(engine, "/health", {}).run()["waiting"] == 1
    engine.open = 0


def test_a_client_that_leaves_a_stream_ends_its_request(engine: TextEngine) -> None:
    body = {"prompt": "5", "max_tokens": 95, "stream": True}
    call = Call(engine, "/v1/completions", body)
    call.leave = True
    call.run()
    assert b"[DONE]" not in call.content
    asyncio.run(tokens_of(engine, wanted(5)))
    counter: Any = engine._engine
    assert counter.cancelled == [1] and engine.open == 0
