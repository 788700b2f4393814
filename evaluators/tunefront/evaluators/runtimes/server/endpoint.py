"""An open server: requests are streams over HTTP, polled in one thread."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from tunefront.evaluators.interfaces.endpoint import Endpoint, Facts
from tunefront.evaluators.interfaces.generation import (
    GenerationEndpoint,
    GenerationRequest,
    ServerSpec,
    TokenEvent,
)
from tunefront.spaces import EvaluationError, Value

from .http_stream import HttpStreams, StreamPart
from .process import ServerProcess
from .protocol import DONE, MODELS, Caller, Piece, Tokenizer, piece_of

CRASH_S = 5.0
"""Seconds in which a server that closed a connection early must have ended, if it crashed."""


@dataclass(slots=True)
class _Response:
    """A response in progress: the pieces that have arrived."""

    request: GenerationRequest
    sent: int = 0
    text: str = ""
    tokens: tuple[int, ...] = ()
    finish: str = ""
    generated: int | None = None
    last: int = 0


class OpenServer(Endpoint):
    """A server and the connections to it.

    Args:
        url: Address of the server.
        spec: How it is called.
        process: Its process; None if it runs elsewhere.
        facts: What was read from the process, by choice name.

    Raises:
        EvaluationError: If the environment variable of the key is not set (cause "unsupported").
    """

    def __init__(
        self,
        url: str,
        spec: ServerSpec,
        process: ServerProcess | None,
        facts: Mapping[str, Value],
    ) -> None:
        self._process, self._facts = process, facts
        self._streams = HttpStreams(
            url, _headers(spec.api_key), -1 if process is None else process.messages
        )

    def facts(self) -> Facts:
        """Return what was read from the server's process when it was ready."""
        return self._facts

    def processes(self) -> Sequence[int] | None:
        """Return the server's process; None if it runs elsewhere."""
        return None if self._process is None else (self._process.pid,)

    def close(self) -> None:
        """Close the connections and stop the server."""
        self._streams.close()
        if self._process is not None:
            self._process.close()

    def _arrivals(self, timeout_s: float) -> Sequence[StreamPart]:
        """Return what has arrived of responses.

        Raises:
            EvaluationError: If the server has ended, with its last lines.
        """
        arrivals = self._streams.poll(timeout_s)
        if self._process is not None:
            self._process.check()
        if any(one.broken for one in arrivals):
            self._check_after_loss()
        return arrivals

    def _check_after_loss(self) -> None:
        """Raise the error of a server that has ended, or ends now that a connection is lost."""
        if self._process is not None:
            self._process.wait_for_end(CRASH_S)
            self._process.check()


