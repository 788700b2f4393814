"""Quality of what a server generates: agreement of tokens or texts with the reference."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from tunefront.evaluators import WorkloadSpec
from tunefront.evaluators.interfaces.generation import (
    LoadSpec,
    Message,
    PromptForm,
    ServerApi,
    ServerSpec,
)
from tunefront.evaluators.workloads.quality import Quality
from tunefront.evaluators.workloads.text_generation.workload import TextGeneration

from .conftest import ServerCase


@pytest.fixture(scope="module")
def reference_of(chat_spec: WorkloadSpec) -> Callable[[ServerApi], Quality]:
    """The quality of the unchanged model, which is the same however prompts are sent."""

    @cache
    def found(api: ServerApi) -> Quality:
        server = ServerSpec(command="engine {port}", api=api)
        workload = TextGeneration(replace(chat_spec, server=server))
        with closing(workload.reference()) as unchanged:
            return workload.quality(unchanged, None)

    return found


@pytest.mark.parametrize(
    ("flags", "api", "prompts", "kv"),
    [
        ("--token-ids", "completions", "tokens", "auto"),
        ("--token-ids", "completions", "tokens", "fp8"),
        ("--texts-only", "completions", "text", "auto"),
        ("--no-usage", "completions", "tokens", "auto"),
        ("", "chat", "tokens", "auto"),
    ],
)
def test_an_exact_server_agrees_and_a_rounded_cache_is_seen(
    server_case: ServerCase,
    chat_spec: WorkloadSpec,
    reference_of: Callable[[ServerApi], Quality],
    flags: str,
    api: ServerApi,
    prompts: PromptForm,
    kv: str,
) -> None:
    case = server_case(flags, {"api": api, "prompts": prompts}, kv=kv)
    workload = TextGeneration(replace(chat_spec, server=case.source.server))
    assert [metric.name for metric in workload.metrics] == ["token_agreement", "exact_match"]
    reference = reference_of(api)
    assert reference.metrics["token_agreement"].value == 1.0
    with closing(case.open()) as endpoint:
        found = workload.quality(endpoint, reference.predictions)
        samples = workload.samples(endpoint, found)
    agreement = found.metrics["token_agreement"].value
    assert agreement == pytest.approx(np.average(found.items, weights=found.weights))
    assert (agreement == 1.0) == (kv == "auto")
    assert samples[0].output and samples[0].expected
    assert found.metrics.keys() == {"token_agreement", "exact_match"}


def test_a_server_with_a_chat_interface_gets_messages(
    server_case: ServerCase, chat_spec: WorkloadSpec
) -> None:
    case = server_case("", {"api": "chat"})
    load = LoadSpec(input_tokens=9, output_tokens=3)
    workload = TextGeneration(replace(chat_spec, server=case.source.server, load=load))
    prompt = workload._prompts[0]
    assert prompt.messages == (Message(role="user", content=prompt.text),)
    assert len(prompt.tokens) == len(prompt.text.split()) + 3  # of the template
    assert len(prompt.timed) == len(prompt.text.split())
    assert {len(one.prompt) for one in workload.requests(1, 4)} == {9}


def test_what_a_server_can_not_measure_has_a_reason(
    server_case: ServerCase, chat_spec: WorkloadSpec
) -> None:
    workload = TextGeneration(replace(chat_spec, server=server_case().source.server))
    assert workload.metrics_left_out() == {
        name: "a server returns no scores of given tokens"
        for name in ("perplexity", "kl_divergence")
    }
