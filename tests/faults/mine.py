"""A model of a user's own: small, deterministic, its quality a property of its weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

WIDTH = 32


def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(WIDTH, 64), torch.nn.ReLU(), torch.nn.Linear(64, 16))


def inputs(batch_size: int, count: int) -> list[Mapping[str, Any]]:
    random = np.random.default_rng(0)
    made = [random.standard_normal((batch_size, WIDTH), dtype=np.float32) for _ in range(count)]
    return [{"input": array} for array in made]


def quality(run: Any) -> Sequence[float]:
    """How near the outputs are to those of the model as it was made."""
    reference = model()
    scores: list[float] = []
    for request in inputs(1, 8):
        with torch.inference_mode():
            wanted = reference(torch.from_numpy(request["input"])).numpy()
        found = run(request)[0]
        scores.append(1.0 - round(float(np.abs(found - wanted).mean()), 4))
    return scores
