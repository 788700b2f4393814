"""A static batch: requests that start together and are decoded by one generator."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tunefront.evaluators.interfaces.generation import GenerationRequest, TokenEvent

from .library import genai_library

PADDING = -1
"""Token id that fills short prompts, as `pad_token_id`; no prompt has it.

The library masks tokens that are equal to `pad_token_id`, also where they are part of a prompt, so
that no id of the vocabulary is safe. The embedding reads the last row for -1.
"""
GREEDY = {
    "do_sample": False,
    "num_beams": 1,
    "min_length": 0,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
}
"""Search options for the most likely token, whatever the model's own defaults are."""


@dataclass(slots=True, kw_only=True)
class Row:
    """A request and its tokens so far.

    Attributes:
        number: Its number.
        request: The request.
        tokens: Generated tokens.
    """

    number: int
    request: GenerationRequest
    tokens: list[int] = field(default_factory=list)

    @property
    def read(self) -> tuple[int, ...]:
        """Tokens that come before the next one."""
        return (*self.request.prompt, *self.tokens)

    @property
    def left(self) -> int:
        """Number of tokens that are still to be generated, without a stop token."""
        return self.request.new_tokens - len(self.tokens)


class Batch:
    """Requests that are decoded together; rows that have ended stay until the last one has.

    The library ends a row at an end token and has no option against that. It is opened with an end
    token that models hardly generate. If a row generates it, all rows start again, with what they
    have generated as part of their prompts: one step takes longer, and the tokens are the same.

    Args:
        model: The library's model.
        rows: The requests, at least one.
        end_token: The end token that the model was opened with.
    """

    def __init__(self, model: Any, rows: Sequence[Row], end_token: int) -> None:
        self._model = model
        self._end_token = end_token
        self._rows = dict(enumerate(rows))
        self._generator: Any = None

    @property
    def numbers(self) -> list[int]:
        """Numbers of the requests in progress."""
        return [row.number for row in self._rows.values()]

    def step(self) -> list[TokenEvent]:
        """Generate one token of every request in progress; the first step reads the prompts."""
        generator = self._generator or self._started()
        generator.generate_next_token()
        tokens = generator.get_next_tokens()
        now = time.perf_counter()
        events = [self._event(place, int(tokens[place]), now) for place in list(self._rows)]
        if any(row.tokens[-1] == self._end_token for row in self._rows.values()):
            self._generator = None
        return events

    def remove(self, number: int) -> None:
        """End a request; its row is computed until the batch has ended."""
        self._rows = {place: row for place, row in self._rows.items() if row.number != number}

    def _started(self) -> Any:
        library = genai_library()
        rows = list(self._rows.values())
        self._rows = dict(enumerate(rows))
        params = library.GeneratorParams(self._model)
        params.set_search_options(**GREEDY, batch_size=len(rows), max_length=longest(rows))
        self._generator = generator = library.Generator(self._model, params)
        generator.append_tokens(_padded([row.read for row in rows]))
        return generator

    def _event(self, place: int, token: int, now: float) -> TokenEvent:
        row = self._rows[place]
        row.tokens.append(token)
        end = row.left == 0 or token in row.request.stop
        if end:
            del self._rows[place]
        return TokenEvent(request=row.number, tokens=(token,), arrival_s=now, end=end)


def longest(rows: Sequence[Row]) -> int:
    """Return the length of the KV cache that a batch needs, in tokens of one row."""
    return max(len(row.read) for row in rows) + max(row.left for row in rows)


def _padded(prompts: Sequence[Sequence[int]]) -> Any:
    """Return prompts of one length, filled at the end: int32, shape `(prompts, length)`."""
    length = max(map(len, prompts))
    rows = [[*prompt, *[PADDING] * (length - len(prompt))] for prompt in prompts]
    return np.array(rows, dtype=np.int32)
