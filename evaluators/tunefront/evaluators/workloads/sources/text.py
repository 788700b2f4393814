"""Tokenized texts: in file order as requests, batched by length for quality."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tunefront.evaluators.interfaces.tensors import Inputs, TensorSpec
from tunefront.evaluators.workloads.sequential import ItemIndices
from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import WorkloadError

from .data import read_rows
from .hub import load_processor

TOKEN_INPUTS = (
    TensorSpec(name="input_ids", dims=("batch", "sequence")),
    TensorSpec(name="attention_mask", dims=("batch", "sequence")),
)
"""Inputs of the modules of all text tasks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRows:
    """Tokenized texts.

    Attributes:
        ids: Token ids of each text.
        pad: Token id that pads shorter texts.
    """

    ids: Sequence[Sequence[int]]
    pad: int

    def batch(self, indices: Sequence[int]) -> Inputs:
        """Return ids and mask of these texts, int64 `(batch, longest)`, padded on the right."""
        longest = max(len(self.ids[index]) for index in indices)
        ids = np.full((len(indices), longest), self.pad, dtype=np.int64)
        mask = np.zeros((len(indices), longest), dtype=np.int64)
        for row, index in enumerate(indices):
            ids[row, : len(self.ids[index])] = self.ids[index]
            mask[row, : len(self.ids[index])] = 1
        return {"input_ids": ids, "attention_mask": mask}

    def requests(self, batch_size: int, count: int) -> list[Inputs]:
        """Return texts in file order, repeated from the start if there are too few."""
        total = len(self.ids)
        return [
            self.batch([(start * batch_size + row) % total for row in range(batch_size)])
            for start in range(count)
        ]


def tokenize_texts(spec: WorkloadSpec, texts: Sequence[str], shortest: int = 1) -> TokenRows:
    """Tokenize texts, truncated to `max_length`; texts below `shortest` tokens are left out.

    Raises:
        WorkloadError: If no text remains.
    """
    tokenizer = load_processor(spec, "AutoTokenizer")
    encoded = tokenizer(list(texts), truncation=True, max_length=spec.max_length)["input_ids"]
    ids = [row for row in encoded if len(row) >= shortest]
    if not ids:
        raise WorkloadError(f"data: {spec.data}: every text is shorter than {shortest} tokens")
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    return TokenRows(ids=ids, pad=int(pad))


def tokenize(spec: WorkloadSpec, column: str) -> TokenRows:
    """Tokenize the data file's texts of at least two tokens (one to predict)."""
    rows = read_rows(spec.path(str(spec.data)), {column: str}, limit=spec.items)
    return tokenize_texts(spec, [str(row[column]) for row in rows], shortest=2)


def batches(rows: TokenRows, size: int, places: ItemIndices) -> Iterator[tuple[list[int], Inputs]]:
    """Yield indices and batches of the texts at `places`, sorted by length to limit padding."""
    order = sorted(places.tolist(), key=lambda index: len(rows.ids[index]))
    for start in range(0, len(order), size):
        indices = order[start : start + size]
        yield indices, rows.batch(indices)
