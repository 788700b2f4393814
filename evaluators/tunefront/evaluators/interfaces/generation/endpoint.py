"""Endpoints that generate text: polled, so that one thread generates the load.

A request is submitted, and `poll` returns the tokens that have arrived since, of all requests in
progress. Engines that batch continuously, static batches and HTTP servers all fit it.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from tunefront.evaluators.interfaces.endpoint import Endpoint
from tunefront.evaluators.statistics.arrays import Array

from .requests import GenerationRequest


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
        """Send a request and return its number.

        Raises:
            EvaluationError: If the model can't serve it, see `ModelLimits` (cause "unsupported").
        """

    @abstractmethod
    def poll(self, timeout_s: float) -> Sequence[TokenEvent]:
        """Return the events since the last call; wait at most `timeout_s` for the first.

        An engine that runs in this process can run one step instead, however long that takes.

        Raises:
            EvaluationError: If the engine has ended (cause "crash").
        """

    @abstractmethod
    def cancel(self, request: int) -> None:
        """End a request whose tokens are no longer needed.

        `poll` reports its end like that of any other, without an error: at once, or after its
        remaining tokens if the engine can't cancel. Numbers that are unknown or have ended are
        ignored.
        """


class Scorer(Protocol):
    """What an endpoint can offer in addition: scores of given tokens, for perplexity."""

    def logits(self, tokens: Sequence[int]) -> Iterator[Array]:
        """Yield the scores of every next token, in portions `(positions, vocabulary)`, fp32.

        The portions together have one position for each token but the last.
        """
        ...
