"""`evaluate` with torch eager: each kind of model, each precision, the baseline in the same turns.

The most valuable cases are the first. Errors are those of the outputs against the module in fp64;
those of fp32 are the baseline's.
"""

import pytest

from tunefront.evaluators import WorkloadSpec
from tunefront.evaluators.interfaces.endpoint import GPUS
from tunefront.evaluators.isolation.codec import to_plain

from .harness import Bench, CheckFigures, body, values_of

MOST_ERROR = {"fp32": 1e-5, "tf32": 5e-3, "bf16": 2e-2, "fp16": 3e-3}
BATCH = 4
BY_GRAPHS = "classifier"
"""The model whose candidate runs by CUDA graphs."""


@pytest.mark.parametrize(
    ("model", "precision"),
    [
        pytest.param("decoder", "bf16", marks=pytest.mark.takes(26)),
        pytest.param("encoder", "fp16", marks=pytest.mark.takes(12)),
        pytest.param("classifier", "bf16", marks=pytest.mark.takes(12)),
        pytest.param("vit", "tf32", marks=pytest.mark.takes(10)),
    ],
)
def test_a_candidate_is_built_and_measured_with_its_baseline(
    model: str,
    precision: str,
    bench: Bench,
    workloads: dict[str, WorkloadSpec],
    figures: CheckFigures,
) -> None:
    if model not in workloads:
        pytest.skip(f"the model {model} needs pillow")
    mode, spec = bench.mode, workloads[model]
    baseline = mode.configuration(precision="fp32", batch_size=1)
    graphs = mode.on_gpu and model == BY_GRAPHS
    chosen = mode.configuration(precision=precision, batch_size=BATCH, cuda_graphs=graphs)
    settings = bench.settings(spec, baseline)
    found = bench.evaluate(settings, chosen)
    figures(**values_of(found))
    assert found.status == "ok", (found.message, found.log)
    assert found.relative is not None
    assert found.facts["precision"] == chosen.text("precision")
    assert found.facts["device"] == mode.device
    assert found.facts["cuda_graphs"] is graphs
    if mode.on_gpu:
        assert found.facts[GPUS] == mode.uuid
    for one in (chosen, *([baseline] if model == "decoder" else [])):
        wanted, folder = one.text("precision"), str(bench.candidate(settings, one))
        outputs = body("error_against_fp64", folder=folder, spec=to_plain(spec), batch_size=BATCH)
        figures(**{f"outputs_{wanted}": outputs})
        assert outputs["facts"]["precision"] == wanted
        assert outputs["error"] < MOST_ERROR[wanted]
        if mode.on_gpu:
            assert outputs["tf32"] == [wanted == "tf32"] * 2
