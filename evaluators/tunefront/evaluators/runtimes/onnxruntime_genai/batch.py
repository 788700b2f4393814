"""A static batch: requests that start together and are decoded by one generator."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tunefront.evaluators.interfaces.generation import GenerationRequest, TokenEvent

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A request that has not started.

    Attributes:
        number: Its number.
        request: The request.
    """

    number: int
    request: GenerationRequest


class Batch:
    """Requests that are decoded together; rows that have ended stay until the last one has.

    Args:
        model: The library's model.
        rows: The requests, at least one.
    """

    def __init__(self, model: Any, rows: Sequence[Waiting]) -> None:
        import onnxruntime_genai as library

        self._rows = {place: row for place, row in enumerate(rows)}
        self._left = {place: row.request.new_tokens for place, row in enumerate(rows)}
        params = library.GeneratorParams(model)
        params.set_search_options(**GREEDY, batch_size=len(rows), max_length=longest(rows))
        self._generator: Any = library.Generator(model, params)
        self._prompts: Any = _padded([row.request.prompt for row in rows])

    @property
    def numbers(self) -> list[int]:
        """Numbers of the requests in progress."""
        return [row.number for row in self._rows.values()]

    def step(self) -> list[TokenEvent]:
        """Generate one token of every request in progress; the first step reads the prompts."""
        if self._prompts is not None:
            self._generator.append_tokens(self._prompts)
            self._prompts = None
        self._generator.generate_next_token()
        tokens = self._generator.get_next_tokens()
        now = time.perf_counter()
        return [self._event(place, int(tokens[place]), now) for place in list(self._rows)]

    def remove(self, number: int) -> None:
        """End a request; its row is computed until the batch has ended."""
        self._rows = {place: row for place, row in self._rows.items() if row.number != number}

    def _event(self, place: int, token: int, now: float) -> TokenEvent:
        row = self._rows[place]
        self._left[place] -= 1
        end = self._left[place] == 0 or token in row.request.stop
        if end:
            del self._rows[place]
        return TokenEvent(request=row.number, tokens=(token,), arrival_s=now, end=end)


def longest(rows: Sequence[Waiting]) -> int:
    """Return the length of the KV cache that a batch needs, in tokens of one row."""
    return max(len(row.request.prompt) for row in rows) + max(
        row.request.new_tokens for row in rows
    )


def _padded(prompts: Sequence[Sequence[int]]) -> Any:
    """Return prompts of one length, filled at the end: int32, shape `(prompts, length)`."""
    length = max(map(len, prompts))
    rows = [[*prompt, *[PADDING] * (length - len(prompt))] for prompt in prompts]
    return np.array(rows, dtype=np.int32)
