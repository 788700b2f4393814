"""Requests for text, and their responses."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count

from tunefront.spaces import EvaluationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A chat message: the role of its author, and its text."""

    role: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationResponse:
    """The response to a request.

    Attributes:
        tokens: Token ids, in order.
        arrival_s: Seconds from the time at which the request was due to the arrival of each token.
    """

    tokens: tuple[int, ...]
    arrival_s: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """A request.

    Attributes:
        prompt: Token ids.
        new_tokens: Number of tokens to generate.
        stop: Token ids after which the response ends early, with that token; empty if exactly
            `new_tokens` are generated, whatever they are, as where time is measured.
        messages: The same prompt as chat messages, for servers that apply the chat template
            themselves; empty if the prompt is one message of the user with the text of its tokens.
        shared: Number of tokens at the beginning of the prompt that all requests share.
    """

    prompt: tuple[int, ...]
    new_tokens: int
    stop: tuple[int, ...] = ()
    messages: tuple[Message, ...] = ()
    shared: int = 0

    @property
    def most_parts(self) -> int:
        """The largest number of tokens of its response."""
        return self.new_tokens

    def timed_response(
        self, parts: Sequence[int], arrival_s: Sequence[float]
    ) -> GenerationResponse:
        """Return the response of an ended request.

        Raises:
            EvaluationError: If tokens are missing (cause "invalid output").
        """
        stopped = 0 < len(parts) <= self.new_tokens and parts[-1] in self.stop
        if len(parts) != self.new_tokens and not stopped:
            raise EvaluationError(
                f"a request for {self.new_tokens} tokens returned {len(parts)}; the engine must "
                "generate exactly as many, without an end at the model's end token",
                cause="invalid output",
            )
        return GenerationResponse(tokens=tuple(parts), arrival_s=tuple(arrival_s))


def distinct_requests(
    requests: Sequence[GenerationRequest], seed: int, start: int = 0, step: int = 1
) -> Iterator[GenerationRequest]:
    """Yield the requests again and again, with other two tokens each time.

    A repeated prompt would be found in a prefix cache, which other users' prompts are not. The
    lengths stay the same, and so do the tokens that all requests share. The first two tokens after
    these are replaced by others of the prompts: one by the seed, one by a number that is counted.

    Args:
        requests: The requests.
        seed: Number of the turn.
        start: The first number.
        step: The difference of two numbers.
    """
    known = sorted({token for one in requests for token in one.prompt})
    place_of = {token: place for place, token in enumerate(known)}
    for number, counted in enumerate(count(start, step)):
        request = requests[number % len(requests)]
        shared, own = request.prompt[: request.shared], request.prompt[request.shared :]
        shifts = (seed, counted) if len(own) > 1 else (seed + counted,)
        first = tuple(
            known[(place_of[token] + 1 + shift) % len(known)]
            for token, shift in zip(own, shifts, strict=False)
        )
        yield replace(request, prompt=shared + first + own[len(first) :])
