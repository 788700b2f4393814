"""Text generation with transformers: a model of random weights of the size of SmolLM2-135M.

Requests join and leave a running batch. Their first tokens in fp32 are those of `generate` on the
same device; how many of all tokens agree is a figure, since one near tie changes all that follow.
"""

from functools import partial

import pytest

from tunefront.evaluators import WorkloadSpec
from tunefront.evaluators.isolation.codec import to_plain

from .harness import Bench, CheckFigures, body, values_of
from .workloads import CONCURRENCY, NEW_TOKENS

MOST_DIVERGENCE = {"fp32": 1e-3, "bf16": 0.05}
"""Nats a token, from the unchanged model in fp32 on the CPU."""


@pytest.mark.takes(25)
def test_text_is_generated_and_compared_with_the_reference(
    bench: Bench, workloads: dict[str, WorkloadSpec], figures: CheckFigures
) -> None:
    """The baseline in fp32, whose tokens are compared, is measured in the same turns."""
    mode, spec = bench.mode, workloads["generator"]
    common = partial(mode.configuration, runtime="transformers", max_batch=CONCURRENCY)
    baseline, chosen = common(precision="fp32"), common(precision="bf16")
    settings = bench.settings(spec, baseline)
    found = bench.evaluate(settings, chosen)
    figures(**values_of(found))
    assert found.status == "ok", (found.message, found.log)
    facts, values = found.facts, found.measurements
    wanted = chosen.text("precision")
    assert (facts["precision"], facts["device"]) == (wanted, mode.device)
    assert facts["max_batch"] == CONCURRENCY
    assert {"ttft_ms", "tpot_ms", "output_tokens_per_second", "perplexity"} <= values.keys()
    assert values["kl_divergence"].value < MOST_DIVERGENCE[wanted]
    alike = body(
        "tokens_like_generate",
        folder=str(bench.candidate(settings, baseline)),
        spec=to_plain(spec),
        requests=CONCURRENCY,
        tokens=NEW_TOKENS,
    )
    figures(alike=alike)
    assert alike["first"] == alike["requests"]
