"""An engine of an export in a separate thread, which the requests of a server share."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from starlette.requests import ClientDisconnect

from tunefront.evaluators.interfaces.generation.endpoint import TokenEvent
from tunefront.evaluators.interfaces.generation.requests import GenerationRequest

from .serve import Refused

ENGINE_POLL_S = 0.5
"""Longest wait of the engine for a token while requests are in progress, s."""
JOIN_S = 10.0
"""Time for the engine's thread to end with the server, s."""


@dataclass(eq=False, slots=True, kw_only=True)
class Ticket:
    """A request in progress.

    Attributes:
        request: The request.
        loop: The loop that waits for its events.
        events: Its events; None when its client has gone.
        number: Its number in the engine; 0 before it is there.
        ended: Whether its last event has arrived.
        status: HTTP status if it has failed.
    """

    request: GenerationRequest
    loop: asyncio.AbstractEventLoop
    events: "asyncio.Queue[TokenEvent | None]" = field(default_factory=asyncio.Queue)
    number: int = 0
    ended: bool = False
    status: int = 500


class TextEngine:
    """An engine that one thread opens and calls; requests join as the engine allows.

    Args:
        load: Opens the engine: a `GenerationEndpoint`, or any other model that `source` runs.
        source: Yields tokens: of the model, after a prompt, so many. For models without `submit`.
        parallel: Requests that the engine decodes together.
        waiting: Requests that may wait besides these.

    Attributes:
        answered: Number of requests that have been answered.
        open: Number of requests in progress or waiting.
    """

    def __init__(
        self,
        load: Callable[[], Any],
        source: Callable[[Any, Sequence[int], int], Iterable[int]],
        parallel: int,
        waiting: int,
    ) -> None:
        self.answered = self.open = 0
        self.parallel = parallel
        self._most = parallel + waiting
        self._load, self._source = load, source
        self._commands: SimpleQueue[tuple[str, Ticket | None]] = SimpleQueue()
        self._tickets: dict[int, Ticket] = {}
        self._engine: Any = None
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        ready: SimpleQueue[BaseException | None] = SimpleQueue()
        self._ready = ready
        self._thread.start()
        if (error := ready.get()) is not None:
            raise error

    def check_room(self) -> None:
        """Check that another request can wait.

        Raises:
            Refused: With status 503, if too many do.
        """
        if self.open >= self._most:
            raise Refused(503, "too many requests are waiting; try again later")

    async def events(
        self, request: GenerationRequest, gone: Awaitable[object]
    ) -> AsyncGenerator[TokenEvent, None]:
        """Yield the events of a request; it is cancelled if not all of them are taken.

        Args:
            request: The request.
            gone: Returns when the client has gone.

        Raises:
            Refused: If the engine refuses the request (status 400), or fails (500).
            ClientDisconnect: If the client has gone.
        """
        ticket = Ticket(request=request, loop=asyncio.get_running_loop())
        watch = asyncio.ensure_future(gone)
        watch.add_done_callback(lambda _: ticket.events.put_nowait(None))
        self.open += 1
        self._commands.put(("submit", ticket))
        try:
            while (event := await ticket.events.get()) is not None:
                if event.error:
                    raise Refused(ticket.status, event.error)
                yield event
                if event.end:
                    return
            raise ClientDisconnect
        finally:
            watch.cancel()
            self.open -= 1
            self._commands.put(("cancel", ticket))

    def close(self) -> None:
        """End the thread."""
        self._commands.put(("end", None))
        self._thread.join(JOIN_S)

    def _work(self) -> None:
        """Run the engine until the end."""
        try:
            self._engine = self._opened()
        except BaseException as error:
            self._ready.put(error)
            return
        self._ready.put(None)
        ended = False
        while not ended:
            try:
                ended = self._step()
            except (Exception, SystemExit) as error:  # engines raise many types
                self._fail(f"the engine failed: {error}")
        if self._engine is not None:
            self._engine.close()

    def _opened(self) -> Any:
        model = self._load()
        return model if hasattr(model, "submit") else OneAtATime(model, self._source)

    def _step(self) -> bool:
        """Take the commands and run a step; return whether it is the end."""
        while not self._tickets or not self._commands.empty():
            what, ticket = self._commands.get()
            if ticket is None:
                return True
            if what == "submit":
                self._submit(ticket)
            elif ticket.number and not ticket.ended:
                self._engine.cancel(ticket.number)
        for event in self._engine.poll(ENGINE_POLL_S):
            if event.request in self._tickets:
                self._send(self._tickets[event.request], event)
        return False

    def _submit(self, ticket: Ticket) -> None:
        try:
            self._engine = self._engine or self._opened()
            number = self._engine.submit(ticket.request)
        except (Exception, SystemExit) as error:  # others go on
            ticket.status = 400 if getattr(error, "cause", "") == "unsupported" else 500
            self._send(ticket, _failed(0, str(error)))
            return
        ticket.number = number
        self._tickets[number] = ticket

    def _send(self, ticket: Ticket, event: Any) -> None:
        if event.end:
            ticket.ended = True
            self._tickets.pop(ticket.number, None)
        with suppress(RuntimeError):  # the server has ended meanwhile
            ticket.loop.call_soon_threadsafe(ticket.events.put_nowait, event)

    def _fail(self, error: str) -> None:
        """End all requests; the next one opens the engine again."""
        failed, self._engine = self._engine, None
        with suppress(Exception):  # what has failed may not close either
            failed.close()
        for number, ticket in list(self._tickets.items()):
            self._send(ticket, _failed(number, error))


