"""The predictions of text generation: responses, and the reference's most likely tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tunefront.evaluators.statistics.arrays import Array

from .prompts import Prompt
from .scoring import TokenScores, TopScores, packed, unpacked

_TOKENS, _LENGTHS = "tokens", "lengths"
_EXPECTED, _EXPECTED_LENGTHS = "expected", "expected_lengths"
_TOP_TOKENS, _TOP_SCORES = "top_tokens", "top_scores"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedItem:
    """An evaluated item: its scores, None behind a server, and its response."""

    scores: TokenScores | None
    response: tuple[int, ...]


def predictions_of(
    items: Sequence[EvaluatedItem], expected: Sequence[Sequence[int]], *, keep_scores: bool
) -> dict[str, Array]:
    """Return the responses and the expected ones, and of the reference its most likely tokens."""
    tokens, lengths = packed(one.response for one in items)
    others, other_lengths = packed(expected)
    found = {
        _TOKENS: tokens,
        _LENGTHS: lengths,
        _EXPECTED: others,
        _EXPECTED_LENGTHS: other_lengths,
    }
    scores = [one.scores for one in items if one.scores is not None]
    if keep_scores and scores:
        found[_TOP_TOKENS] = np.concatenate([one.top.tokens for one in scores])
        found[_TOP_SCORES] = np.concatenate([one.top.scores for one in scores])
    return found


def responses_of(made: Mapping[str, Array]) -> tuple[list[list[int]], list[list[int]]]:
    """Return the responses of predictions, and the expected ones."""
    own = unpacked(made[_TOKENS], made[_LENGTHS])
    return own, unpacked(made[_EXPECTED], made[_EXPECTED_LENGTHS])


class ReferencePredictions:
    """The predictions of the reference, which evaluated all items.

    Args:
        made: Its predictions.
        prompts: The prompts, whose scored tokens give the number of positions.
    """

    def __init__(self, made: Mapping[str, Array], prompts: Sequence[Prompt]) -> None:
        self._made = made
        self._ends = np.cumsum([0, *(len(prompt.scored) - 1 for prompt in prompts)])
        self._responses = unpacked(made[_TOKENS], made[_LENGTHS])

    def top(self, place: int) -> TopScores:
        """Return the most likely tokens of an item's positions."""
        start, end = self._ends[place : place + 2]
        return TopScores(
            tokens=self._made[_TOP_TOKENS][start:end], scores=self._made[_TOP_SCORES][start:end]
        )

    def responses(self, places: Sequence[int]) -> list[list[int]]:
        """Return the responses of some items."""
        return [self._responses[place] for place in places]
