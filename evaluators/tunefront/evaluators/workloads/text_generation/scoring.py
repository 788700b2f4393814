"""Scores of given tokens: loss, and divergence from the reference's scores."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tunefront.evaluators.interfaces.generation import GenerationEndpoint
from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.workloads.quality import finite
from tunefront.spaces import EvaluationError

KEPT_TOKENS = 64
"""Most likely tokens of a position whose log-probabilities are kept of the reference."""
_SMALLEST = 1e-12
"""Smallest probability of all other tokens together: a float32 sum has no smaller error."""
Logits = Callable[[Sequence[int]], Iterator[Array]]
"""Yields the scores of every next token, see `Scorer.logits`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopScores:
    """The most likely tokens of some positions.

    Attributes:
        tokens: Token ids `(positions, kept)`, int32.
        scores: Their log-probabilities in nats, of the same shape, float32.
    """

    tokens: Array
    scores: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenScores:
    """Scores of the tokens of a text after its first.

    Attributes:
        loss: Sum of the negative log-probabilities of the tokens that count, in nats.
        tokens: Number of the tokens that count.
        divergence: Sum over the positions of the Kullback-Leibler divergence from the reference,
            in nats.
        top: The most likely tokens of each position, of the candidate itself.
        positions: Number of the scored tokens.
    """

    loss: float
    tokens: int
    divergence: float
    top: TopScores
    positions: int


def logits_of(endpoint: GenerationEndpoint) -> Logits:
    """Return the endpoint's function that scores given tokens.

    Raises:
        EvaluationError: If it has none (cause "unsupported").
    """
    found: Logits | None = getattr(endpoint, "logits", None)
    if found is None:
        raise EvaluationError(
            f"{type(endpoint).__name__} returns no scores of given tokens (it has no method "
            "`logits`), so perplexity and divergence can't be measured; use another runtime",
            cause="unsupported",
        )
    return found


def score_tokens(
    logits: Logits, tokens: Sequence[int], reference: TopScores | None, first: int = 1
) -> TokenScores:
    """Score every token of a text but the first, given those before it.

    The divergence is that of two distributions over the reference's `KEPT_TOKENS` most likely
    tokens and all other tokens together; by the data processing inequality it is a lower bound of
    the divergence over the whole vocabulary.

    Args:
        logits: Scores given tokens.
        tokens: The text.
        reference: What the reference returned for the same text; None for the reference itself.
        first: Index of the first token whose loss counts; the divergence is that of all positions.

    Raises:
        EvaluationError: If scores are missing or not finite (cause "invalid output").
    """
    targets = np.asarray(tokens[1:], dtype=np.int64)
    start, loss, divergence, tops = 0, 0.0, 0.0, list[TopScores]()
    for portion in logits(tokens):
        scores = _normalized(portion)
        end = start + len(scores)
        own = targets[start:end]
        if len(own) < len(scores):
            break
        losses = -scores[np.arange(len(own)), own]
        loss += float(losses[max(0, first - 1 - start) :].sum())
        if reference is None:
            tops.append(_top(scores))
        else:
            part = TopScores(tokens=reference.tokens[start:end], scores=reference.scores[start:end])
            divergence += float(_divergence(part, scores).sum())
        start = end
    if start != len(targets):
        raise EvaluationError(
            f"a text of {len(tokens)} tokens must have scores at {len(targets)} positions, but "
            f"those of {start} fit",
            cause="invalid output",
        )
    return TokenScores(
        loss=loss,
        tokens=len(tokens) - first,
        divergence=divergence,
        top=_concatenated(tops),
        positions=len(targets),
    )


def _normalized(logits: Array) -> Array:
    """Return log-probabilities in nats, float64, of scores `(positions, vocabulary)`."""
    scores = finite(logits, "scores").astype(np.float64)
    scores -= scores.max(axis=-1, keepdims=True)
    scores -= np.log(np.exp(scores).sum(axis=-1, keepdims=True))
    return scores


def _top(scores: Array) -> TopScores:
    """Return the most likely tokens of each position, in the order of their ids."""
    kept = min(KEPT_TOKENS, scores.shape[-1])
    places = np.sort(np.argpartition(scores, -kept, axis=-1)[:, -kept:], axis=-1)
    return TopScores(
        tokens=places.astype(np.int32),
        scores=np.take_along_axis(scores, places, axis=-1).astype(np.float32),
    )


def _divergence(reference: TopScores, scores: Array) -> Array:
    """Return the divergence of each position in nats, shape `(positions,)`.

    Args:
        reference: The reference's most likely tokens.
        scores: Log-probabilities of the candidate `(positions, vocabulary)`.
    """
    places = reference.tokens.astype(np.int64)
    # Rounded as the reference's are, so that equal scores have no divergence.
    own = np.take_along_axis(scores, places, axis=-1).astype(np.float32).astype(np.float64)
    expected = reference.scores.astype(np.float64)
    rest, own_rest = _rest(expected), _rest(own)
    kept = (np.exp(expected) * (expected - own)).sum(axis=-1)
    found: Array = np.maximum(kept + rest * (np.log(rest) - np.log(own_rest)), 0.0)
    return found


def _rest(scores: Array) -> Array:
    """Return the probability of all other tokens, shape `(positions,)`."""
    rest: Array = np.maximum(1.0 - np.exp(scores).sum(axis=-1), _SMALLEST)
    return rest


def _concatenated(parts: Sequence[TopScores]) -> TopScores:
    if not parts:
        empty = np.zeros((0, 0))
        return TopScores(tokens=empty.astype(np.int32), scores=empty.astype(np.float32))
    return TopScores(
        tokens=np.concatenate([part.tokens for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
    )


def agreement(tokens: Sequence[int], expected: Sequence[int]) -> float:
    """Return the share of the expected tokens that come before the first different one.

    Without expected tokens it is 1 if there are none, else 0.
    """
    if not expected:
        return float(not tokens)
    pairs = enumerate(zip(tokens, expected, strict=False))
    same = next((place for place, (own, other) in pairs if own != other), None)
    return (min(len(tokens), len(expected)) if same is None else same) / len(expected)


def packed(parts: Iterable[Sequence[int]]) -> tuple[Array, Array]:
    """Return lists of tokens as one array of all tokens, and one of their lengths."""
    listed = [np.asarray(part, dtype=np.int32) for part in parts]
    lengths = np.array([len(part) for part in listed], dtype=np.int64)
    return np.concatenate([np.zeros(0, np.int32), *listed]), lengths


def unpacked(tokens: Array, lengths: Array) -> list[list[int]]:
    """Return the lists that `packed` joined."""
    return [part.tolist() for part in np.split(tokens, np.cumsum(lengths)[:-1])]
