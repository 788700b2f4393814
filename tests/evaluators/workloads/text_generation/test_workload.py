"""The task `text-generation` over a tiny model: requests, quality, samples."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import QUESTIONS

from tunefront.evaluators import WorkloadSpec
from tunefront.evaluators.interfaces.generation import GenerationEndpoint, LoadSpec
from tunefront.evaluators.interfaces.load import Load
from tunefront.evaluators.testing.generation import GENERATION_WORKLOAD_CHECKS
from tunefront.evaluators.workloads.base import GenerationWorkload
from tunefront.evaluators.workloads.quality import Quality
from tunefront.evaluators.workloads.text_generation.workload import NO_TOKENS, TextGeneration

END = 2


@pytest.fixture(scope="module")
def workload(chat_spec: WorkloadSpec) -> TextGeneration:
    return TextGeneration(chat_spec)


@pytest.fixture(scope="module")
def reference(workload: TextGeneration) -> GenerationEndpoint:
    return workload.reference()


@pytest.fixture(scope="module")
def quality(workload: TextGeneration, reference: GenerationEndpoint) -> Quality:
    return workload.quality(reference, None)


@pytest.fixture(scope="module")
def noisy(workload: TextGeneration) -> GenerationEndpoint:
    """The model with changed weights."""
    import torch

    from tunefront.evaluators.interfaces.torch_generation import TorchGeneration
    from tunefront.evaluators.workloads.sources.hub import load_auto

    model = load_auto(workload.spec, "AutoModelForCausalLM")
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return TorchGeneration(model, max_batch=1)


@pytest.mark.parametrize("check", GENERATION_WORKLOAD_CHECKS)
def test_it_keeps_the_contract(
    workload: TextGeneration, check: Callable[[GenerationWorkload], None]
) -> None:
    check(workload)


def test_requests_have_the_lengths_of_the_load(chat_spec: WorkloadSpec) -> None:
    load = LoadSpec(rate=(2.0,), input_tokens=20, output_tokens=5)
    workload = TextGeneration(replace(chat_spec, load=load))
    made = workload.requests(1, 30)
    assert {(len(one.prompt), one.new_tokens, one.stop) for one in made} == {(20, 5, ())}
    assert len({one.prompt for one in made}) == len(QUESTIONS)
    assert workload.loads() == (Load(rate_per_s=2.0),)
    assert "cut or continued to 20" in workload.notes()[0]


def test_requests_of_the_data_have_its_lengths(workload: TextGeneration) -> None:
    made = workload.requests(1, len(QUESTIONS))
    assert sorted(len(one.prompt) for one in made) == sorted(len(q.split()) for q in QUESTIONS)
    assert workload.loads() == (Load(concurrency=2),)
    assert workload.metrics_left_out() == {}
    (note,) = workload.notes()
    assert note == "prompts have 3 to 6 tokens; the model's context holds 64"


def test_the_reference_agrees_with_itself(quality: Quality) -> None:
    values = {name: metric.value for name, metric in quality.metrics.items()}
    assert values["kl_divergence"] == 0.0 and values["token_agreement"] == 1.0
    assert 0.0 <= values["exact_match"] <= 1.0
    assert np.exp((quality.items * quality.weights).sum() / quality.weights.sum()) == pytest.approx(
        values["perplexity"]
    )


def test_the_perplexity_is_that_of_the_answers_in_one_forward_pass(
    workload: TextGeneration, quality: Quality
) -> None:
    """A model that answers wrongly can still repeat the words of a chat template well."""
    import torch

    from tunefront.evaluators.workloads.sources.hub import load_auto
    from tunefront.evaluators.workloads.text_generation.prompts import read_prompts

    model = load_auto(workload.spec, "AutoModelForCausalLM")
    prompt = read_prompts(workload.spec, 8)[0]
    ids = torch.tensor([prompt.scored])
    labels = ids.clone()
    labels[:, : len(prompt.tokens)] = -100
    with torch.no_grad():
        loss = float(model(input_ids=ids, labels=labels).loss)
    assert quality.items[0] == pytest.approx(loss, rel=1e-5)
    assert quality.weights[0] == len(prompt.scored) - len(prompt.tokens)


def test_responses_end_at_the_end_token(quality: Quality) -> None:
    tokens, lengths = quality.predictions["tokens"], quality.predictions["lengths"]
    assert lengths.max() <= 8 and lengths.min() >= 1
    inner = np.ones(len(tokens), dtype=bool)
    inner[np.cumsum(lengths) - 1] = False
    assert END not in tokens[inner]


def test_another_model_is_compared_with_the_reference(
    workload: TextGeneration, quality: Quality, noisy: GenerationEndpoint
) -> None:
    found = workload.quality(noisy, quality.predictions)
    values = {name: metric.value for name, metric in found.metrics.items()}
    assert values["kl_divergence"] > 1e-3
    assert values["token_agreement"] < 1.0
    assert "top_tokens" not in found.predictions
    texts = workload.samples(noisy, found)
    assert [one.expected for one in texts] == [
        one.expected for one in workload.samples(noisy, quality)
    ]


def test_a_part_of_the_items_is_enough(
    chat_spec: WorkloadSpec, reference: GenerationEndpoint, tmp_path: Path
) -> None:
    rows = (Path(chat_spec.folder) / "prompts.jsonl").read_text()
    (tmp_path / "many.jsonl").write_text(rows * 6)
    workload = TextGeneration(
        replace(chat_spec, data=str(tmp_path / "many.jsonl"), load=LoadSpec(output_tokens=2))
    )
    whole = workload.quality(reference, None)
    part = workload.quality(reference, whole.predictions, lambda items, weights: True)
    assert 0 < (part.weights > 0).sum() < (whole.weights > 0).sum() == 72
    assert part.metrics["kl_divergence"].value == 0.0
    assert len(workload.samples(reference, part)) == 12


def test_samples_have_prompt_response_and_answer(
    workload: TextGeneration, reference: GenerationEndpoint, quality: Quality
) -> None:
    samples = workload.samples(reference, quality)
    assert [one.item for one in samples] == list(range(12))
    assert samples[0].input == QUESTIONS[0] and samples[0].expected == "the"
    assert all(one.right is not None and one.output for one in samples)


def test_without_answers_the_reference_is_what_is_expected(
    chat_spec: WorkloadSpec, reference: GenerationEndpoint, tmp_path: Path
) -> None:
    (tmp_path / "plain.txt").write_text("\n\n".join(QUESTIONS[:4]))
    spec = replace(chat_spec, data=str(tmp_path / "plain.txt"), columns={"prompt": "text"})
    workload = TextGeneration(spec)
    assert [m.name for m in workload.metrics] == ["perplexity", "kl_divergence", "token_agreement"]
    reason = "the data has no column 'answer' to compare responses with"
    assert workload.metrics_left_out() == {"exact_match": reason}
    found = workload.quality(reference, None)
    assert "exact_match" not in found.metrics
    for one in workload.samples(reference, found):
        assert one.expected in (one.output, "" if one.output == NO_TOKENS else one.output)
        assert one.right is None and (one.score, one.score_name) == (1.0, "token_agreement")


def test_the_tokenizer_is_saved_for_exports(workload: TextGeneration, tmp_path: Path) -> None:
    workload.save_processor(tmp_path)
    assert (tmp_path / "tokenizer.json").is_file()
    assert (tmp_path / "chat_template.jinja").is_file()
