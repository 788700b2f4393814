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


@pytest.mark.parametrize(
    "precision",
    [
        pytest.param("bf16", marks=pytest.mark.takes(25)),
        pytest.param("fp32", marks=pytest.mark.takes(15)),
    ],
)
def test_text_is_generated_and_compared_with_the_reference(
    precision: str, bench: Bench, workloads: dict[str, WorkloadSpec], figures: CheckFigures
) -> None:
    mode, spec = bench.mode, workloads["generator"]
    common = partial(mode.configuration, runtime="transformers", max_batch=CONCURRENCY)
    baseline, chosen = common(precision="fp32"), common(precision=precision)
    settings = bench.settings(spec, baseline)
    found = bench.evaluate(settings, chosen)
    figures(**values_of(found))
    assert found.status == "ok", (found.message, found.log)
    wanted = chosen.text("precision")
    facts, values = found.facts, found.measurements
    assert (facts["precision"], facts["device"]) == (wanted, mode.device)
    assert facts["max_batch"] == CONCURRENCY
    assert {"ttft_ms", "tpot_ms", "output_tokens_per_second", "perplexity"} <= values.keys()
    assert values["kl_divergence"].value < MOST_DIVERGENCE[wanted]
    if wanted == "fp32":
        folder = str(bench.candidate(settings, chosen))
        alike = body(
            "tokens_like_generate",
            folder=folder,
            spec=to_plain(spec),
            requests=CONCURRENCY,
            tokens=NEW_TOKENS,
        )
        figures(alike=alike)
        assert alike["first"] == alike["requests"]
