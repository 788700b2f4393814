"""A user's model: small and deterministic; its quality depends on the choice `units` only."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

WIDTH, UNITS = 32, 64
CHECKED = 4
"""Requests that a build is checked with at any batch size; more of them are measured."""


def model(configuration: Mapping[str, Any]) -> torch.nn.Module:
    """Return the model with its first hidden units only, as many as are chosen."""
    torch.manual_seed(0)
    units = int(configuration.get("units", UNITS))
    first, last = torch.nn.Linear(WIDTH, UNITS), torch.nn.Linear(UNITS, 16)
    first.weight, first.bias = (torch.nn.Parameter(p[:units]) for p in (first.weight, first.bias))
    last.weight = torch.nn.Parameter(last.weight[:, :units].contiguous())
    return torch.nn.Sequential(first, torch.nn.ReLU(), last)


def inputs(batch_size: int, count: int) -> list[Mapping[str, Any]]:
    if count != CHECKED:
        wait_while_held(batch_size)
    random = np.random.default_rng(0)
    made = [random.standard_normal((batch_size, WIDTH), dtype=np.float32) for _ in range(count)]
    return [{"input": array} for array in made]


def wait_while_held(batch_size: int) -> None:
    """Write `held` and wait, while a file beside this one holds trials of this batch size."""
    hold = Path(__file__).with_name(f"hold-{batch_size}")
    if hold.exists():
        hold.with_name("held").touch()
    while hold.exists():
        time.sleep(0.05)


def quality(run: Any) -> Sequence[float]:
    """Return how near the outputs are to those of the whole model, one score for each input."""
    reference = model({})
    scores: list[float] = []
    for request in inputs(1, 8):
        with torch.inference_mode():
            wanted = reference(torch.from_numpy(request["input"])).numpy()
        found = run(request)[0]
        scores.append(1.0 - round(float(np.abs(found - wanted).mean()), 4))
    return scores
