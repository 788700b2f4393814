"""The interface `generation`: prompts of tokens in, streams of tokens out.

Endpoints are polled: a request is submitted, and `poll` returns the tokens that have arrived since,
of all requests in progress. Engines that batch continuously, static batches and HTTP servers all
fit it, and one thread generates the load.
"""

import json
import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.statistics.formatting import percent_text
from tunefront.evaluators.statistics.intervals import median_interval
from tunefront.evaluators.statistics.measurement import Measurement
from tunefront.evaluators.statistics.timing import Block, Timing
from tunefront.spaces import EvaluationError, ExportError
from tunefront.spaces.metric import Metric

from .base import Comparison, CpuClock, Interface, PassSize
from .endpoint import Endpoint
from .load import Load

TIME_TO_FIRST_TOKEN = Metric(
    name="time_to_first_token_ms",
    unit="ms",
    direction="minimize",
    summary="median time from a request to its first token",
    kind="speed",
)
TIME_PER_TOKEN = Metric(
    name="time_per_token_ms",
    unit="ms",
    direction="minimize",
    summary="median over requests of the mean time between tokens after the first",
    kind="speed",
)
OUTPUT_TOKENS_PER_SECOND = Metric(
    name="output_tokens_per_second",
    unit="tokens/s",
    direction="maximize",
    summary="generated tokens in a second, over all requests and replicas",
    kind="speed",
    follows="rate",
    reference_rate=True,
)
GENERATION_METRICS = (OUTPUT_TOKENS_PER_SECOND, TIME_TO_FIRST_TOKEN, TIME_PER_TOKEN)
"""Metrics of the interface, in the order of their listings."""
PROMPTS = "requests.json"
SAMPLE = "sample.json"
"""File of an export with a recorded request and its tokens."""
POLL_S = 0.5
"""Longest wait for a token in seconds, after which the next request can be due."""
LEAST_AGREEMENT = 0.9
"""Smallest share of tokens, up to the first difference, that a repeated response must have.

Greedy decoding is deterministic on one processor; on others, rounding can change a close choice,
and every token after it.
"""
_FIRST, _BETWEEN = "first_token_s", "between_tokens_s"


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """A request.

    Attributes:
        prompt: Token ids.
        new_tokens: Number of tokens to generate.
        stop: Token ids after which the response ends early, with that token; empty if exactly
            `new_tokens` are generated, whatever they are, as where time is measured.
    """

    prompt: tuple[int, ...]
    new_tokens: int
    stop: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationResponse:
    """The response to a request.

    Attributes:
        tokens: Token ids, in order.
        arrival_s: Seconds from the request to the arrival of each token.
    """

    tokens: tuple[int, ...]
    arrival_s: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenEvent:
    """Tokens of a request that have arrived.

    Attributes:
        request: Number of the request, from `submit`.
        tokens: The new token ids; empty if the event only reports the end.
        arrival_s: When they arrived, by `time.perf_counter` of the polling process.
        end: Whether the request has ended.
        error: Why it failed; empty if it did not. A failed request has ended.
    """

    request: int
    tokens: tuple[int, ...]
    arrival_s: float
    end: bool = False
    error: str = ""


class GenerationEndpoint(Endpoint):
    """An endpoint that generates text; its calls come from one thread and never block for long."""

    @abstractmethod
    def submit(self, request: GenerationRequest) -> int:
        """Send a request and return its number."""

    @abstractmethod
    def poll(self, timeout_s: float) -> Sequence[TokenEvent]:
        """Return the events since the last call; wait at most `timeout_s` for the first.

        Raises:
            EvaluationError: If the engine has ended (cause "crash").
        """

    @abstractmethod
    def cancel(self, request: int) -> None:
        """End a request whose tokens are no longer needed; unknown numbers are ignored."""


class Scorer(Protocol):
    """What an endpoint can offer in addition: scores of given tokens, for perplexity."""

    def logits(self, tokens: Sequence[int]) -> Iterator[Array]:
        """Yield the scores of every next token, in portions `(positions, vocabulary)`, fp32.

        The portions together have one position for each token but the last.
        """
        ...


