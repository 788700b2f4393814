"""GPU memory is that of the processes, for every runtime: 1 GiB of weights is found in each."""

from pathlib import Path

import pytest

from tunefront.evaluators.interfaces.endpoint import GPUS

from .harness import Bench, CheckFigures, values_of
from .workloads import custom_spec

WEIGHTS_MB = 1024
MOST_CONTEXT_MB = 900
"""A CUDA context, its libraries and the workspaces of products; recorded, not known before."""


@pytest.mark.parametrize(
    ("runtime", "replicas"),
    [
        pytest.param("torch", 1, marks=pytest.mark.takes(12)),
        pytest.param("inductor", 1, marks=pytest.mark.takes(15)),
        pytest.param("torch", 2, marks=[pytest.mark.takes(8), pytest.mark.gpus(2)]),
    ],
)
def test_the_weights_are_found(
    runtime: str, replicas: int, bench: Bench, custom_folder: Path, figures: CheckFigures
) -> None:
    """Each replica has the weights on a GPU of its own."""
    mode = bench.mode
    spec = custom_spec(custom_folder, "weights", "for_weights")
    chosen = mode.configuration(runtime=runtime, precision="fp32", batch_size=8, replicas=replicas)
    found = bench.evaluate(bench.settings(spec), chosen)
    figures(**values_of(found))
    assert found.status == "ok", (found.message, found.log)
    assert found.measurements["peak_memory_mb"].value > 0
    if mode.on_gpu:
        used = found.measurements["gpu_memory_mb"].value / replicas
        figures(beyond_the_weights_mb=used - WEIGHTS_MB)
        assert WEIGHTS_MB <= used <= 1.05 * WEIGHTS_MB + MOST_CONTEXT_MB
        assert len(set(str(found.facts[GPUS]).split(","))) == replicas