class ServerEndpoint(OpenServer, GenerationEndpoint):
    """A server and the streams of its responses.

    Tokens count as they arrive: those whose ids the server sends, else one for each event with
    text. What the server's own count (`usage`) has beyond that arrives with the last event, for
    texts that are held back until a character is complete; a smaller count is an error.

    Args:
        url: Address of the server.
        spec: How it is called.
        tokenizer: The model's tokenizer.
        process: Its process; None if it runs elsewhere.
        facts: What was read from the process, by choice name.

    Attributes:
        address: Address of the server, and the model's name in requests.

    Raises:
        EvaluationError: If the server does not answer in the interface (cause "unsupported").
    """

    def __init__(
        self,
        url: str,
        spec: ServerSpec,
        tokenizer: Tokenizer,
        process: ServerProcess | None,
        facts: Mapping[str, Value],
    ) -> None:
        super().__init__(url, spec, process, facts)
        try:
            self.address = (url, self._model_name())
            self._caller = Caller(
                model=self.address[1], api=spec.api, prompts=spec.prompts, tokenizer=tokenizer
            )
        except EvaluationError:
            self.close()
            raise
        self._tokenizer = tokenizer
        self._responses: dict[int, _Response] = {}
        self._cancelled: list[int] = []

    def _model_name(self) -> str:
        """Return the name of the first model that the server lists."""
        status, content = self._streams.get(MODELS)
        try:
            return str(json.loads(content)["data"][0]["id"])
        except (ValueError, KeyError, IndexError, TypeError) as error:
            text = content[:200].decode(errors="replace")
            name = HTTPStatus(status).phrase if status in list(HTTPStatus) else ""
            raise EvaluationError(
                f"the server answers, but not in the OpenAI-compatible interface: {MODELS} has "
                f"status {status} {name} and no list of models: {text!r}",
                cause="unsupported",
            ) from error

    def submit(self, request: GenerationRequest) -> int:
        """Send a request.

        Raises:
            EvaluationError: If the server can't be reached, with the cause of its end.
        """
        try:
            number = self._streams.post(self._caller.path, self._caller.body(request))
        except EvaluationError:
            self._check_after_loss()
            raise
        self._responses[number] = _Response(request=request)
        return number

    def poll(self, timeout_s: float) -> Sequence[TokenEvent]:
        """Return the tokens that have arrived.

        Raises:
            EvaluationError: If the server has ended, with its last lines.
        """
        if self._cancelled:
            now = time.perf_counter()
            ended, self._cancelled = self._cancelled, []
            return [TokenEvent(request=one, tokens=(), arrival_s=now, end=True) for one in ended]
        arrivals = self._arrivals(timeout_s)
        return [self._event(one) for one in arrivals if one.events or one.end]

    def cancel(self, request: int) -> None:
        """Close the connection of a request, which ends it on the server."""
        if self._streams.drop(request):
            del self._responses[request]
            self._cancelled.append(request)

    def _event(self, arrival: StreamPart) -> TokenEvent:
        response = self._responses[arrival.number]
        error, text, tokens = arrival.error, "", tuple[int, ...]()
        try:
            for text in arrival.events:
                if text != DONE:
                    piece = piece_of(text)
                    error = error or piece.error
                    tokens += self._taken(response, piece)
        except (ValueError, TypeError, AttributeError) as wrong:
            error = f"the event {text[:200]!r} is not in the OpenAI-compatible interface: {wrong}"
        if arrival.end or error:
            if not arrival.end:
                self._streams.drop(arrival.number)
            del self._responses[arrival.number]
            rest, problem = self._rest(response)
            tokens, error = tokens + rest, error or problem
        return TokenEvent(
            request=arrival.number,
            tokens=tokens,
            arrival_s=arrival.arrival_s,
            end=arrival.end or bool(error),
            error=error,
        )

    def _taken(self, response: _Response, piece: Piece) -> tuple[int, ...]:
        """Add a piece to a response; return the tokens that have arrived with it."""
        response.finish = piece.finish or response.finish
        if piece.generated is not None:
            response.generated = piece.generated
        response.text += piece.text
        response.tokens += piece.tokens
        if response.request.stop or not (piece.text or piece.tokens):
            return ()  # the tokens of a whole text are found at its end
        new = piece.tokens or (self._tokenizer.token(piece.text),)
        response.sent += len(new)
        response.last = new[-1]
        return new

    def _rest(self, response: _Response) -> tuple[tuple[int, ...], str]:
        """Return the tokens of an ended response that were not returned yet, and what is wrong."""
        if response.request.stop:
            return self._whole(response), ""
        counted = response.sent if response.generated is None else response.generated
        if counted < response.sent:
            return (), f"the server counts {counted} tokens, but has sent {response.sent}"
        return (response.last,) * (counted - response.sent), ""

    def _whole(self, response: _Response) -> tuple[int, ...]:
        """Return all tokens of a response that ends naturally, with the token that ended it."""
        wanted, stop = response.request.new_tokens, response.request.stop
        found = (response.tokens or self._tokenizer.tokens(response.text))[:wanted]
        if found and found[-1] in stop:
            return found
        if response.finish == "length" and len(found) == wanted:
            return found
        return (*found[: wanted - 1], stop[0])


def _headers(api_key: str) -> dict[str, str]:
    """Return the headers with a key.

    Raises:
        EvaluationError: If its environment variable is not set (cause "unsupported").
    """
    if not api_key:
        return {}
    if not (key := os.environ.get(api_key)):
        raise EvaluationError(
            f"server.api_key: the environment variable {api_key} is not set; set it to the key",
            cause="unsupported",
        )
    return {"Authorization": f"Bearer {key}"}
