"""AOTInductor builds for the GPU, and its package runs at other sizes in another process."""

import pytest

from tunefront.evaluators import WorkloadSpec
from tunefront.evaluators.isolation.codec import to_plain

from .harness import Bench, CheckFigures, body, values_of

SIZES = (1, 3, 17, 64)
MOST_APART = {"fp32": 1e-3, "tf32": 1e-2, "bf16": 6e-2, "fp16": 2e-2}
"""Two roundings of one model, each of the size of `test_03_evaluate.MOST_ERROR`."""


@pytest.mark.parametrize(
    ("model", "precision"),
    [
        pytest.param("encoder", "bf16", marks=pytest.mark.takes(42)),
        pytest.param("decoder", "tf32", marks=pytest.mark.takes(38)),
    ],
)
def test_a_package_is_close_to_eager(
    model: str,
    precision: str,
    bench: Bench,
    workloads: dict[str, WorkloadSpec],
    figures: CheckFigures,
) -> None:
    mode, spec = bench.mode, workloads[model]
    settings = bench.settings(spec)
    folders: dict[str, str] = {}
    for runtime in ("inductor", "torch"):
        chosen = mode.configuration(runtime=runtime, precision=precision, batch_size=4)
        found = bench.evaluate(settings, chosen)
        figures(**{runtime: values_of(found)})
        assert found.status == "ok", (found.message, found.log)
        folders[runtime] = str(bench.candidate(settings, chosen))
    sizes = SIZES if mode.on_gpu else SIZES[:3]
    apart = body(
        "outputs_apart",
        one=folders["inductor"],
        other=folders["torch"],
        spec=to_plain(spec),
        sizes=sizes,
    )
    figures(**apart)
    wanted = mode.configuration(precision=precision).text("precision")
    assert max(apart["apart"].values()) < MOST_APART[wanted], apart
