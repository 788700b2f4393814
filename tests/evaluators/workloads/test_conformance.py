"""What every workload promises, with a tiny model of every task."""

import copy
import inspect
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

from tunefront.evaluators import (
    WorkloadSpec,
    build_workload,
    builtin_catalog,
    paired_change,
    quality_metrics,
)
from tunefront.evaluators.interfaces.tensors import Inputs
from tunefront.evaluators.isolation.codec import from_plain, to_plain
from tunefront.evaluators.runtimes.base import Source
from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.store.store import fingerprint_of
from tunefront.evaluators.workloads import sequential as portions_module
from tunefront.evaluators.workloads.base import Architecture, TensorWorkload
from tunefront.evaluators.workloads.quality import read_items, read_metrics, write_quality
from tunefront.evaluators.workloads.sequential import ItemIndices, portions
from tunefront.spaces import EvaluationError, WorkloadError, detect_hardware

from .conftest import Case, constant_run

if TYPE_CHECKING:
    import torch

COMPARED = {"agreement", "cosine"}
"""Metrics that say how near a candidate is to the reference."""


def test_every_task_has_its_workload() -> None:
    catalog = builtin_catalog()
    tasks = catalog.names("workload")
    assert "causal-lm" in tasks
    for task in tasks:
        assert cast(type[TensorWorkload], catalog.provided("workload", task)).task == task


def same(first: list[Inputs], second: list[Inputs]) -> bool:
    """Whether two lists of requests hold the same arrays under the same names."""
    return len(first) == len(second) and all(
        list(a) == list(b) and all(np.array_equal(a[name], b[name]) for name in a)
        for a, b in zip(first, second, strict=True)
    )


def items_in(requests: list[Inputs]) -> list[bytes]:
    """The content of every item in order, without padding."""
    found: list[bytes] = []
    for request in requests:
        for row in range(len(next(iter(request.values())))):
            kept = request.get("attention_mask", np.ones((row + 1, 0)))[row].astype(bool)
            found.append(
                b"".join(
                    (array[row][kept] if array[row].shape == kept.shape else array[row]).tobytes()
                    for array in request.values()
                )
            )
    return found


def forward(module: "torch.nn.Module", request: Inputs) -> "torch.Tensor":
    import torch

    with torch.inference_mode():
        output = module(**{name: torch.from_numpy(array) for name, array in request.items()})
    return cast("torch.Tensor", output)


def test_the_module_is_fp32_on_the_cpu_in_eval_mode(case: Case) -> None:
    import torch

    assert not any(part.training for part in case.module.modules())
    floats = [p for p in case.module.parameters() if p.is_floating_point()]
    assert floats
    assert {p.dtype for p in floats} == {torch.float32}
    assert {p.device.type for p in floats} == {"cpu"}


def test_forward_takes_the_inputs_by_name(case: Case) -> None:
    named = [spec.name for spec in case.workload.inputs]
    assert list(inspect.signature(case.module.forward).parameters) == named


@pytest.mark.parametrize("batch_size", [1, 3])
def test_forward_returns_one_fp32_tensor(case: Case, batch_size: int) -> None:
    import torch

    output = forward(case.module, case.workload.requests(batch_size, 1)[0])
    assert isinstance(output, torch.Tensor)
    assert output.dtype == torch.float32
    assert output.shape[0] == batch_size
    assert bool(output.isfinite().all())


def test_forward_returns_fp32_where_the_weights_are_bf16(case: Case) -> None:
    import torch

    request = case.workload.requests(2, 1)[0]
    wanted = forward(case.module, request)
    halved = forward(copy.deepcopy(case.module).to(torch.bfloat16), request)
    assert halved.dtype == torch.float32
    assert halved.shape == wanted.shape
    assert not torch.equal(halved, wanted)
    assert torch.nn.functional.cosine_similarity(halved.flatten(), wanted.flatten(), 0) > 0.98


