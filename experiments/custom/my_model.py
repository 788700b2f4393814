"""A custom model for Tunefront: three functions are all that is required.

The network removes the noise from 8 x 8 images of digits. There is no built-in task for that, so
this module defines the model (`model`), the requests (`inputs`), and the quality of a candidate
(`quality`). The images are scikit-learn's; the weights are trained at first use, in about ten
seconds, and stored next to this file as safetensors.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_digits

WEIGHTS = Path(__file__).with_name("weights.safetensors")
NOISE = 0.25  # standard deviation; pixels are between 0 and 1
WIDTH = 512
STEPS = 400
Array = npt.NDArray[np.float32]
Run = Callable[[Mapping[str, Array]], Sequence[Array]]


class Block(torch.nn.Module):
    """A residual feed-forward block."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.LayerNorm(WIDTH)
        self.fc1 = torch.nn.Linear(WIDTH, 2 * WIDTH)
        self.fc2 = torch.nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features `(batch, WIDTH)` to features."""
        change: torch.Tensor = self.fc2(torch.nn.functional.gelu(self.fc1(self.norm(x))))
        return x + change


class Denoiser(torch.nn.Module):
    """A residual network over the 64 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = torch.nn.Linear(64, WIDTH)
        self.blocks = torch.nn.ModuleList(Block() for _ in range(2))
        self.leave = torch.nn.Linear(WIDTH, 64)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Noisy pixels `(batch, 64)` to clean ones; fp32 in and out, whatever is in between."""
        x = self.enter(pixels.to(self.enter.weight.dtype))
        for block in self.blocks:
            x = block(x)
        clean: torch.Tensor = self.leave(x)
        return clean.float()


@cache
def _images() -> tuple[Array, Array, Array]:
    """Clean training images, clean held-out images and noisy held-out ones, `(images, 64)`."""
    digits: Any = load_digits()
    clean = (digits.data / 16).astype(np.float32)
    held = np.arange(len(clean)) % 4 == 1
    noise = np.random.default_rng(0).normal(scale=NOISE, size=clean[held].shape)
    return clean[~held], clean[held], clean[held] + noise.astype(np.float32)


def model() -> torch.nn.Module:
    """Return the trained network."""
    network = Denoiser()
    if not WEIGHTS.exists():
        _train(network)
        partial = WEIGHTS.with_name(f".{WEIGHTS.name}.{os.getpid()}")
        save_file(network.state_dict(), partial)
        partial.rename(WEIGHTS)
    network.load_state_dict(load_file(WEIGHTS))
    return network


def _train(network: Denoiser) -> None:
    """Train in place, from a fixed seed."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tensors are small, and waiting for a busy second core is slow
    torch.manual_seed(0)
    images = torch.from_numpy(_images()[0])
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-3, total_steps=STEPS)
    for _ in range(STEPS):
        clean = images[torch.randint(len(images), (128,))]
        restored = network(clean + NOISE * torch.randn_like(clean))
        loss = torch.nn.functional.mse_loss(restored, clean)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    torch.set_num_threads(threads)


def inputs(batch_size: int, count: int) -> list[dict[str, Array]]:
    """Return `count` requests of `batch_size` noisy images each, over again when they run out."""
    noisy = _images()[2]
    places = np.arange(batch_size * count).reshape(count, batch_size) % len(noisy)
    return [{"pixels": noisy[request]} for request in places]


def quality(run: Run) -> npt.NDArray[np.float64]:
    """Return the signal-to-noise ratio of every restored image, in dB; more is better."""
    _, clean, noisy = _images()
    parts = [run({"pixels": noisy[at : at + 32]})[0] for at in range(0, len(noisy), 32)]
    error = np.concatenate(parts).astype(np.float64) - clean
    return np.asarray(10 * np.log10((clean**2).sum(axis=1) / (error**2).sum(axis=1)))
