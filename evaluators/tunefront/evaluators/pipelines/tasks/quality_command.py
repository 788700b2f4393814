"""A candidate served over HTTP while the user's command evaluates its quality."""

import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import uvicorn

from tunefront.evaluators.exports.completions import TextModel
from tunefront.evaluators.exports.serve import HostCheck
from tunefront.evaluators.exports.serve_text import text_application
from tunefront.evaluators.exports.text_engine import TextEngine
from tunefront.evaluators.interfaces.generation import (
    GenerationEndpoint,
    GenerationRequest,
    ModelLimits,
    TokenEvent,
)
from tunefront.evaluators.workloads.quality import Quality
from tunefront.evaluators.workloads.sources.hub import load_processor
from tunefront.evaluators.workloads.sources.own_quality import with_scores
from tunefront.evaluators.workloads.text_generation.quality_command import command_scores
from tunefront.evaluators.workloads.text_generation.workload import TextGeneration
from tunefront.spaces import EvaluationError, WorkloadError

SERVED_HOST = "127.0.0.1"
SERVED_NAME = "candidate"
"""Name of the model in requests to a candidate that is served here."""
MOST_WAITING = 10_000
"""Requests that may wait: a command can send all of its items at once."""
MOST_BYTES = 64 * 2**20
"""Largest size of a request's body."""
SERVED_POLL_S = 0.01
"""Seconds between two looks at the server that starts; longest wait for a token."""
TokenSource = Callable[[Any, Sequence[int], int], Iterable[int]]
SERVED_START_S = 60.0
"""Longest time in which the HTTP server starts."""


def with_command(workload: object, endpoint: object, quality: Quality) -> Quality:
    """Return the quality with the scores of the user's command, if the workload has one.

    Args:
        workload: The workload.
        endpoint: The candidate. If it is a server, the command's requests go to it directly.
        quality: What the workload has evaluated itself.

    Raises:
        EvaluationError: If the command fails; see `command_scores`.
    """
    if not isinstance(workload, TextGeneration) or workload.spec.quality_command is None:
        return quality
    assert isinstance(endpoint, GenerationEndpoint)
    with _address(workload, endpoint) as (url, model):
        items = command_scores(workload.spec, url, model)
    return with_scores(quality, workload.spec.metric, items)


def check_command(workload: object) -> None:
    """Run the user's command, if there is one, on empty responses, which any candidate can return.

    Raises:
        WorkloadError: If it fails.
    """
    if not isinstance(workload, TextGeneration) or workload.spec.quality_command is None:
        return
    try:
        with served(workload, lambda *given: ()) as url:
            command_scores(workload.spec, url, SERVED_NAME)
    except EvaluationError as error:
        raise WorkloadError(
            f"{error}\nThe command was run on empty responses, which any candidate can return; "
            "print the lowest score for them"
        ) from error


@contextmanager
def _address(workload: TextGeneration, endpoint: GenerationEndpoint) -> Iterator[tuple[str, str]]:
    """Yield the address at which the candidate answers, and its name in requests."""
    own = getattr(endpoint, "address", None)
    if own is not None:
        yield own
        return
    with served(workload, lambda _, prompt, count: response_tokens(endpoint, prompt, count)) as url:
        yield url, SERVED_NAME


@contextmanager
def served(workload: TextGeneration, source: TokenSource) -> Iterator[str]:
    """Serve a candidate with the OpenAI-compatible interface on loopback; yield the address.

    Requests run one at a time, as the workload's own items do.

    Args:
        workload: The workload.
        source: Yields the tokens of a response, as of `TextEngine`.

    Raises:
        EvaluationError: If the server does not start (cause "timeout").
    """
    limits: ModelLimits = workload.limits()
    model = TextModel(
        name=SERVED_NAME,
        tokenizer=load_processor(workload.spec, "AutoTokenizer"),
        stop=tuple(workload.stop_tokens()),
        context=limits.context or 0,
        vocabulary=limits.vocabulary or 0,
    )
    engine = TextEngine(object, source, 1, MOST_WAITING)  # the source needs no model
    app = HostCheck(text_application(model, engine, {}, MOST_BYTES), SERVED_HOST)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none"))
    with socket.create_server((SERVED_HOST, 0)) as listening:
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        try:
            _wait_for(server, thread)
            yield f"http://{SERVED_HOST}:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def _wait_for(server: uvicorn.Server, thread: threading.Thread) -> None:
    until = time.monotonic() + SERVED_START_S
    while not server.started:
        if not thread.is_alive() or time.monotonic() > until:
            raise EvaluationError("the server of the candidate does not start", cause="timeout")
        time.sleep(SERVED_POLL_S)


def response_tokens(
    endpoint: GenerationEndpoint, prompt: Sequence[int], new_tokens: int
) -> Iterator[int]:
    """Yield the tokens of an endpoint's response; a response that is not taken whole is cancelled.

    Raises:
        EvaluationError: If the request fails (cause "exception").
    """
    wanted = GenerationRequest(prompt=tuple(prompt), new_tokens=new_tokens)
    number, ended = endpoint.submit(wanted), False
    try:
        while not ended:
            for event in _events(endpoint, number):
                ended = ended or event.end
                if event.error:
                    raise EvaluationError(f"a request failed: {event.error}", cause="exception")
                yield from event.tokens
    finally:
        if not ended:
            endpoint.cancel(number)
        while not ended:
            ended = any(event.end for event in _events(endpoint, number))


def _events(endpoint: GenerationEndpoint, number: int) -> list[TokenEvent]:
    return [event for event in endpoint.poll(SERVED_POLL_S) if event.request == number]
