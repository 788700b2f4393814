"""Text encoders, evaluated by retrieval: find the document that belongs to a query."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tunefront.evaluators.interfaces.tensors import Inputs
from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.statistics.estimates import mean_of
from tunefront.evaluators.workloads.sources.data import DataRow, data_rows
from tunefront.evaluators.workloads.sources.hub import (
    load_auto,
    load_processor,
    model_files,
    model_source,
)
from tunefront.evaluators.workloads.sources.sentence_transformers import (
    EncoderSettings,
    encoder_settings,
)
from tunefront.evaluators.workloads.sources.text import (
    TOKEN_INPUTS,
    TokenRows,
    batches,
    length_notes,
    tokenize_texts,
)
from tunefront.spaces.metric import Metric

from .base import EnoughItems, Run, TensorWorkload
from .outputs import NOT_FINITE, Sample, shortened
from .quality import Quality, finite
from .sequential import ItemIndices, evaluate_items, evaluated_places, sampled
from .spec import WorkloadSpec

if TYPE_CHECKING:
    import torch

_QUALITY_BATCH = 16


class TextEmbedding(TensorWorkload):
    """A text encoder whose vectors are compared by cosine similarity.

    Data: rows with the columns `query` and `document`; equal documents are merged. Every query is
    searched among all documents.
    """

    task = "text-embedding"
    files_are_complete = True
    calls_checked = 8
    architecture = "encoder"
    metrics = (
        Metric(
            name="recall_at_1",
            unit="",
            direction="maximize",
            summary="share of queries whose nearest document is the right one",
            lowest=0.0,
            highest=1.0,
        ),
        Metric(
            name="mrr",
            unit="",
            direction="maximize",
            summary="mean reciprocal rank of the right document",
            lowest=0.0,
            highest=1.0,
        ),
        Metric(
            name="cosine",
            unit="",
            direction="maximize",
            summary="mean cosine between a vector and the reference model's",
            lowest=-1.0,
            highest=1.0,
        ),
    )
    inputs = TOKEN_INPUTS

    def __init__(self, spec: WorkloadSpec) -> None:
        self.spec = spec

    def load_module(self) -> "torch.nn.Module":
        """Map token ids and mask `(batch, sequence)` to fp32 unit vectors `(batch, dimensions)`."""
        from .modules import EmbeddingModule
        from .sources.encoder_modules import built_modules

        after = built_modules(self._settings.modules)
        return EmbeddingModule(load_auto(self.spec, "AutoModel"), after).eval()

    @cached_property
    def _settings(self) -> EncoderSettings:
        return encoder_settings(model_source(self.spec))

    @cached_property
    def _data(self) -> list[DataRow]:
        columns = {"query": str, "document": str}
        return data_rows(self.spec, columns)

    @cached_property
    def _documents(self) -> dict[str, int]:
        """Distinct documents with their indices."""
        texts = dict.fromkeys(str(row["document"]) for row in self._data)
        return {text: place for place, text in enumerate(texts)}

    @cached_property
    def _tokens(self) -> TokenRows:
        """Token rows of the documents, then of the queries."""
        texts = [*self._documents, *(str(row["query"]) for row in self._data)]
        prepared = [self._settings.prompt + text for text in texts]
        if self._settings.lower_case:
            prepared = [text.lower() for text in prepared]
        return tokenize_texts(self.spec, prepared, longest=self._settings.max_length)

    def requests(self, batch_size: int, count: int) -> list[Inputs]:
        """Return documents and queries in the order of `sample_of`, cut into batches."""
        return self._tokens.requests(batch_size, count)

    def quality(
        self, run: Run, reference: Mapping[str, Array] | None, enough: EnoughItems | None = None
    ) -> Quality:
        """Compute recall at 1, mean reciprocal rank, and cosine similarity to the reference."""
        count = len(self._documents)
        vectors: dict[int, Array] = {}

        def embed(places: ItemIndices) -> Array:
            for order, inputs in batches(self._tokens, _QUALITY_BATCH, places):
                outputs = finite(run(inputs)[0], "embedding")
                vectors.update(zip(order, outputs.astype(np.float32), strict=True))
            return np.stack([vectors[place] for place in places.tolist()])

        documents = embed(np.arange(count))
        right = np.array([self._documents[str(row["document"])] for row in self._data])
        ranks = np.zeros(len(right))

        def score(places: ItemIndices) -> tuple[Array, Array]:
            ranks[places] = rank_of_right(embed(places + count), documents, right[places])
            return (ranks[places] == 1).astype(np.float64), np.ones(len(places))

        items, weights = evaluate_items(len(right), score, enough)
        places = evaluated_places(weights)
        known = np.concatenate([np.arange(count), places + count])
        matrix = np.stack([vectors[place] for place in known.tolist()])
        compared = matrix if reference is None else reference["vectors"][known]
        metrics = {
            "recall_at_1": mean_of(items[places]),
            "mrr": mean_of(1.0 / ranks[places]),
            "cosine": mean_of((matrix * compared).sum(axis=-1).astype(np.float64)),
        }
        return Quality(
            metrics=metrics, items=items, weights=weights, predictions={"vectors": matrix}
        )

    def samples(self, run: Run, quality: Quality) -> Sequence[Sample]:
        """Return queries with the top-ranked document and its cosine similarity."""
        texts = list(self._documents)
        vectors = quality.predictions["vectors"]
        documents, queries = vectors[: len(texts)], vectors[len(texts) :]
        row_of = {
            place: row for row, place in enumerate(evaluated_places(quality.weights).tolist())
        }
        found: list[Sample] = []
        for place in sampled(len(self._data)).tolist():
            right = str(self._data[place]["document"])
            cosines = documents @ queries[row_of[place]]
            first, known = int(cosines.argmax()), bool(np.isfinite(cosines).all())
            found.append(
                Sample(
                    item=place,
                    input=shortened(str(self._data[place]["query"])),
                    output=shortened(texts[first]) if known else NOT_FINITE,
                    expected=shortened(right),
                    right=known and texts[first] == right,
                    score=float(cosines[first]) if known else None,
                    score_name="cosine",
                )
            )
        return found

    def files(self) -> Sequence[Path]:
        """Return the model's folder and the data file."""
        return (*model_files(self.spec), self.spec.path(str(self.spec.data)))

    def notes(self) -> Sequence[str]:
        """Return a note if texts are cut at fewer tokens than `max_length`."""
        return length_notes(self.spec, self._tokens)

    def save_processor(self, folder: Path) -> None:
        """Save the tokenizer."""
        load_processor(self.spec, "AutoTokenizer").save_pretrained(folder)


def rank_of_right(queries: Array, documents: Array, right: Array) -> Array:
    """Return the rank, from 1, of each query's relevant document; ties count against it.

    Args:
        queries: Unit vectors, shape `(queries, dimensions)`.
        documents: Unit vectors, shape `(documents, dimensions)`.
        right: Index of each query's relevant document, shape `(queries,)`.
    """
    scores = queries @ documents.T
    own = scores[np.arange(len(queries)), right]
    ranks: Array = (scores >= own[:, None]).sum(axis=-1)
    return ranks
