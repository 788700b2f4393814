"""What requests must keep, whatever the engine: the context and the vocabulary of the model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunefront.spaces import EvaluationError

from .requests import GenerationRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLimits:
    """What the requests of a model must keep.

    Attributes:
        context: Largest number of tokens of prompt and response; 0 if the model declares none.
        vocabulary: Number of different tokens.
    """

    context: int
    vocabulary: int

    @classmethod
    def of(cls, config: Any) -> "ModelLimits":
        """Return the limits of a model by its configuration in `transformers`, of its text part."""
        context = getattr(config, "max_position_embeddings", 0) or 0
        return cls(context=int(context), vocabulary=int(config.vocab_size))

    def check(self, request: GenerationRequest) -> None:
        """Check a request.

        Raises:
            EvaluationError: If the prompt is empty, has an unknown token, or does not fit into the
                context with the response (cause "unsupported").
        """
        prompt, context = request.prompt, self.context
        if not prompt:
            raise EvaluationError("a prompt needs at least one token", cause="unsupported")
        self._check_tokens(prompt)
        if context and len(prompt) + request.new_tokens > context:
            raise EvaluationError(
                f"a prompt of {len(prompt)} tokens and {request.new_tokens} new ones exceed the "
                f"model's context of {context}; shorten one of them",
                cause="unsupported",
            )

    def check_text(self, tokens: Sequence[int]) -> None:
        """Check a text whose tokens are to be scored.

        Raises:
            EvaluationError: If it has an unknown token, or exceeds the context (cause
                "unsupported").
        """
        self._check_tokens(tokens)
        if self.context and len(tokens) > self.context:
            raise EvaluationError(
                f"a text of {len(tokens)} tokens exceeds the model's context of {self.context}; "
                "shorten it",
                cause="unsupported",
            )

    def _check_tokens(self, tokens: Sequence[int]) -> None:
        if not 0 <= min(tokens) <= max(tokens) < self.vocabulary:
            raise EvaluationError(
                f"token ids must be from 0 to {self.vocabulary - 1}, but a prompt has "
                f"{min(tokens)} to {max(tokens)}; use the model's tokenizer",
                cause="unsupported",
            )


def limits_of(checkpoint: Path) -> ModelLimits:
    """Read the limits from a checkpoint's config.json.

    Raises:
        EvaluationError: If `transformers` does not know the model (cause "unsupported").
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(checkpoint).get_text_config()
    except (OSError, ValueError) as error:
        raise EvaluationError(f"{checkpoint}: {error}", cause="unsupported") from error
    return ModelLimits.of(config)
