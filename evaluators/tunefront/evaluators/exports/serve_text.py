"""HTTP server for the exported language model, with the OpenAI-compatible interface.

python serve.py --host 127.0.0.1 --port 8000

GET  /health                 describes what is served
GET  /v1/models              lists the model
POST /v1/completions         {"prompt": "...", "max_tokens": 64, "stream": true}
POST /v1/chat/completions    {"messages": [{"role": "user", "content": "..."}]}

Requests are decoded together as the engine allows, greedily, as it was measured. A client that
closes its connection ends its request.
"""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response, StreamingResponse
from starlette.requests import ClientDisconnect

from tunefront.evaluators.interfaces.generation.requests import GenerationRequest
from tunefront.evaluators.interfaces.generation.run_script import read_about, read_tokenizer

from .completions import TextModel, TextRequest, TextResponse, request_of
from .connections import server_options
from .serve import (
    HERE,
    LEAST_BYTES,
    Refused,
    listen,
    module_in,
    origin,
    read_body,
    server_options_parser,
)
from .text_engine import TextEngine

BYTES_A_TOKEN = 64
"""Bytes of a body for each token of the context."""
LAST_EVENT = b"data: [DONE]\n\n"
TYPES = {404: "not_found_error", 500: "server_error", 503: "overloaded_error"}


