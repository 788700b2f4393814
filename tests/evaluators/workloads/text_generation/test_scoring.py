"""Scores of given tokens: against plain computations over the whole vocabulary."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from tunefront.evaluators.interfaces.generation import GenerationEndpoint
from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.workloads.sources.answers import same_answer
from tunefront.evaluators.workloads.text_generation.scoring import (
    KEPT_TOKENS,
    Logits,
    agreement,
    logits_of,
    packed,
    score_tokens,
    unpacked,
)
from tunefront.spaces import EvaluationError

TOKENS = (3, 1, 4, 1, 5, 9, 2, 6)
VOCABULARY = 200


def scores(seed: int, noise: float = 0.0) -> Array:
    random = np.random.default_rng(seed)
    made = 3 * random.normal(size=(len(TOKENS) - 1, VOCABULARY))
    made += noise * np.random.default_rng(9).normal(size=made.shape)
    return made.astype(np.float32)


def logits_from(made: Array, portion: int = 3) -> Logits:
    def logits(tokens: Sequence[int]) -> Iterator[Array]:
        for start in range(0, len(made), portion):
            yield made[start : start + portion]

    return logits


def log_probabilities(made: Array) -> Array:
    values = made.astype(np.float64)
    found: Array = values - np.log(np.exp(values).sum(axis=-1, keepdims=True))
    return found


def test_the_loss_is_that_of_the_next_tokens() -> None:
    made = scores(0)
    expected = -log_probabilities(made)[np.arange(len(made)), TOKENS[1:]].sum()
    assert score_tokens(logits_from(made), TOKENS, None).loss == pytest.approx(expected)


@pytest.mark.parametrize("first", [1, 3, 4, 7])
def test_the_loss_counts_from_a_token_on(first: int) -> None:
    made = scores(0)
    losses = -log_probabilities(made)[np.arange(len(made)), TOKENS[1:]]
    found = score_tokens(logits_from(made), TOKENS, None, first)
    assert found.loss == pytest.approx(losses[first - 1 :].sum())
    assert (found.tokens, found.positions) == (len(TOKENS) - first, len(TOKENS) - 1)


def test_the_divergence_of_equal_scores_is_zero() -> None:
    top = score_tokens(logits_from(scores(0)), TOKENS, None).top
    assert top.tokens.shape == (len(TOKENS) - 1, KEPT_TOKENS)
    assert score_tokens(logits_from(scores(0), 2), TOKENS, top).divergence == 0.0


@pytest.mark.parametrize("noise", [0.1, 0.5, 2.0])
def test_the_divergence_is_a_close_lower_bound(noise: float) -> None:
    reference, candidate = log_probabilities(scores(0)), log_probabilities(scores(0, noise))
    whole = float((np.exp(reference) * (reference - candidate)).sum())
    top = score_tokens(logits_from(scores(0)), TOKENS, None).top
    found = score_tokens(logits_from(scores(0, noise)), TOKENS, top).divergence
    assert 0.9 * whole < found <= whole * (1 + 1e-6)


def test_the_divergence_over_a_small_vocabulary_is_exact() -> None:
    one, other = scores(0)[:, :20], scores(0, 0.5)[:, :20]
    reference, candidate = log_probabilities(one), log_probabilities(other)
    whole = float((np.exp(reference) * (reference - candidate)).sum())
    top = score_tokens(logits_from(one), TOKENS, None).top
    found = score_tokens(logits_from(other), TOKENS, top).divergence
    assert found == pytest.approx(whole, rel=1e-4)


@pytest.mark.parametrize("change", [-1, 1])
def test_missing_and_further_positions_are_refused(change: int) -> None:
    made = np.concatenate([scores(0), scores(1)])[: len(TOKENS) - 1 + change]
    with pytest.raises(EvaluationError, match="8 tokens must have scores at 7 positions") as found:
        score_tokens(logits_from(made), TOKENS, None)
    assert found.value.cause == "invalid output"


def test_scores_that_are_no_numbers_are_refused() -> None:
    made = scores(0)
    made[2, 5] = np.nan
    with pytest.raises(EvaluationError, match="scores holds NaN or infinite values"):
        score_tokens(logits_from(made), TOKENS, None)


def test_an_engine_without_scores_is_refused() -> None:
    class Silent(GenerationEndpoint):
        submit = poll = cancel = facts = None  # type: ignore[assignment]

    message = "Silent returns no scores of given tokens .* perplexity and divergence can't be"
    with pytest.raises(EvaluationError, match=message) as found:
        logits_of(Silent())
    assert found.value.cause == "unsupported"


@pytest.mark.parametrize(
    ("tokens", "share"),
    [((1, 2, 3, 4), 1.0), ((1, 2, 9, 4), 0.5), ((9, 2, 3, 4), 0.0), ((1, 2), 0.5)],
)
def test_agreement_ends_at_the_first_difference(tokens: Sequence[int], share: float) -> None:
    assert agreement(tokens, (1, 2, 3, 4)) == share


@pytest.mark.parametrize(
    ("response", "answer", "same"),
    [
        (" The Eiffel  tower.", "eiffel tower", True),
        ("42", "42.", True),
        ("Paris is the capital", "Paris", False),
    ],
)
def test_answers_are_compared_without_case_and_punctuation(
    response: str, answer: str, same: bool
) -> None:
    assert same_answer(response, answer) is same


def test_lists_of_tokens_are_packed_and_unpacked() -> None:
    parts = [[1, 2, 3], [4], [5, 6]]
    assert unpacked(*packed(parts)) == parts
