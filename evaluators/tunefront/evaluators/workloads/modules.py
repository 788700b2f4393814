"""Modules around pretrained models: named tensors in, one fp32 tensor out. Needs torch."""

import torch


def _dtype(module: torch.nn.Module) -> torch.dtype:
    """The floating-point type that the weights are in when the module is traced."""
    return next(p.dtype for p in module.parameters() if p.is_floating_point())


class LogitsModule(torch.nn.Module):
    """A causal language model without its cache: all logits of the texts."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """`(batch, sequence)` ids and mask to `(batch, sequence, vocabulary)` fp32."""
        outputs = self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
        logits: torch.Tensor = outputs.logits
        return logits.float()


class EmbeddingModule(torch.nn.Module):
    """A text encoder with its pooling: unit vectors."""

    def __init__(self, model: torch.nn.Module, pooling: str) -> None:
        super().__init__()
        self.model = model
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


class TextLogitsModule(torch.nn.Module):
    """A text classifier."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """`(batch, sequence)` ids and mask to `(batch, classes)` fp32."""
        logits: torch.Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits.float()


class ImageLogitsModule(torch.nn.Module):
    """An image classifier."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """`(batch, channels, height, width)` pixels to `(batch, classes)` fp32."""
        logits: torch.Tensor = self.model(pixel_values=pixel_values.to(_dtype(self.model))).logits
        return logits.float()