class Generation(Interface[GenerationRequest, GenerationResponse, GenerationEndpoint]):
    """Generation under a load: a number of requests in progress, or a rate of requests."""

    name = "generation"
    metrics = GENERATION_METRICS
    sample_script = """

if __name__ == "__main__":
    sample = json.loads((HERE / "sample.json").read_text())
    tokens = run(load(), sample["prompt"], sample["new_tokens"])
    print(len(tokens), "tokens |", "as recorded" if tokens == sample["tokens"] else "different")
"""

    usage = """\
from tunefront.evaluators import load
from tunefront.evaluators.interfaces.generation import GenerationRequest, generate
engine = load("path/to/this/folder")
responses = generate(engine, [GenerationRequest(prompt=(1, 2, 3), new_tokens=8)])
engine.close()
"""

    def write(self, requests: Sequence[GenerationRequest], folder: Path) -> None:
        """Write `requests.json`."""
        rows = [
            {"prompt": list(one.prompt), "new_tokens": one.new_tokens, "stop": list(one.stop)}
            for one in requests
        ]
        (folder / PROMPTS).write_text(json.dumps(rows))

    def read(self, folder: Path) -> list[GenerationRequest]:
        """Read `requests.json`."""
        rows = json.loads((folder / PROMPTS).read_text())
        return [
            GenerationRequest(
                prompt=tuple(row["prompt"]), new_tokens=row["new_tokens"], stop=tuple(row["stop"])
            )
            for row in rows
        ]

    def size(self, requests: Sequence[GenerationRequest]) -> PassSize:
        """Return the tokens to generate, and the tokens of the prompts."""
        return PassSize(
            items=sum(one.new_tokens for one in requests),
            tokens=sum(len(one.prompt) for one in requests),
        )

    def respond(
        self, endpoint: GenerationEndpoint, request: GenerationRequest
    ) -> GenerationResponse:
        """Run one request alone.

        Raises:
            EvaluationError: If it fails, or returns fewer tokens than requested (cause "invalid
                output").
        """
        return generate(endpoint, [request])[0]

    def run_pass(
        self, endpoint: GenerationEndpoint, requests: Sequence[GenerationRequest], load: Load
    ) -> float:
        """Run all requests once under the load and return the seconds."""
        start = time.perf_counter()
        generate(endpoint, requests, load)
        return time.perf_counter() - start

    def run_block(
        self,
        endpoint: GenerationEndpoint,
        requests: Sequence[GenerationRequest],
        load: Load,
        least_s: float,
        watch: CpuClock,
    ) -> Block:
        """Send whole passes for at least `least_s` seconds, after one untimed request.

        The span includes the end of the block, where fewer requests are in progress.
        """
        self.respond(endpoint, requests[0])
        run = _Run(endpoint, load)
        start = time.perf_counter()
        watch.start()
        for place in count():
            whole = place > 0 and place % len(requests) == 0
            if whole and time.perf_counter() - start >= least_s:
                break
            run.send(requests[place % len(requests)])
        responses = run.finish()
        span_s = time.perf_counter() - start
        cpu_s, wait_s = watch.stop()
        ends = np.array([one.arrival_s[-1] for one in responses])
        return Block(
            request_s=ends.reshape(-1, len(requests)),
            cpu_s=cpu_s,
            wait_s=wait_s,
            untimed=requests[0].new_tokens * len(requests) / self.size(requests).items,
            span_s=span_s,
            samples={
                _FIRST: np.array([one.arrival_s[0] for one in responses]),
                _BETWEEN: np.array([_between_s(one) for one in responses]),
            },
        )

    def measurements(self, timing: Timing) -> Mapping[str, Measurement]:
        """Return the rate of tokens and the times of requests, as medians over the turns."""
        kept = timing.kept
        turns = [turn for turn, keep in zip(timing.blocks, kept, strict=True) if keep]
        requests = sum(block.request_s.size for turn in turns for block in turn)

        def median_ms(name: str) -> tuple[float, float, float]:
            per_turn = [np.concatenate([block.samples[name] for block in turn]) for turn in turns]
            medians: npt.NDArray[np.float64] = np.array([np.median(one) for one in per_turn])
            return median_interval(medians * 1e3)

        found = {
            OUTPUT_TOKENS_PER_SECOND: (
                median_interval(timing.rate[kept] * timing.items),
                len(turns),
            ),
            TIME_TO_FIRST_TOKEN: (median_ms(_FIRST), requests),
            TIME_PER_TOKEN: (median_ms(_BETWEEN), requests),
        }
        return {
            metric.name: Measurement(
                value=value, unit=metric.unit, low=low, high=high, samples=samples
            )
            for metric, ((value, low, high), samples) in found.items()
        }

    def write_sample(
        self, request: GenerationRequest, response: GenerationResponse, folder: Path
    ) -> None:
        """Write `sample.json`."""
        fields = {
            "prompt": list(request.prompt),
            "new_tokens": request.new_tokens,
            "tokens": list(response.tokens),
        }
        (folder / SAMPLE).write_text(json.dumps(fields) + "\n")

    def read_sample(self, folder: Path) -> tuple[GenerationRequest, GenerationResponse]:
        """Read `sample.json`.

        Raises:
            ExportError: If it can't be read.
        """
        try:
            fields = json.loads((folder / SAMPLE).read_text())
            request = GenerationRequest(
                prompt=tuple(fields["prompt"]), new_tokens=int(fields["new_tokens"])
            )
            return request, GenerationResponse(tokens=tuple(fields["tokens"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ExportError(f"{folder / SAMPLE} can't be read: {error}") from error

    def compare(
        self, recorded: GenerationResponse, now: GenerationResponse, allowed: float
    ) -> Comparison:
        """Compare tokens up to the first difference; see `LEAST_AGREEMENT`."""
        pairs = zip(recorded.tokens, now.tokens, strict=False)
        same = next((place for place, (a, b) in enumerate(pairs) if a != b), None)
        same = min(len(recorded.tokens), len(now.tokens)) if same is None else same
        wanted = len(recorded.tokens)
        return Comparison(
            holds=same >= LEAST_AGREEMENT * wanted,
            detail=f"{same} of {wanted} tokens are the recorded ones, up to the first difference "
            f"(at least {percent_text(LEAST_AGREEMENT)} needed)",
        )


def generate(
    endpoint: GenerationEndpoint, requests: Sequence[GenerationRequest], load: Load | None = None
) -> list[GenerationResponse]:
    """Run requests under a load, one at a time if none is given; return their responses in order.

    Raises:
        EvaluationError: If a request fails, or returns fewer tokens than requested (cause "invalid
            output").
    """
    run = _Run(endpoint, load or Load())
    for request in requests:
        run.send(request)
    return run.finish()


@dataclass(slots=True)
class _Sent:
    """A request that was sent, and its tokens so far."""

    request: GenerationRequest
    sent_s: float
    tokens: list[int] = field(default_factory=list)
    arrival_s: list[float] = field(default_factory=list)


class _Run:
    """Sends requests when they are due by the load, and collects tokens meanwhile.

    Args:
        endpoint: The endpoint.
        load: The load; the times of an open loop have the same seed in every run.
    """

    def __init__(self, endpoint: GenerationEndpoint, load: Load) -> None:
        self._endpoint = endpoint
        self._load = load
        self._gaps = _gaps(load)
        self._due_s = time.perf_counter()
        self._order: list[int] = []
        self._sent: dict[int, _Sent] = {}
        self._running: set[int] = set()

    def send(self, request: GenerationRequest) -> None:
        """Wait until the request is due and send it."""
        if self._load.rate_per_s is None:
            while len(self._running) >= self._load.concurrency:
                self._collect(POLL_S)
        else:
            while (left_s := self._due_s - time.perf_counter()) > 0:
                self._collect(min(left_s, POLL_S))
            self._due_s += next(self._gaps)
        sent_s = time.perf_counter()
        number = self._endpoint.submit(request)
        self._order.append(number)
        self._sent[number] = _Sent(request=request, sent_s=sent_s)
        self._running.add(number)

    def finish(self) -> list[GenerationResponse]:
        """Wait for all requests; return their responses in the order of sending."""
        while self._running:
            self._collect(POLL_S)
        return [_response(self._sent[number]) for number in self._order]

    def _collect(self, timeout_s: float) -> None:
        for event in self._endpoint.poll(timeout_s):
            sent = self._sent.get(event.request)
            if sent is None:  # a request that was cancelled before this run
                continue
            if event.error:
                raise EvaluationError(f"a request failed: {event.error}", cause="exception")
            sent.tokens += event.tokens
            sent.arrival_s += [event.arrival_s - sent.sent_s] * len(event.tokens)
            if event.end:
                self._running.discard(event.request)


def _gaps(load: Load) -> Iterator[float]:
    """Yield the seconds between requests of an open loop."""
    random = np.random.default_rng(0)
    while True:
        yield float(random.exponential(1 / load.rate_per_s)) if load.rate_per_s else 0.0


def _response(sent: _Sent) -> GenerationResponse:
    wanted = sent.request.new_tokens
    stopped = 0 < len(sent.tokens) <= wanted and sent.tokens[-1] in sent.request.stop
    if len(sent.tokens) != wanted and not stopped:
        raise EvaluationError(
            f"a request for {wanted} tokens returned {len(sent.tokens)}", cause="invalid output"
        )
    return GenerationResponse(tokens=tuple(sent.tokens), arrival_s=tuple(sent.arrival_s))


def _between_s(response: GenerationResponse) -> float:
    """Return the mean seconds between tokens after the first; 0 for a single token."""
    arrival_s = response.arrival_s
    return (arrival_s[-1] - arrival_s[0]) / max(len(arrival_s) - 1, 1)
