"""Text classifiers, evaluated by accuracy."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tunefront.evaluators.interfaces.tensors import Inputs
from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.workloads.sources.data import DataRow, data_rows
from tunefront.evaluators.workloads.sources.hub import (
    load_auto,
    load_processor,
    model_files,
)
from tunefront.evaluators.workloads.sources.text import (
    TOKEN_INPUTS,
    TokenRows,
    batches,
    length_notes,
    tokenize_texts,
)

from .base import EnoughItems, Run, TensorWorkload
from .classification import METRICS, class_names, example_outputs, labels_of, quality_of
from .outputs import Sample, shortened
from .quality import Quality, finite
from .sequential import ItemIndices, sampled
from .spec import WorkloadSpec

if TYPE_CHECKING:
    import torch

_QUALITY_BATCH = 16


class TextClassification(TensorWorkload):
    """A text classifier. Data: rows with the columns `text` and `label`."""

    task = "text-classification"
    files_are_complete = True
    calls_checked = 8
    architecture = "encoder"
    metrics = METRICS
    inputs = TOKEN_INPUTS

    def __init__(self, spec: WorkloadSpec) -> None:
        self.spec = spec

    def load_module(self) -> "torch.nn.Module":
        """Map token ids and mask `(batch, sequence)` to logits `(batch, classes)`, fp32."""
        from .modules import TextLogitsModule

        return TextLogitsModule(load_auto(self.spec, "AutoModelForSequenceClassification")).eval()

    @cached_property
    def _data(self) -> list[DataRow]:
        return data_rows(self.spec, {"text": str, "label": object})

    @cached_property
    def _tokens(self) -> TokenRows:
        return tokenize_texts(self.spec, [str(row["text"]) for row in self._data])

    def requests(self, batch_size: int, count: int) -> list[Inputs]:
        """Return texts in the order of `sample_of`, cut into batches."""
        return self._tokens.requests(batch_size, count)

    def quality(
        self, run: Run, reference: Mapping[str, Array] | None, enough: EnoughItems | None = None
    ) -> Quality:
        """Compute the accuracy over the texts, and the agreement with the reference."""

        def classify(places: ItemIndices) -> Array:
            return finite(self._logits(run, places), "logits")

        return quality_of(classify, self._labels(), reference, enough)

    def _logits(self, run: Run, places: ItemIndices) -> Array:
        logits: dict[int, Array] = {}
        for order, inputs in batches(self._tokens, _QUALITY_BATCH, places):
            logits.update(zip(order, run(inputs)[0], strict=True))
        return np.stack([logits[place] for place in places.tolist()])

    def _labels(self) -> Array:
        return labels_of(self._data, class_names(self.spec), str(self.spec.data))

    def samples(self, run: Run, quality: Quality) -> Sequence[Sample]:
        """Return texts with the top-1 class and its probability."""
        places = sampled(len(self._data))
        texts = {place: shortened(str(self._data[place]["text"])) for place in places.tolist()}
        logits = self._logits(run, places)
        return example_outputs(texts, logits, self._labels(), class_names(self.spec))

    def files(self) -> Sequence[Path]:
        """Return the model's folder and the data file."""
        return (*model_files(self.spec), self.spec.path(str(self.spec.data)))

    def notes(self) -> Sequence[str]:
        """Return a note if texts are cut at fewer tokens than `max_length`."""
        return length_notes(self.spec, self._tokens)

    def save_processor(self, folder: Path) -> None:
        """Save the tokenizer."""
        load_processor(self.spec, "AutoTokenizer").save_pretrained(folder)
