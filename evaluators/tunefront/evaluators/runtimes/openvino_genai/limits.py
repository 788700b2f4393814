"""What requests of a model must keep: its context and its vocabulary."""

from dataclasses import dataclass
from pathlib import Path

from tunefront.evaluators.interfaces.generation import GenerationRequest
from tunefront.spaces import EvaluationError


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLimits:
    """What the requests of a model must keep.

    Attributes:
        context: Largest number of tokens of prompt and response; 0 if the model declares none.
        vocabulary: Number of different tokens.
    """

    context: int
    vocabulary: int

    def check(self, request: GenerationRequest) -> None:
        """Check a request.

        Raises:
            EvaluationError: If the prompt is empty, has an unknown token, or does not fit into the
                context with the response (cause "unsupported").
        """
        prompt, context = request.prompt, self.context
        if not prompt:
            raise EvaluationError("a prompt needs at least one token", cause="unsupported")
        if not 0 <= min(prompt) <= max(prompt) < self.vocabulary:
            raise EvaluationError(
                f"token ids must be from 0 to {self.vocabulary - 1}, but a prompt has "
                f"{min(prompt)} to {max(prompt)}; use the model's tokenizer",
                cause="unsupported",
            )
        if context and len(prompt) + request.new_tokens > context:
            raise EvaluationError(
                f"a prompt of {len(prompt)} tokens and {request.new_tokens} new ones exceed the "
                f"model's context of {context}; shorten one of them",
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
    context = getattr(config, "max_position_embeddings", 0) or 0
    return ModelLimits(context=int(context), vocabulary=int(config.vocab_size))