def text_application(
    model: TextModel,
    engine: TextEngine,
    about: Mapping[str, object],
    most_bytes: int,
    receive_s: float = 30.0,
) -> FastAPI:
    """Return the application with the routes of the interface.

    Args:
        model: What is served.
        engine: Its engine.
        about: What /health reports about it.
        most_bytes: Maximum size of a body.
        receive_s: Time in which a body must arrive, s.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        engine.close()

    app = FastAPI(title="exported model", docs_url=None, redoc_url=None, lifespan=lifespan)
    parser = ThreadPoolExecutor(max_workers=1)  # long texts do not hold up the streams

    @app.get("/health")
    async def health() -> dict[str, object]:
        waiting = max(0, engine.open - engine.parallel)
        counts = {"open": engine.open, "waiting": waiting, "answered": engine.answered}
        limits = {"context": model.context, "parallel": engine.parallel}
        return {"status": "ok", **about, "model": model.name, **limits, **counts}

    @app.get("/v1/models")
    async def models() -> dict[str, object]:
        listed = {"id": model.name, "object": "model", "created": 0, "owned_by": "tunefront"}
        return {"object": "list", "data": [listed]}

    async def answered(request: Request, *, chat: bool) -> Response:
        try:
            engine.check_room()
            body = await read_body(request, most_bytes, receive_s)
            loop = asyncio.get_running_loop()
            read = await loop.run_in_executor(parser, lambda: request_of(body, model, chat=chat))
            engine.check_room()
            return await text_answer(request, read, model, engine)
        except Refused as refused:
            return text_refusal(refused)
        except ClientDisconnect:
            return Response(status_code=400)  # no client receives it

    @app.post("/v1/completions")
    async def completions(request: Request) -> Response:
        return await answered(request, chat=False)

    @app.post("/v1/chat/completions")
    async def chat_completions(request: Request) -> Response:
        return await answered(request, chat=True)

    return app


async def text_answer(
    request: Request, read: TextRequest, model: TextModel, engine: TextEngine
) -> Response:
    """Return the response to a request; a stream once its first event is known.

    Raises:
        Refused: If the engine refuses the request, or fails.
        ClientDisconnect: If the client has gone.
    """
    response = TextResponse(read, model)
    pieces = _pieces(read, response, engine, _gone(request))
    if read.stream:
        first = await anext(pieces)
        stream = _stream(response, first, pieces)
        return StreamingResponse(stream, media_type="text/event-stream")
    async with aclosing(pieces):
        text = "".join([text async for text, _ in pieces])
    return Response(json.dumps(response.whole(text)), media_type="application/json")


async def _pieces(
    read: TextRequest, response: TextResponse, engine: TextEngine, gone: Awaitable[object]
) -> AsyncGenerator[tuple[str, Sequence[int]], None]:
    """Yield text and tokens of a response as they arrive, until it has ended."""
    wanted = GenerationRequest(prompt=read.prompt, new_tokens=read.new_tokens, stop=read.stop)
    async with aclosing(engine.events(wanted, gone)) as events:
        async for event in events:
            before = len(response.tokens)
            text = response.add(event.tokens, end=event.end)
            engine.answered += bool(response.finish)
            yield text, response.tokens[before:]
            if response.finish:
                return


async def _gone(request: Request) -> None:
    """Return when the client has closed its connection."""
    while (await request.receive())["type"] != "http.disconnect":
        continue


async def _stream(
    response: TextResponse,
    first: tuple[str, Sequence[int]],
    pieces: AsyncGenerator[tuple[str, Sequence[int]], None],
) -> AsyncIterator[bytes]:
    """Yield the events of a stream; an error is the last one."""
    for event in (*response.first_event(), *response.event(*first)):
        yield _event_bytes(event)
    try:
        async with aclosing(pieces):
            async for text, tokens in pieces:
                for event in response.event(text, tokens):
                    yield _event_bytes(event)
    except Refused as refused:
        yield _event_bytes(_error(refused))
        return
    except ClientDisconnect:
        return
    for event in response.last_events():
        yield _event_bytes(event)
    yield LAST_EVENT


def _event_bytes(event: Mapping[str, object]) -> bytes:
    return f"data: {json.dumps(event)}\n\n".encode()


def _error(refused: Refused) -> dict[str, object]:
    kind = TYPES.get(refused.status, "invalid_request_error")
    return {"error": {"message": str(refused), "type": kind, "code": refused.status}}


def text_refusal(refused: Refused) -> Response:
    """Return the response to a rejected request; after a timeout the connection is closed."""
    headers = {"connection": "close"} if refused.status == 408 else {}
    content = json.dumps(_error(refused))
    return Response(content, refused.status, headers, media_type="application/json")


def model_of(folder: Path, name: str) -> TextModel:
    """Return what an export serves.

    Args:
        folder: The export.
        name: Its name in requests; empty for that of the experiment.
    """
    tokenizer = read_tokenizer(folder)
    about = read_about(folder, tokenizer)
    named = re.sub(r"[^\w.-]+", "-", str(origin(folder)["experiment"] or "model"))
    return TextModel(
        name=name or named,
        tokenizer=tokenizer,
        stop=tuple(about["stop"]),
        context=about["context"],
        vocabulary=about.get("vocabulary", 0),
    )


def engine_of(run: Any, waiting: int) -> TextEngine:
    """Return the engine of an export's run.py.

    Args:
        run: The module.
        waiting: Requests that may wait.
    """
    source = getattr(run, "stream", run.run)
    return TextEngine(run.load, source, getattr(run, "PARALLEL", 1), waiting)


async def sample_answer(folder: Path, model: TextModel, engine: TextEngine) -> dict[str, object]:
    """Return the response to the recorded request of an export.

    Raises:
        Refused: If the engine refuses it, or fails.
    """
    sample = json.loads((folder / "sample.json").read_text())
    fields = {"prompt": sample["prompt"], "max_tokens": sample["new_tokens"], "ignore_eos": True}
    body = json.dumps({**fields, "return_token_ids": True}).encode()
    read = request_of(body, model, chat=False)
    response = TextResponse(read, model)
    pieces = _pieces(read, response, engine, asyncio.Event().wait())
    return response.whole("".join([text async for text, _ in pieces]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until a signal arrives."""
    parser = server_options_parser("Serve the exported language model over HTTP.")
    parser.add_argument("--model", default="", metavar="NAME", help="its name in requests")
    parser.add_argument("--sample", action="store_true", help="answer the recorded request, exit")
    chosen = parser.parse_args(arguments)
    model = model_of(HERE, chosen.model)
    engine = engine_of(module_in(HERE, "run"), chosen.waiting)
    if chosen.sample:
        print(json.dumps(asyncio.run(sample_answer(HERE, model, engine))))
        engine.close()
        return
    cap = int(chosen.most_mb * 2**20)
    most_bytes = min(cap, LEAST_BYTES + BYTES_A_TOKEN * model.context) if model.context else cap
    app = text_application(model, engine, origin(HERE), most_bytes, chosen.receive_s)
    listen(app, chosen, server_options(chosen.connections, chosen.receive_s))
