"""Requests for text, and their responses."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count


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
        arrival_s: Seconds from the time at which the request was due to the arrival of each token.
    """

    tokens: tuple[int, ...]
    arrival_s: tuple[float, ...] = ()


def distinct_requests(
    requests: Sequence[GenerationRequest], seed: int, start: int = 0, step: int = 1
) -> Iterator[GenerationRequest]:
    """Yield the requests again and again, with other first two tokens each time.

    A repeated prompt would be found in a prefix cache, which other users' prompts are not. The
    lengths stay the same. The tokens are replaced by others of the prompts: the first by the
    seed, the second by a number that is counted.

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
        shifts = (seed, counted) if len(request.prompt) > 1 else (seed + counted,)
        first = tuple(
            known[(place_of[token] + 1 + shift) % len(known)]
            for token, shift in zip(request.prompt, shifts, strict=False)
        )
        yield replace(request, prompt=first + request.prompt[len(first) :])
