"""What requests must keep, whatever the engine is."""

from types import SimpleNamespace

import pytest

from tunefront.evaluators.interfaces.generation import GenerationRequest, ModelLimits
from tunefront.spaces import EvaluationError

LIMITS = ModelLimits(context=8, vocabulary=40)


def test_limits_are_those_of_the_configuration() -> None:
    config = SimpleNamespace(vocab_size=40, max_position_embeddings=8)
    assert ModelLimits.of(config) == LIMITS
    assert ModelLimits.of(SimpleNamespace(vocab_size=40)).context == 0
    assert ModelLimits.of(SimpleNamespace(vocab_size=40, max_position_embeddings=None)).context == 0


@pytest.mark.parametrize(
    ("prompt", "new_tokens", "message"),
    [
        ((), 1, "a prompt needs at least one token"),
        (
            (1, 40),
            1,
            "token ids must be from 0 to 39, but a prompt has 1 to 40; use the model's tokenizer",
        ),
        (
            (-1,),
            1,
            "token ids must be from 0 to 39, but a prompt has -1 to -1; use the model's tokenizer",
        ),
        (
            (1, 2, 3),
            6,
            "a prompt of 3 tokens and 6 new ones exceed the model's context of 8; shorten one of "
            "them",
        ),
    ],
)
def test_a_request_that_a_model_can_t_serve_is_refused(
    prompt: tuple[int, ...], new_tokens: int, message: str
) -> None:
    with pytest.raises(EvaluationError) as raised:
        LIMITS.check(GenerationRequest(prompt=prompt, new_tokens=new_tokens))
    assert (str(raised.value), raised.value.cause) == (message, "unsupported")


def test_a_text_to_score_keeps_the_same_limits() -> None:
    LIMITS.check_text((1,) * 8)
    with pytest.raises(EvaluationError, match="a text of 9 tokens exceeds the model's context of"):
        LIMITS.check_text((1,) * 9)
    with pytest.raises(EvaluationError, match="token ids must be from 0 to 39"):
        LIMITS.check_text((40,))


def test_without_a_context_every_length_is_allowed() -> None:
    limits = ModelLimits(context=0, vocabulary=40)
    limits.check(GenerationRequest(prompt=(1,) * 100, new_tokens=100))
    limits.check_text((1,) * 1000)
