"""Outputs of a language model do not cost more than the model: the share of copies to the host."""

import pytest

from tunefront.evaluators import WorkloadSpec
from tunefront.evaluators.isolation.codec import to_plain

from .harness import Bench, CheckFigures, body, values_of

MOST_SHARE = 0.05


@pytest.mark.takes(12)
def test_a_request_is_not_the_copy_of_its_outputs(
    bench: Bench, workloads: dict[str, WorkloadSpec], figures: CheckFigures
) -> None:
    mode, spec = bench.mode, workloads["gpt2"]
    batch = mode.size(32, 2)
    chosen = mode.configuration(precision="bf16", batch_size=batch)
    settings = bench.settings(spec)
    found = bench.evaluate(settings, chosen)
    figures(**values_of(found))
    assert found.status == "ok", (found.message, found.log)
    shares = body(
        "copy_share",
        folder=str(bench.candidate(settings, chosen)),
        spec=to_plain(spec),
        batch_size=batch,
        device=mode.device,
    )
    figures(**shares)
    if mode.on_gpu:
        assert shares["copied_ms"] / shares["wall_ms"] < MOST_SHARE
        assert found.facts["copy_share"] < MOST_SHARE
