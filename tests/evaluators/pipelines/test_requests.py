"""The requests that speed is measured with: one sample of items, the same for every batch size."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tunefront.evaluators import WorkloadSpec, builtin_catalog
from tunefront.evaluators.interfaces.builtin import RequestSet, read_request_sets
from tunefront.evaluators.interfaces.tensors import items_of
from tunefront.evaluators.pipelines.tasks import requests as requests_module
from tunefront.evaluators.pipelines.tasks.requests import RequestFiles, write_requests
from tunefront.evaluators.pipelines.tasks.workload_check import item_notes
from tunefront.evaluators.pipelines.workload import build_workload
from tunefront.spaces import Configuration

FIXED = """
import numpy as np


def inputs(batch_size, count):
    random = np.random.default_rng(0)
    return [{"rows": random.normal(size=(batch_size, 256))} for _ in range(count)]
"""
VARIED = """
import numpy as np


def inputs(batch_size, count):
    length = {2: 5}.get(batch_size, 7)
    return [{"rows": np.ones((batch_size, length + place))} for place in range(count)]
"""


def batched(batch_size: int) -> Configuration:
    return builtin_catalog().complete({"runtime": "torch", "batch_size": batch_size})


def written(spec: WorkloadSpec, batch_size: int, folder: Path) -> RequestSet:
    """Two parts of six items."""
    folder = folder / str(batch_size)
    folder.mkdir()
    write_requests(
        RequestFiles(
            workload=spec,
            configuration=batched(batch_size),
            parts=2,
            part_items=6,
            folder=folder,
        )
    )
    return read_request_sets(folder)[""]


def custom(folder: Path, source: str) -> WorkloadSpec:
    name = f"sampled_{folder.name.replace('-', '_')}"
    (folder / f"{name}.py").write_text(source)
    return WorkloadSpec(
        task="custom",
        model=f"{name}:model",
        folder=str(folder),
        inputs=f"{name}:inputs",
        quality=f"{name}:quality",
        metric="score",
    )


def test_every_batch_size_is_timed_with_the_same_texts(
    lm_spec: WorkloadSpec, tmp_path: Path
) -> None:
    """Turn by turn: their lengths, and so their tokens, are the same."""
    sets = [written(lm_spec, size, tmp_path) for size in (1, 2, 3, 6)]
    assert [made.parts for made in sets] == [2, 2, 2, 2]
    for turn in range(4):
        sizes = {(made.size(turn).items, made.size(turn).tokens) for made in sets}
        assert len(sizes) == 1
        assert sizes.pop()[0] == 6
    single = sets[0]
    assert single.size(0) == single.size(2) != single.size(1)


def test_a_part_holds_whole_requests(lm_spec: WorkloadSpec, tmp_path: Path) -> None:
    made = written(lm_spec, 4, tmp_path)
    assert [items_of(request) for request in made.part(1)] == [4, 4]


def test_items_of_one_shape_are_few_if_they_are_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every timed process holds all of them; they take the same time whatever they hold."""
    spec = custom(tmp_path, FIXED)
    assert len(written(spec, 1, tmp_path).requests) == 12
    item = 256 * np.dtype(np.float64).itemsize
    monkeypatch.setattr(requests_module, "LARGEST_SAMPLE", 5 * item)
    few = written(spec, 2, tmp_path)
    assert len(few.requests) == 2
    whole = build_workload(spec).requests(2, 6)
    for turn in range(2):
        assert np.array_equal(few.part(turn)[0]["rows"], whole[3 * turn]["rows"])


def test_items_that_depend_on_the_batch_size_are_noted(
    tmp_path: Path, lm_spec: WorkloadSpec
) -> None:
    workload = build_workload(custom(tmp_path, VARIED))
    (note,) = item_notes(workload, workload.requests(2, 1))
    assert note == (
        "the items of a request depend on the batch size, so throughputs of different batch sizes "
        "are those of different items; make `inputs` cut one fixed sequence of items into batches"
    )
    texts = build_workload(replace(lm_spec))
    assert item_notes(texts, texts.requests(2, 1)) == ()
