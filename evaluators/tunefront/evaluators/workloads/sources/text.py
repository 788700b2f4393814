"""Tokenized texts: in file order as requests, batched by length for quality."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tunefront.evaluators.interfaces.tensors import Inputs, TensorSpec
from tunefront.evaluators.workloads.sequential import ItemIndices, sample_of
from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import WorkloadError

from .data import data_rows
from .hub import load_config, load_processor

_POSITIONS_AFTER_PAD = frozenset(
    {
        "camembert",
        "data2vec-text",
        "longformer",
        "mpnet",
        "roberta",
        "roberta-prelayernorm",
        "xlm-roberta",
        "xlm-roberta-xl",
        "xmod",
    }
)
"""Model types of `transformers` whose positions are counted from the padding token's id on."""

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
        longest: Number of tokens at which longer texts were cut.
    """

    ids: Sequence[Sequence[int]]
    pad: int
    longest: int

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
        """Return texts in the order of `sample_of`, cut into batches."""
        return [self.batch(places) for places in sample_of(len(self.ids), batch_size, count)]


def tokenize_texts(
    spec: WorkloadSpec, texts: Sequence[str], longest: int | None = None
) -> TokenRows:
    """Tokenize texts, truncated to `length_limit`.

    Args:
        spec: The workload.
        texts: The texts.
        longest: Maximum length in tokens in addition to `max_length` and the model's positions.
    """
    tokenizer = load_processor(spec, "AutoTokenizer")
    length = min(filter(None, (length_limit(spec), longest)))
    ids = tokenizer(list(texts), truncation=True, max_length=length)["input_ids"]
    if empty := [text for text, row in zip(texts, ids, strict=True) if not row]:
        raise WorkloadError(
            f"data: {spec.data}: the text {empty[0][:40]!r} has no token; correct or remove it"
        )
    return TokenRows(ids=ids, pad=_pad(spec, tokenizer), longest=length)


def _pad(spec: WorkloadSpec, tokenizer: Any) -> int:
    """Return the token id for padding: the model's, which its classifier looks for, if it has one.

    https://huggingface.co/docs/transformers: a decoder's classifier takes the last token that is
    not `config.pad_token_id`.
    """
    known = (load_config(spec).pad_token_id, tokenizer.pad_token_id, 0)
    return next(int(found) for found in known if isinstance(found, int) and found >= 0)


def tokenize(spec: WorkloadSpec, column: str) -> TokenRows:
    """Tokenize the data file's texts; those of one token have none to predict and are left out.

    Raises:
        WorkloadError: If no text remains.
    """
    rows = data_rows(spec, {column: str})
    found = tokenize_texts(spec, [str(row[column]) for row in rows])
    ids = [row for row in found.ids if len(row) > 1]
    if not ids:
        raise WorkloadError(
            f"data: {spec.data}: every text is shorter than 2 tokens; name longer texts"
        )
    return TokenRows(ids=ids, pad=found.pad, longest=found.longest)


def length_limit(spec: WorkloadSpec) -> int:
    """Return the maximum length of a text: `max_length`, or the model's positions if fewer."""
    config = load_config(spec)
    positions = getattr(config, "max_position_embeddings", None)
    if not isinstance(positions, int) or positions <= 0:
        return spec.max_length
    if config.model_type in _POSITIONS_AFTER_PAD:
        positions -= int(config.pad_token_id or 0) + 1
    return min(positions, spec.max_length)


def length_notes(spec: WorkloadSpec, rows: TokenRows) -> tuple[str, ...]:
    """Return a note if texts are cut at fewer tokens than `max_length`."""
    cut = sum(len(row) == rows.longest for row in rows.ids)
    if rows.longest >= spec.max_length or not cut:
        return ()
    return (
        f"{cut} of {len(rows.ids)} texts are cut at {rows.longest} tokens, as many as the model "
        f"reads (max_length is {spec.max_length})",
    )


def batches(rows: TokenRows, size: int, places: ItemIndices) -> Iterator[tuple[list[int], Inputs]]:
    """Yield indices and batches of the texts at `places`, sorted by length to limit padding."""
    order = sorted(places.tolist(), key=lambda index: len(rows.ids[index]))
    for start in range(0, len(order), size):
        indices = order[start : start + size]
        yield indices, rows.batch(indices)
