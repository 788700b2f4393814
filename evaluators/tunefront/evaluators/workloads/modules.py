"""Wrappers of pretrained models: named tensors in, fp32 tensors out. Requires torch."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import torch

from tunefront.evaluators.interfaces.torch_tensors import described_output
from tunefront.spaces import WorkloadError

VOCABULARY_PARTS = 8
"""Parts of the vocabulary whose logits are in fp32 at the same time."""


def with_casts(module: torch.nn.Module, output: str | int | None = None) -> torch.nn.Module:
    """Add hooks that cast floating-point inputs to the weights' type, and the output to fp32.

    Args:
        module: The module.
        output: Name or index of the output to return, of a module that returns several.

    Returns:
        The same module.
    """
    module.register_forward_pre_hook(_cast_inputs, with_kwargs=True)
    if output is not None:
        module.register_forward_hook(partial(_select_output, output))
    module.register_forward_hook(_cast_output)
    return module


def _select_output(which: str | int, module: torch.nn.Module, args: Any, output: Any) -> Any:
    """Return an output by its name in a mapping or dataclass, or by its index in a tuple."""
    if isinstance(output, Mapping) and which in output:
        return output[which]
    if isinstance(which, int) and isinstance(output, tuple | list) and -1 < which < len(output):
        return output[which]
    if isinstance(which, str) and isinstance(getattr(output, which, None), torch.Tensor):
        return getattr(output, which)
    raise WorkloadError(
        f"output: {which!r} is not among the module's outputs: {described_output(output)}"
    )


def _cast_inputs(
    module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    dtype = _dtype(module)
    return (
        tuple(_cast(value, dtype) for value in args),
        {name: _cast(value, dtype) for name, value in kwargs.items()},
    )


def _cast(value: Any, dtype: torch.dtype) -> Any:
    floats = isinstance(value, torch.Tensor) and value.is_floating_point()
    return value.to(dtype) if floats else value


def _cast_output(module: torch.nn.Module, args: Any, output: Any) -> Any:
    return _cast(output, torch.float32)


def _dtype(module: torch.nn.Module) -> torch.dtype:
    """Return the weights' floating-point type; a trace keeps the type of the time of tracing."""
    types = (p.dtype for p in module.parameters() if p.is_floating_point())
    return next(types, torch.float32)


class PretrainedModule(torch.nn.Module):
    """A wrapper of a pretrained `transformers` model.

    Attributes:
        model: The pretrained model, which can be saved as a checkpoint.
        output_count: Number of tensors that it returns, as a tuple if there are several.
    """

    output_count: ClassVar[int] = 1

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model


def pretrained_of(module: torch.nn.Module) -> torch.nn.Module | None:
    """Return the pretrained model that a module wraps; None for any other module."""
    return module.model if isinstance(module, PretrainedModule) else None


class LogitsModule(PretrainedModule):
    """A causal language model that returns the logits of all positions; no KV cache."""

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Map ids and mask `(batch, sequence)` to logits `(batch, sequence, vocabulary)`, fp32."""
        outputs = self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
        logits: torch.Tensor = outputs.logits
        return logits.float()


class ScoresModule(PretrainedModule):
    """A causal language model that returns what a client needs of its logits; no KV cache.

    The logits of all positions are larger than the weights of a small model: copied from a GPU,
    they take longer than they took to compute. Their scores are computed where they are.
    """

    output_count = 2

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Map ids and mask `(batch, sequence)` to what `token_scores` returns."""
        outputs = self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
        return token_scores(outputs.logits, input_ids, attention_mask)


def token_scores(
    logits: torch.Tensor, input_ids: torch.Tensor, attention_mask: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the score of each token's successor, and the most likely successor, both in fp32.

    Args:
        logits: Logits `(batch, sequence, vocabulary)`.
        input_ids: Token ids `(batch, sequence)`, padded on the right.
        attention_mask: 1 at tokens, 0 at padding, of the same shape.

    Returns:
        Log-probabilities in nats `(batch, sequence)` of the token that follows in the text, 0 where
        none follows; not finite wherever logits are not. Ids `(batch, sequence)` of the token with
        the largest logit.
    """
    following = torch.nn.functional.pad(input_ids[:, 1:], (0, 1))
    known = torch.nn.functional.pad(attention_mask[:, 1:], (0, 1))
    picked = logits.gather(-1, following.unsqueeze(-1)).squeeze(-1).float()
    scores = (picked - _logsumexp(logits)) * known
    return scores, logits.argmax(-1)


def _logsumexp(logits: torch.Tensor) -> torch.Tensor:
    """Return the logarithm of the sum of exponentials over the vocabulary, in fp32.

    Logits of 16 bits are converted in `VOCABULARY_PARTS`, since all of them in fp32 would be twice
    as large as what the model computed.
    """
    if logits.dtype == torch.float32:
        return logits.logsumexp(-1)
    parts = [part.float().logsumexp(-1) for part in logits.chunk(VOCABULARY_PARTS, -1)]
    return torch.stack(parts, -1).logsumexp(-1)


class EmbeddingModule(PretrainedModule):
    """A text encoder with pooling that returns unit vectors.

    Args:
        model: The transformer.
        after: Modules that follow it, the first of which pools; see `encoder_modules`.
    """

    def __init__(self, model: torch.nn.Module, after: Sequence[torch.nn.Module]) -> None:
        super().__init__(model)
        self.pooling, *more = after
        self.more = torch.nn.Sequential(*more)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Map ids and mask `(batch, sequence)` to fp32 unit vectors `(batch, dimensions)`."""
        states = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        pooled = self.more(self.pooling(states, attention_mask))
        return torch.nn.functional.normalize(pooled.float(), dim=-1)


class TextLogitsModule(PretrainedModule):
    """A text classifier that returns logits."""

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Map ids and mask `(batch, sequence)` to logits `(batch, classes)`, fp32."""
        logits: torch.Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits.float()


class ImageLogitsModule(PretrainedModule):
    """An image classifier that returns logits."""

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Map pixels `(batch, channels, height, width)` to logits `(batch, classes)`, fp32."""
        logits: torch.Tensor = self.model(pixel_values=pixel_values.to(_dtype(self.model))).logits
        return logits.float()
