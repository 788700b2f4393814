"""Modules after the transformer of a text encoder: pooling, dense layers. Requires torch."""

from collections.abc import Sequence

import torch

from tunefront.evaluators.workloads.sources.sentence_transformers import EncoderModule
from tunefront.spaces import WorkloadError


class Pooling(torch.nn.Module):
    """Makes one vector of the tokens' vectors; texts are padded on the right.

    Args:
        modes: Names of `POOLING_MODES`; their vectors are concatenated.
    """

    def __init__(self, modes: Sequence[str]) -> None:
        super().__init__()
        self.modes = tuple(modes)

    def forward(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Map states `(batch, sequence, features)`, mask `(batch, sequence)` to one row a text."""
        return torch.cat([_pooled(mode, states, mask) for mode in self.modes], dim=-1)


def _pooled(mode: str, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    if mode == "cls":
        return states[:, 0]
    if mode == "lasttoken":
        last = (mask.sum(1) - 1).clamp(min=0)
        places = last.view(-1, 1, 1).expand(-1, 1, states.shape[-1])
        return states.gather(1, places).squeeze(1)
    weights = mask.unsqueeze(-1).to(states.dtype)
    if mode == "max":
        return states.masked_fill(weights == 0, float("-inf")).amax(1)
    if mode == "weightedmean":
        weights = weights.cumsum(1) * weights
    total, count = (states * weights).sum(1), weights.sum(1).clamp(min=1)
    return total / (count.sqrt() if mode == "mean_sqrt_len_tokens" else count)


class Dense(torch.nn.Module):
    """A linear layer with an activation function and, on demand, a residual connection."""

    def __init__(
        self, sizes: tuple[int, int], *, bias: bool, activation: torch.nn.Module, residual: bool
    ) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(*sizes, bias=bias)
        self.activation = activation
        self.use_residual = residual
        if residual and sizes[0] != sizes[1]:
            self.residual = torch.nn.Linear(*sizes, bias=False)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Map vectors `(batch, in features)` to `(batch, out features)`."""
        output: torch.Tensor = self.activation(self.linear(vectors))
        if not self.use_residual:
            return output
        return output + (self.residual(vectors) if hasattr(self, "residual") else vectors)


class Normalize(torch.nn.Module):
    """Scales vectors to length 1."""

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Map vectors `(batch, features)` to unit vectors."""
        return torch.nn.functional.normalize(vectors, dim=-1)


class Norm(torch.nn.Module):
    """Layer normalization of the pooled vectors."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.norm = torch.nn.LayerNorm(size)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Map vectors `(batch, features)` to vectors of the same shape."""
        normed: torch.Tensor = self.norm(vectors)
        return normed


def built_modules(listed: Sequence[EncoderModule]) -> list[torch.nn.Module]:
    """Return the modules with their weights, the first of which is a `Pooling`.

    Raises:
        WorkloadError: If weights are missing, or an activation function is not one of torch.nn.
    """
    return [_built(one) for one in listed]


def _built(one: EncoderModule) -> torch.nn.Module:
    if one.kind == "Pooling":
        return Pooling(one.pooling)
    if one.kind == "Normalize":
        _check_places(one)
        return Normalize()
    if one.kind == "LayerNorm":
        return _with_weights(Norm(int(one.settings["dimension"])), one)
    _check_places(one)
    dense = Dense(
        (int(one.settings["in_features"]), int(one.settings["out_features"])),
        bias=bool(one.settings.get("bias", True)),
        activation=_activation(one),
        residual=bool(one.settings.get("use_residual")),
    )
    return _with_weights(dense, one)


def _check_places(one: EncoderModule) -> None:
    """Raise WorkloadError if a module reads or writes anything but the text's vector."""
    for key in ("module_input_name", "module_output_name"):
        if one.settings.get(key) not in (None, "sentence_embedding"):
            raise WorkloadError(
                f"model: {one.folder}: {key} must be sentence_embedding, but is "
                f"{one.settings[key]!r}; use task custom for this model"
            )


def _activation(one: EncoderModule) -> torch.nn.Module:
    written = str(one.settings.get("activation_function", "torch.nn.modules.activation.Tanh"))
    found = getattr(torch.nn, written.rsplit(".", 1)[-1], None)
    if not written.startswith("torch.nn.") or found is None:
        raise WorkloadError(
            f"model: {one.folder}: activation_function must be a class of torch.nn, but is "
            f"{written!r}"
        )
    module: torch.nn.Module = found()
    return module


def _with_weights(module: torch.nn.Module, one: EncoderModule) -> torch.nn.Module:
    from safetensors.torch import load_file

    path = one.folder / "model.safetensors"
    if not path.is_file():
        raise WorkloadError(
            f"model: {one.folder} holds no model.safetensors; save the model again with a present "
            "version of sentence-transformers (pickled weights are not loaded, they can run code)"
        )
    try:
        module.load_state_dict(load_file(path))
    except RuntimeError as error:
        raise WorkloadError(f"model: {path} does not fit its config.json: {error}") from error
    return module.eval()
