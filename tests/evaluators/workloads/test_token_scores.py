"""On a GPU a causal language model returns scores and tokens: the same quality as from logits."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tunefront.evaluators import WorkloadSpec, build_workload, builtin_catalog
from tunefront.evaluators.interfaces.tensors import Inputs
from tunefront.evaluators.pipelines.tasks import reference as reference_task
from tunefront.evaluators.pipelines.tasks.reference import ReferenceRequest, write_reference
from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.workloads import causal_lm
from tunefront.evaluators.workloads.base import TensorWorkload
from tunefront.spaces import Configuration, EvaluationError

CATALOG = builtin_catalog()
ON_GPU = CATALOG.complete({"device": "cuda", "runtime": "torch"})


def workload_on(spec: WorkloadSpec, configuration: Configuration) -> TensorWorkload:
    found = build_workload(spec, configuration)
    assert isinstance(found, TensorWorkload)
    return found


@pytest.fixture(scope="module")
def pair(lm_spec: WorkloadSpec) -> tuple[TensorWorkload, TensorWorkload]:
    """The workload on a processor and on a GPU; both modules run on the processor here."""
    return workload_on(lm_spec, CATALOG.complete({})), workload_on(lm_spec, ON_GPU)


def test_the_quality_is_that_of_the_logits(
    pair: tuple[TensorWorkload, TensorWorkload], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(causal_lm, "CONTINUED", 3)
    (plain, scored), runs = pair, [one.reference() for one in pair]
    found = [one.quality(run, None) for one, run in zip(pair, runs, strict=True)]
    for name in ("perplexity", "agreement"):
        values = [one.metrics[name].value for one in found]
        assert values[0] == pytest.approx(values[1], rel=1e-5)
    assert np.allclose(found[0].items, found[1].items, rtol=1e-4)
    assert np.array_equal(found[0].weights, found[1].weights)
    assert np.array_equal(found[0].predictions["tokens"], found[1].predictions["tokens"])
    assert scored.samples(runs[1], found[1]) == plain.samples(runs[0], found[0])


def test_outputs_are_a_score_and_a_token_each_and_none_of_the_vocabulary(
    pair: tuple[TensorWorkload, TensorWorkload],
) -> None:
    plain, scored = pair
    request = scored.requests(3, 1)[0]
    logits = plain.reference()(request)[0].astype(np.float64)
    scores, tokens = scored.reference()(request)
    assert scores.shape == tokens.shape == request["input_ids"].shape
    assert scores.dtype == np.float32
    assert tokens.dtype == np.int64
    assert np.array_equal(tokens, logits.argmax(axis=-1))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    for row, mask in enumerate(request["attention_mask"]):
        length = int(mask.sum())
        following = request["input_ids"][row, 1:length]
        expected = np.log(probabilities[row, np.arange(length - 1), following])
        assert np.allclose(scores[row, : length - 1], expected, atol=1e-5)
        assert (scores[row, length - 1 :] == 0).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_that_are_not_finite_are_refused(
    pair: tuple[TensorWorkload, TensorWorkload], value: float
) -> None:
    run = pair[1].reference()

    def broken(inputs: Inputs) -> Sequence[Array]:
        scores, tokens = run(inputs)
        scores[0, 0] = value
        return [scores, tokens]

    with pytest.raises(EvaluationError) as caught:
        pair[1].quality(broken, None)
    assert (str(caught.value), caught.value.cause) == (
        "scores holds NaN or infinite values",
        "invalid output",
    )


def test_logits_that_are_not_finite_make_scores_that_are_not() -> None:
    import torch

    from tunefront.evaluators.workloads.modules import token_scores

    ids, mask = torch.ones(1, 3, dtype=torch.int64), torch.tensor([[1, 1, 0]])
    for place in range(3):
        for value in (float("nan"), float("inf")):
            for dtype in (torch.float32, torch.bfloat16):
                logits = torch.zeros(1, 3, 4, dtype=dtype)
                logits[0, place, 2] = value
                scores, _ = token_scores(logits, ids, mask)
                assert not torch.isfinite(scores[0, place])


@pytest.mark.parametrize("vocabulary", [12, 50, 1001])
@pytest.mark.parametrize("name", ["bfloat16", "float16", "float32"])
def test_logits_of_16_bits_are_scored_as_in_fp32_but_never_there_as_a_whole(
    name: str, vocabulary: int
) -> None:
    import torch

    from tunefront.evaluators.workloads.modules import token_scores

    class Scores(torch.nn.Module):
        def forward(
            self, logits: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor
        ) -> tuple[torch.Tensor, torch.Tensor]:
            return token_scores(logits, ids, mask)

    generator = torch.Generator().manual_seed(0)
    logits = 10 * torch.randn(2, 5, vocabulary, generator=generator)
    logits[0, 1, 0] = -torch.inf
    ids = torch.randint(0, vocabulary, (2, 5), generator=generator)
    given = (logits.to(getattr(torch, name)), ids, torch.ones_like(ids))
    scores, tokens = token_scores(*given)
    expected, chosen = token_scores(given[0].float(), *given[1:])
    torch.testing.assert_close(scores, expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(tokens, chosen)
    graph = torch.export.export(Scores(), given).graph
    values = [node.meta.get("val") for node in graph.nodes if node.op == "call_function"]
    whole = [
        value
        for value in values
        if isinstance(value, torch.Tensor) and tuple(value.shape) == (2, 5, vocabulary)
    ]
    assert not [value for value in whole if value.dtype == torch.float32]


def test_the_module_is_exported_with_both_dimensions_dynamic(
    lm_spec: WorkloadSpec,
) -> None:
    import torch

    from tunefront.evaluators.interfaces.torch_tensors import run_of, tensors

    workload = workload_on(lm_spec, ON_GPU)
    module, example = workload.load_module(), workload.requests(2, 1)[0]
    dims = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.AUTO}
    shapes = {spec.name: dims for spec in workload.inputs}
    with torch.no_grad():
        program = torch.export.export(module, (), tensors(example), dynamic_shapes=shapes)
    other = workload.requests(5, 1)[0]
    with torch.inference_mode():
        found = program.module()(**tensors(other))
    for one, expected in zip(found, run_of(module)(other), strict=True):
        assert np.allclose(one.numpy(), expected, atol=1e-4)


def test_scores_stay_on_the_gpu_of_their_logits() -> None:
    import torch
    from tests.evaluators.fake_cuda import FAKE_GPU, devices_of, mode_of

    from tunefront.evaluators.runtimes.export_program import on_device
    from tunefront.evaluators.workloads.modules import token_scores

    class Scores(torch.nn.Module):
        def forward(
            self, logits: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor
        ) -> tuple[torch.Tensor, torch.Tensor]:
            return token_scores(logits, ids, mask)

    ids = torch.ones(4, 6, dtype=torch.int64)
    given = (torch.zeros(4, 6, 50, dtype=torch.bfloat16), ids, ids)
    program = torch.export.export(Scores(), given)
    with mode_of(program):
        moved = on_device(program, FAKE_GPU)
        scores, tokens = moved.module()(*(one.to(FAKE_GPU) for one in given))
    assert devices_of(moved) == {FAKE_GPU}
    assert str(scores.device) == str(tokens.device) == FAKE_GPU
    assert (scores.dtype, tokens.dtype) == (torch.float32, torch.int64)
    assert scores.shape == tokens.shape == ids.shape


def test_the_reference_runs_on_the_device_of_the_configuration_without_tf32(
    lm_spec: WorkloadSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tunefront.evaluators.interfaces import torch_tensors

    calls: list[object] = []
    monkeypatch.setattr(reference_task, "use_own_cores", lambda: None)
    monkeypatch.setattr(torch_tensors, "switch_tf32", lambda *given: calls.append(given))

    def reference(self: TensorWorkload, *device: str) -> None:
        calls.append(device)

    monkeypatch.setattr(TensorWorkload, "reference", reference)
    for configuration in (CATALOG.complete({}), ON_GPU):
        write_reference(
            ReferenceRequest(workload=lm_spec, configuration=configuration, folder=tmp_path)
        )
    assert calls == [(), ("fp32", "cuda"), ("cuda",)]