class OneAtATime:
    """A model that generates for one request at a time, as an engine.

    Args:
        model: The model.
        source: Yields tokens: of the model, after a prompt, so many.
    """

    def __init__(
        self, model: Any, source: Callable[[Any, Sequence[int], int], Iterable[int]]
    ) -> None:
        self._model, self._source = model, source
        self._waiting: deque[tuple[int, GenerationRequest]] = deque()
        self._running: tuple[int, GenerationRequest] | None = None
        self._tokens: Iterator[int] = iter(())
        self._left = self._number = 0
        self._ended: list[TokenEvent] = []

    def submit(self, request: GenerationRequest) -> int:
        """Queue a request."""
        self._number += 1
        self._waiting.append((self._number, request))
        return self._number

    def poll(self, timeout_s: float) -> Sequence[TokenEvent]:
        """Generate a token of the first request."""
        if self._ended:
            ended, self._ended = self._ended, []
            return ended
        if self._running is None:
            if not self._waiting:
                time.sleep(timeout_s)
                return ()
            self._running = self._waiting.popleft()
            request = self._running[1]
            self._left = request.new_tokens
            self._tokens = iter(self._source(self._model, list(request.prompt), self._left))
        number, request = self._running
        token = next(self._tokens, None)
        self._left -= 1
        end = token is None or token in request.stop or self._left == 0
        if end:
            self._stop()
        now = time.perf_counter()
        tokens = () if token is None else (token,)
        return [TokenEvent(request=number, tokens=tokens, arrival_s=now, end=end)]

    def cancel(self, request: int) -> None:
        """End a request."""
        waiting = [one for one in self._waiting if one[0] != request]
        running = self._running is not None and self._running[0] == request
        if not running and len(waiting) == len(self._waiting):
            return
        self._waiting = deque(waiting)
        if running:
            self._stop()
        now = time.perf_counter()
        self._ended.append(TokenEvent(request=request, tokens=(), arrival_s=now, end=True))

    def close(self) -> None:
        """End the request in progress."""
        self._stop()

    def _stop(self) -> None:
        close = getattr(self._tokens, "close", None)
        if close is not None:
            close()
        self._running, self._tokens = None, iter(())


def _failed(number: int, error: str) -> TokenEvent:
    now = time.perf_counter()
    return TokenEvent(request=number, tokens=(), arrival_s=now, end=True, error=error)
