"""Image classifiers, evaluated by accuracy."""

import io
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tunefront.evaluators.interfaces.tensors import Inputs, TensorSpec
from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.workloads.sources.data import DataRow, data_rows
from tunefront.evaluators.workloads.sources.hub import (
    load_auto,
    load_config,
    load_processor,
    model_files,
)
from tunefront.spaces import WorkloadError

from .base import EnoughItems, Run, TensorWorkload
from .classification import METRICS, class_names, example_outputs, labels_of, quality_of
from .outputs import Sample, shortened
from .quality import Quality, finite
from .sequential import ItemIndices, sample_of, sampled
from .spec import WorkloadSpec

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

_QUALITY_BATCH = 16
_MODES = {1: "L", 3: "RGB"}
"""Pillow's modes by number of channels."""


class ImageClassification(TensorWorkload):
    """An image classifier.

    Data: rows with the columns `image` (a path, relative to the data file; in parquet also
    `{bytes: ...}`) and `label`.
    """

    task = "image-classification"
    files_are_complete = True
    calls_checked = 8
    architecture = "vision"
    metrics = METRICS

    def __init__(self, spec: WorkloadSpec) -> None:
        self.spec = spec

    @cached_property
    def inputs(self) -> tuple[TensorSpec, ...]:  # type: ignore[override]
        """Pixels with the model's number of channels, in the size that the processor makes."""
        dims = ("batch", *self._pixels.shape[1:])
        return (TensorSpec(name="pixel_values", dims=dims),)

    @cached_property
    def _channels(self) -> int:
        """The model's number of channels; 3 if its configuration has none.

        Raises:
            WorkloadError: If it is neither 1 nor 3.
        """
        found = getattr(load_config(self.spec), "num_channels", 3)
        if found not in _MODES:
            raise WorkloadError(
                f"model: {self.spec.model} has {found} channels, but images are read with "
                "1 (grey) or 3 (RGB); use task custom for this model"
            )
        return int(found)

    def load_module(self) -> "torch.nn.Module":
        """Map pixels `(batch, channels, height, width)` to logits `(batch, classes)`, fp32."""
        from .modules import ImageLogitsModule

        return ImageLogitsModule(load_auto(self.spec, "AutoModelForImageClassification")).eval()

    @cached_property
    def _data(self) -> list[DataRow]:
        return data_rows(self.spec, {"image": object, "label": object})

    @cached_property
    def _pixels(self) -> Array:
        """All images, preprocessed: float32, shape `(items, channels, height, width)`."""
        processor = load_processor(self.spec, "AutoImageProcessor")
        images = [self._image(place, row) for place, row in enumerate(self._data, start=1)]
        found = processor(images=images, return_tensors="np", input_data_format="channels_last")
        pixels: Array = np.asarray(found["pixel_values"])
        return pixels.astype(np.float32)

    def _image(self, place: int, row: DataRow) -> Array:
        """Return an image, uint8 `(height, width, channels)`."""
        pixels = np.asarray(self._opened(place, row).convert(_MODES[self._channels]))
        return pixels.reshape(*pixels.shape[:2], self._channels)

    def _opened(self, place: int, row: DataRow) -> "Image":
        from PIL import Image, UnidentifiedImageError

        data = self.spec.path(str(self.spec.data))
        written = row.get("image")
        stored = written.get("bytes") if isinstance(written, dict) else written
        try:
            if isinstance(stored, bytes):
                return Image.open(io.BytesIO(stored))
            if isinstance(stored, str):
                return Image.open(data.parent / stored)
        except (OSError, UnidentifiedImageError) as error:
            raise WorkloadError(
                f"data: {data}: row {place}: image not readable: {error}"
            ) from error
        raise WorkloadError(
            f"data: {data}: row {place}: column 'image' must be a path or bytes, "
            f"but got {type(written).__name__}"
        )

    def requests(self, batch_size: int, count: int) -> list[Inputs]:
        """Return images in the order of `sample_of`, cut into batches."""
        batches = sample_of(len(self._pixels), batch_size, count)
        return [{"pixel_values": self._pixels[places]} for places in batches]

    def quality(
        self, run: Run, reference: Mapping[str, Array] | None, enough: EnoughItems | None = None
    ) -> Quality:
        """Compute the accuracy over the images, and the agreement with the reference."""

        def classify(places: ItemIndices) -> Array:
            return finite(self._logits(run, places), "logits")

        return quality_of(classify, self._labels(), reference, enough)

    def _logits(self, run: Run, places: ItemIndices) -> Array:
        parts = [places[at : at + _QUALITY_BATCH] for at in range(0, len(places), _QUALITY_BATCH)]
        return np.concatenate([run({"pixel_values": self._pixels[part]})[0] for part in parts])

    def _labels(self) -> Array:
        return labels_of(self._data, class_names(self.spec), str(self.spec.data))

    def samples(self, run: Run, quality: Quality) -> Sequence[Sample]:
        """Return image paths with the top-1 class and its probability."""
        places = sampled(len(self._data))
        paths = {place: self._called(place) for place in places.tolist()}
        logits = self._logits(run, places)
        return example_outputs(paths, logits, self._labels(), class_names(self.spec))

    def _called(self, place: int) -> str:
        """Return the image path as written in the data; the row number if the image is embedded."""
        written = self._data[place].get("image")
        return shortened(written, end=True) if isinstance(written, str) else f"row {place + 1}"

    def files(self) -> Sequence[Path]:
        """Return the model's folder, the data file and the image files that it names."""
        data = self.spec.path(str(self.spec.data))
        named = [row.get("image") for row in self._data]
        images = {data.parent / name for name in named if isinstance(name, str)}
        return (*model_files(self.spec), data, *sorted(images))

    def save_processor(self, folder: Path) -> None:
        """Save the image processor."""
        load_processor(self.spec, "AutoImageProcessor").save_pretrained(folder)
