"""The workloads of the checks: models of transformers, and modules of known work and memory."""

from pathlib import Path

from tunefront.evaluators import WorkloadSpec
from tunefront.evaluators.interfaces.generation import LoadSpec

MAX_LENGTH = 256
ITEMS = 16
"""Items of the quality, which no check here is about."""
CONCURRENCY, NEW_TOKENS = 4, 16
"""Requests in progress and tokens of each response, where text is generated."""
TASKS = {
    "decoder": ("causal-lm", "texts.jsonl"),
    "gpt2": ("causal-lm", "texts.jsonl"),
    "generator": ("text-generation", "prompts.jsonl"),
    "encoder": ("text-embedding", "pairs.jsonl"),
    "classifier": ("text-classification", "labelled.jsonl"),
    "vit": ("image-classification", "images.jsonl"),
}
"""Task and data by the name of a model."""


def spec_of(name: str, folder: Path) -> WorkloadSpec:
    """A workload whose model and data `bodies.make_models` has written."""
    task, data = TASKS[name]
    load = LoadSpec(concurrency=(CONCURRENCY,), input_tokens=128, output_tokens=NEW_TOKENS)
    return WorkloadSpec(
        task=task,
        model=name,
        folder=str(folder),
        data=data,
        max_length=MAX_LENGTH,
        items=ITEMS,
        load=load if name == "generator" else None,
    )


def custom_spec(folder: Path, model: str, inputs: str) -> WorkloadSpec:
    """A workload whose module and requests are functions of `CUSTOM_CODE`."""
    return WorkloadSpec(
        task="custom",
        model=f"gpu_modules:{model}",
        folder=str(folder),
        inputs=f"gpu_modules:{inputs}",
        quality="gpu_modules:quality",
    )


CUSTOM_CODE = '''
"""Modules of known work and memory."""

import os

import numpy as np
import torch

SMALL = os.environ.get("TUNEFRONT_TEST_GPU_MECHANICS") == "1"
WIDTH = 256 if SMALL else 4096
WEIGHTS_WIDTH = 512 if SMALL else 16384
"""16384 x 16384 weights of fp32 are 1 GiB."""
COLUMNS = 2**10 if SMALL else 2**21


class Products(torch.nn.Module):
    """Some matrix products one after the other, each of the same size."""

    def __init__(self, count):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        start = torch.randn(WIDTH, WIDTH, generator=generator) / WIDTH**0.5
        self.start = torch.nn.Parameter(start)
        self.step = torch.nn.Parameter(start.clone())
        self.count = count

    def forward(self, x):
        kind = self.step.dtype
        state = self.start
        for _ in range(self.count):
            state = torch.tanh(state @ self.step)
        return (x.to(kind) @ state[:, :8]).float()


class Weights(torch.nn.Module):
    """One large matrix, and activations that are small beside it."""

    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Linear(WEIGHTS_WIDTH, WEIGHTS_WIDTH, bias=False)

    def forward(self, x):
        hidden = self.inner(x.to(self.inner.weight.dtype))
        return hidden[:, :8].float()


class Wide(torch.nn.Module):
    """Two products with a wide tensor between them: batch x COLUMNS numbers."""

    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Linear(16, COLUMNS, bias=False)
        self.outer = torch.nn.Linear(COLUMNS, 8, bias=False)

    def forward(self, x):
        return self.outer(self.inner(x.to(self.inner.weight.dtype))).float()


def products():
    return Products(8)


def twice_the_products():
    return Products(16)


def weights():
    torch.manual_seed(0)
    return Weights()


def wide():
    torch.manual_seed(0)
    return Wide()


def _requests(batch_size, count, width):
    random = np.random.default_rng(0)
    shape = (batch_size, width)
    return [{"x": random.normal(size=shape).astype(np.float32)} for _ in range(count)]


def for_products(batch_size, count):
    return _requests(batch_size, count, WIDTH)


def for_weights(batch_size, count):
    return _requests(batch_size, count, WEIGHTS_WIDTH)


def for_wide(batch_size, count):
    return _requests(batch_size, count, 16)


def quality(run):
    return 1.0
'''