def test_rows_do_not_see_each_other(case: Case) -> None:
    """A row's output is its own, whatever else is in the batch and however much is padded."""
    batch = case.workload.requests(3, 1)[0]
    together = case.run(batch)[0]
    for row, request in enumerate(case.workload.requests(1, 3)):
        alone = case.run(request)[0][0]
        cut = tuple(slice(size) for size in alone.shape)
        np.testing.assert_allclose(together[row][cut], alone, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("batch_size", "count"), [(1, 1), (2, 3), (5, 2)])
def test_requests_have_the_shape_that_the_inputs_say(
    case: Case, batch_size: int, count: int
) -> None:
    requests = case.workload.requests(batch_size, count)
    assert len(requests) == count
    for request in requests:
        assert list(request) == [spec.name for spec in case.workload.inputs]
        for spec in case.workload.inputs:
            array = request[spec.name]
            assert spec.dims[0] == "batch"
            assert array.shape[0] == batch_size
            for size, dim in zip(array.shape, spec.dims, strict=True):
                assert isinstance(dim, str) or size == dim


def test_requests_hold_token_ids_or_fp32(case: Case) -> None:
    request = case.workload.requests(2, 1)[0]
    wanted = np.int64 if "input_ids" in request else np.float32
    assert {array.dtype for array in request.values()} == {np.dtype(wanted)}


def test_requests_are_the_same_at_every_call(case: Case, spec: WorkloadSpec) -> None:
    first = case.workload.requests(3, 4)
    assert same(first, case.workload.requests(3, 4))
    assert same(first, build_workload(spec).requests(3, 4))
    assert not same(first[:1], first[1:2])


