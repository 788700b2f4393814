"""Modules around pretrained models: named tensors in, one fp32 tensor out. Needs torch."""

from typing import Any

import torch


def with_casts(module: torch.nn.Module) -> torch.nn.Module:
    """The module itself; floating-point inputs get its weights' type, outputs become fp32."""
    module.register_forward_pre_hook(_cast_inputs, with_kwargs=True)
    module.register_forward_hook(_cast_output)
    return module


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
    """The floating-point type that the weights are in when the module is traced."""
    types = (p.dtype for p in module.parameters() if p.is_floating_point())
    return next(types, torch.float32)


class PretrainedModule(torch.nn.Module):
    """A module around a pretrained model of `transformers`.

    Attributes:
        model: The pretrained model, which can be saved as a checkpoint.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model


def pretrained_of(module: torch.nn.Module) -> torch.nn.Module | None:
    """The pretrained model that a module is around; None for any other module."""
    return module.model if isinstance(module, PretrainedModule) else None


class LogitsModule(PretrainedModule):
    """A causal language model without its cache: all logits of the texts."""

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """`(batch, sequence)` ids and mask to `(batch, sequence, vocabulary)` fp32."""
        outputs = self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
        logits: torch.Tensor = outputs.logits
        return logits.float()


class EmbeddingModule(PretrainedModule):
    """A text encoder with its pooling: unit vectors."""

    def __init__(self, model: torch.nn.Module, pooling: str) -> None:
        super().__init__(model)
        self.pooling = pooling

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """`(batch, sequence)` ids and mask to `(batch, dimensions)` fp32 of length one."""
        states = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        if self.pooling == "cls":
            pooled = states[:, 0]
        else:
            weights = attention_mask.unsqueeze(-1).to(states.dtype)
            pooled = (states * weights).sum(1) / weights.sum(1).clamp(min=1)
        return torch.nn.functional.normalize(pooled.float(), dim=-1)


class TextLogitsModule(PretrainedModule):
    """A text classifier."""

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """`(batch, sequence)` ids and mask to `(batch, classes)` fp32."""
        logits: torch.Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits.float()


class ImageLogitsModule(PretrainedModule):
    """An image classifier."""

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """`(batch, channels, height, width)` pixels to `(batch, classes)` fp32."""
        logits: torch.Tensor = self.model(pixel_values=pixel_values.to(_dtype(self.model))).logits
        return logits.float()
