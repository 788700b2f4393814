"""Endpoints that generate text: polled, see `PolledEndpoint`; what arrives are tokens."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from tunefront.evaluators.interfaces.load import Load
from tunefront.evaluators.interfaces.polled.endpoint import PolledEndpoint
from tunefront.evaluators.interfaces.polled.load_generator import run_requests
from tunefront.evaluators.statistics.arrays import Array

from .requests import GenerationRequest, GenerationResponse


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

    @property
    def parts(self) -> tuple[int, ...]:
        """The new token ids, as the parts of a response."""
        return self.tokens


class GenerationEndpoint(PolledEndpoint[GenerationRequest, GenerationResponse]):
    """An endpoint that generates text; its calls come from one thread and never block for long."""

    @abstractmethod
    def submit(self, request: GenerationRequest) -> int:
        """Send a request and return its number.

        Raises:
            EvaluationError: If the model can't serve it, see `ModelLimits` (cause "unsupported").
        """

    @abstractmethod
    def poll(self, timeout_s: float) -> Sequence[TokenEvent]:
        """Return the events since the last call; see `PolledEndpoint.poll`."""


class Scorer(Protocol):
    """What an endpoint can offer in addition: scores of given tokens, for perplexity."""

    def logits(self, tokens: Sequence[int]) -> Iterator[Array]:
        """Yield the scores of every next token, in portions `(positions, vocabulary)`, fp32.

        The portions together have one position for each token but the last.
        """
        ...


def generate(
    endpoint: GenerationEndpoint, requests: Sequence[GenerationRequest], load: Load | None = None
) -> list[GenerationResponse]:
    """Run requests under a load, one at a time if none is given; return their responses in order.

    Raises:
        EvaluationError: If a request fails, or returns fewer tokens than requested (cause "invalid
            output").
    """
    return run_requests(endpoint, requests, load)