@pytest.mark.parametrize("batch_size", [2, 3, 4])
def test_every_batch_size_is_timed_with_the_same_items(case: Case, batch_size: int) -> None:
    """Texts longer than others must not be those of one batch size alone."""
    single = items_in(case.workload.requests(1, 12))
    assert items_in(case.workload.requests(batch_size, 12 // batch_size)) == single


def test_quality_reports_the_declared_metrics_the_primary_one_first(
    case: Case, spec: WorkloadSpec
) -> None:
    declared = [metric.name for metric in case.workload.metrics]
    quality = case.workload.quality(case.run, None)
    assert list(quality.metrics) == declared
    assert case.workload.primary is case.workload.metrics[0]
    assert list(quality_metrics(spec)) == declared
    for metric in case.workload.metrics:
        found = quality.metrics[metric.name]
        assert np.isfinite([found.value, found.low, found.high]).all()
        assert found.low <= found.value <= found.high
        assert found.samples >= case.items or found.samples == 1
        assert found.unit == metric.unit


def test_the_primary_metric_is_the_weighted_mean_of_the_items(case: Case) -> None:
    quality = case.workload.quality(case.run, None)
    assert quality.items.shape == quality.weights.shape == (case.items,)
    assert (quality.weights > 0).all()
    mean = float(np.average(quality.items, weights=quality.weights))
    primary = case.workload.primary
    expected = np.exp(mean) if primary.scale == "log" else mean
    assert quality.metrics[primary.name].value == pytest.approx(expected, rel=1e-6)


def test_a_candidate_changes_nothing_against_itself(case: Case) -> None:
    items = case.workload.quality(case.run, None)
    pair = np.stack([items.items, items.weights])
    change, low, high = paired_change(pair, pair, case.workload.primary.scale)
    assert change == 0.0
    if np.isin(items.items, (0.0, 1.0)).all():
        assert low < 0.0 < high  # equal hits may be luck (Agresti and Min)
    else:
        assert (low, high) == (0.0, 0.0)


def test_quality_is_the_same_at_every_call(case: Case, spec: WorkloadSpec) -> None:
    first = case.workload.quality(case.run, None)
    again = build_workload(spec).quality(case.run, None)
    assert first.metrics == again.metrics
    assert np.array_equal(first.items, again.items)


def portioned(case: Case, monkeypatch: pytest.MonkeyPatch) -> list[ItemIndices]:
    """Portions as large data would have them."""
    monkeypatch.setattr(portions_module, "LEAST_ITEMS", 1)
    found = portions(case.items)
    assert len(found) > 2
    return found


def test_judging_may_end_after_the_first_portion(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figures are then those of the items that were judged, and others weigh nothing."""
    first = portioned(case, monkeypatch)[0]
    whole = case.workload.quality(case.run, None)
    looks: list[int] = []

    def at_once(items: Array, weights: Array) -> bool:
        looks.append(int((weights > 0).sum()))
        return True

    part = case.workload.quality(case.run, whole.predictions or None, at_once)
    if case.workload.task == "custom":  # a user's function judges all
        assert looks == []
        assert part.metrics == whole.metrics
        return
    assert looks == [len(first)]
    assert np.flatnonzero(part.weights > 0).tolist() == first.tolist()
    np.testing.assert_allclose(part.items[first], whole.items[first], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(part.weights[first], whole.weights[first])
    primary = case.workload.primary
    mean = float(np.average(part.items[first], weights=part.weights[first]))
    value = part.metrics[primary.name].value
    assert value == pytest.approx(np.exp(mean) if primary.scale == "log" else mean, rel=1e-6)
    assert part.metrics[primary.name].samples == len(first)
    for name in COMPARED & set(part.metrics):
        assert part.metrics[name].value == pytest.approx(1.0, abs=1e-5)


def test_a_candidate_that_differs_is_compared_on_what_was_judged(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Predictions are paired with the reference's of the same items."""
    portioned(case, monkeypatch)
    reference = case.workload.quality(case.run, None).predictions or None
    part = case.workload.quality(
        lambda inputs: [-case.run(inputs)[0]], reference, lambda items, weights: True
    )
    for name in COMPARED & set(part.metrics):
        assert part.metrics[name].value < 0.6


def test_judging_to_the_end_changes_nothing(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of portions are padded otherwise, so that figures may differ in the last digits."""
    portioned(case, monkeypatch)
    whole = case.workload.quality(case.run, None)
    looked = case.workload.quality(
        case.run, whole.predictions or None, lambda items, weights: False
    )
    np.testing.assert_array_equal(looked.weights, whole.weights)
    np.testing.assert_allclose(looked.items, whole.items, rtol=1e-4, atol=1e-6)
    assert list(looked.metrics) == list(whole.metrics)
    for name, found in looked.metrics.items():
        assert found.value == pytest.approx(whole.metrics[name].value, rel=1e-4)
        assert found.samples == whole.metrics[name].samples


def test_the_reference_agrees_with_itself(case: Case) -> None:
    made = case.workload.quality(case.run, None)
    own = case.workload.quality(case.run, made.predictions or None)
    for name in COMPARED & set(own.metrics):
        assert own.metrics[name].value == pytest.approx(1.0, abs=1e-6)
    assert own.metrics[case.workload.primary.name] == made.metrics[case.workload.primary.name]


def test_another_candidate_does_not_agree_with_the_reference(case: Case) -> None:
    reference = case.workload.quality(case.run, None).predictions
    other = case.workload.quality(lambda inputs: [-case.run(inputs)[0]], reference or None)
    named = COMPARED & set(other.metrics)
    assert named or case.workload.task == "custom"
    for name in named:
        assert other.metrics[name].value < 0.6


def test_quality_does_not_alter_the_reference(case: Case) -> None:
    reference = case.workload.quality(case.run, None).predictions
    kept = {name: array.copy() for name, array in reference.items()}
    case.workload.quality(constant_run(case, 0.5), reference or None)
    assert all(np.array_equal(kept[name], reference[name]) for name in kept)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_outputs_that_are_not_finite_are_no_quality(case: Case, value: float) -> None:
    # A custom quality function may make a finite number of infinity; that is its own business.
    if case.workload.task == "custom" and np.isinf(value):
        return
    with pytest.raises(EvaluationError, match=r"NaN or infinite|finite numbers") as caught:
        case.workload.quality(constant_run(case, value), None)
    assert caught.value.cause == "invalid output"


def test_quality_goes_to_disk_and_back(case: Case, tmp_path: Path) -> None:
    quality = case.workload.quality(case.run, None)
    write_quality(quality, tmp_path)
    assert read_metrics(tmp_path) == dict(quality.metrics)
    assert np.array_equal(read_items(tmp_path), np.stack([quality.items, quality.weights]))


def test_the_files_of_a_workload_exist_and_make_its_fingerprint(
    case: Case, spec: WorkloadSpec
) -> None:
    files = tuple(case.workload.files())
    assert files
    assert all(path.exists() for path in files)
    assert spec.data is None or spec.path(spec.data) in files
    if spec.task == "image-classification":
        assert {path.name for path in files} >= {f"{place}.png" for place in range(case.items)}
    assert fingerprint_of(files) == fingerprint_of(tuple(build_workload(spec).files()))


def test_the_processor_can_be_loaded_from_where_it_was_saved(case: Case, tmp_path: Path) -> None:
    import transformers

    case.workload.save_processor(tmp_path)
    if case.workload.task == "custom":
        assert not list(tmp_path.iterdir())
    elif case.workload.task == "image-classification":
        from PIL import Image

        image = Image.new("RGB", (5, 6), "red")
        processor = transformers.AutoImageProcessor.from_pretrained(  # type: ignore[no-untyped-call]
            tmp_path
        )
        pixels: Array = processor(images=[image], return_tensors="np")["pixel_values"]
        assert pixels.shape == case.workload.requests(1, 1)[0]["pixel_values"].shape
    else:
        tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
        assert tokenizer.pad_token_id is not None
        assert len(tokenizer("red green")["input_ids"]) >= 2


def test_every_task_declares_its_architecture(case: Case) -> None:
    assert case.workload.architecture == {
        "causal-lm": "decoder",
        "text-embedding": "encoder",
        "text-classification": "encoder",
        "image-classification": "vision",
        "custom": "other",
    }.get(case.workload.task)


@pytest.mark.parametrize("architecture", ["decoder", "encoder", "vision", "other"])
def test_a_custom_workload_declares_its_own_architecture(
    custom_spec: WorkloadSpec, architecture: Architecture
) -> None:
    spec = replace(custom_spec, architecture=architecture)
    assert build_workload(spec).architecture == architecture
    assert from_plain(WorkloadSpec, to_plain(spec)) == spec


def test_an_architecture_is_a_known_word_and_a_custom_workloads_only(
    custom_spec: WorkloadSpec, classifier_spec: WorkloadSpec
) -> None:
    unknown = "architecture: unknown value 'decodr'; did you mean 'decoder'?"
    with pytest.raises(WorkloadError, match=re.escape(unknown)):
        replace(custom_spec, architecture=cast(Architecture, "decodr"))
    told = (
        "architecture: only task custom declares it, but the task is text-classification, which "
        "has its own; remove the key"
    )
    with pytest.raises(WorkloadError, match=re.escape(told)):
        replace(classifier_spec, architecture="decoder")


def test_the_module_can_be_exported_its_batch_may_vary_and_it_moves_to_a_gpu(case: Case) -> None:
    from tests.evaluators.fake_cuda import runs_on_fake_gpu

    from tunefront.evaluators.runtimes.export_program import export_program

    source = Source(
        module=case.module,
        inputs=case.workload.inputs,
        calibration=case.workload.requests(4, 1),
        shared=lambda name, make: Path(),
        hardware=detect_hardware(),
    )
    program = export_program(case.module, source)
    exported = program.module()
    for batch_size in (1, 2, 7):
        request = case.workload.requests(batch_size, 1)[0]
        wanted = case.run(request)[0]
        np.testing.assert_allclose(forward(exported, request).numpy(), wanted, rtol=1e-4, atol=1e-5)
    runs_on_fake_gpu(program, case.workload.requests(3, 1)[0])
