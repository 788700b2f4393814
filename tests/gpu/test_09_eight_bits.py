"""8 bits on a GPU: they run with kernels for them, or are refused with the reason."""

import importlib.util

import pytest

from tunefront.evaluators import WorkloadSpec, profile_candidate
from tunefront.spaces import EvaluationError

from .harness import Bench, CheckFigures, values_of

PRODUCTS = {"dynamic": ("int_mm", "int8"), "fp8": ("scaled_mm",)}
"""Parts of the names of products by method, where activations are quantized, too."""
REFUSED = {"unsupported", "not applied"}


@pytest.mark.parametrize(
    ("model", "method"),
    [
        pytest.param("classifier", "dynamic", marks=pytest.mark.takes(11)),
        pytest.param("gpt2", "dynamic", marks=pytest.mark.takes(11)),
        pytest.param("encoder", "fp8", marks=pytest.mark.takes(8)),
        pytest.param("encoder", "rtn", marks=pytest.mark.takes(8)),
    ],
)
def test_8_bits_run_or_are_refused_with_the_reason(
    model: str,
    method: str,
    bench: Bench,
    workloads: dict[str, WorkloadSpec],
    figures: CheckFigures,
) -> None:
    """Two classes, a vocabulary that is no multiple of 8, and a single item."""
    if importlib.util.find_spec("torchao") is None:
        pytest.skip("torchao is not installed")
    chosen = bench.mode.configuration(
        precision="bf16", quantization_bits=8, quantization_method=method, batch_size=1
    )
    settings = bench.settings(workloads[model])
    found = bench.evaluate(settings, chosen)
    figures(**values_of(found))
    if found.status == "failed":
        assert found.cause in REFUSED and found.message, (found.cause, found.log)
        return
    assert found.facts["quantization_method"] == method
    if method in PRODUCTS and bench.mode.on_gpu:
        trace = bench.log.with_name(f"{model}-{method}.json")
        try:
            profile = profile_candidate(settings, chosen, bench.isolation, bench.log, trace)
        except EvaluationError as error:
            figures(profile=str(error))
            raise
        operators = sorted({row.operator for row in profile.rows})
        figures(operators=operators)
        assert any(part in one for part in PRODUCTS[method] for one in operators)
