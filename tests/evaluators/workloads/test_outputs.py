"""What every workload promises of the few items whose answers are shown to people."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tunefront.evaluators import WorkloadSpec, build_workload
from tunefront.evaluators.interfaces.tensors import Inputs
from tunefront.evaluators.pipelines.workload import AnyWorkload
from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.workloads.base import Run
from tunefront.evaluators.workloads.causal_lm import CONTINUED, NO_WORD
from tunefront.evaluators.workloads.outputs import (
    LONGEST_TEXT,
    NOT_FINITE,
    Sample,
    read_samples,
    shortened,
    write_samples,
)
from tunefront.evaluators.workloads.quality import Quality
from tunefront.evaluators.workloads.sequential import LEAST_ITEMS, SAMPLED, portions, sampled
from tunefront.spaces import WorkloadError

from .conftest import Case, constant_run


def evaluated_places(case: Case) -> Quality:
    return case.workload.quality(case.run, None)


def test_answers_are_in_words_and_of_fixed_number(case: Case) -> None:
    samples = case.workload.samples(case.run, evaluated_places(case))
    if case.workload.task == "custom":  # the user's functions say nothing in words
        assert samples == ()
        return
    assert [sample.item for sample in samples] == sampled(case.items).tolist()
    assert len(samples) == min(SAMPLED, case.items)
    for sample in samples:
        assert sample.input
        assert sample.output
        assert sample.expected
        texts = (sample.input, sample.output, sample.expected)
        assert max(map(len, texts)) <= LONGEST_TEXT
        assert (sample.score is None) is (sample.score_name == "")
        assert sample.score is None or -1.001 <= sample.score <= 1.001


def test_all_candidates_are_asked_the_same(case: Case, spec: WorkloadSpec) -> None:
    """Also one that is broken, in a process that knows nothing of the first."""
    own = case.workload.samples(case.run, evaluated_places(case))
    again = build_workload(spec)

    def one_bit(inputs: Inputs) -> list[Array]:
        return [-np.sign(case.run(inputs)[0])]

    other = again.samples(one_bit, again.quality(one_bit, None))
    asked = [(sample.item, sample.input, sample.expected) for sample in own]
    assert asked == [(sample.item, sample.input, sample.expected) for sample in other]
    outputs = [(a.output, b.output) for a, b in zip(own, other, strict=True)]
    assert not outputs or any(first != second for first, second in outputs)


def test_answers_are_the_same_at_every_call(case: Case, spec: WorkloadSpec) -> None:
    first = case.workload.samples(case.run, evaluated_places(case))
    again = build_workload(spec)
    assert list(first) == list(again.samples(case.run, again.quality(case.run, None)))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_outputs_that_are_not_finite_are_told_as_that(case: Case, value: float) -> None:
    quality = evaluated_places(case)
    broken = {n: a * value if a.dtype.kind == "f" else a for n, a in quality.predictions.items()}
    run = constant_run(case, value)
    with np.errstate(invalid="ignore"):
        samples = case.workload.samples(run, replace(quality, predictions=broken))
    assert {sample.output for sample in samples} <= {NOT_FINITE}
    assert {sample.right for sample in samples} <= {None, False}
    assert {sample.score for sample in samples} <= {None}


def test_right_answers_are_those_that_quality_counts(case: Case) -> None:
    quality = evaluated_places(case)
    for sample in case.workload.samples(case.run, quality):
        if sample.right is not None:
            assert sample.right == (sample.output == sample.expected)
            assert sample.right == (quality.items[sample.item] == 1.0)


SAMPLES = """
def samples(run):
    outputs = run(data())[0]
    rows = [{"input": f"row {i}", "output": f"{o[0]:.3f}", "right": True} for i, o in
            enumerate(outputs)]
    return rows * 2

def texts(run):
    return "text"

def numbers(run):
    return [{"input": "row 0", "output": 1.0}]
"""


@pytest.fixture
def talking(custom_spec: WorkloadSpec, custom_folder: Path, tmp_path: Path) -> WorkloadSpec:
    """The user's module with functions that say what a candidate answers."""
    source = (custom_folder / "own_network.py").read_text()
    (tmp_path / "talking_network.py").write_text(source + SAMPLES)
    return replace(
        custom_spec,
        model="talking_network:model",
        samples="talking_network:samples",
        folder=str(tmp_path),
    )


def module_run(workload: AnyWorkload) -> Run:
    import torch

    module = workload.load_module()

    def run(inputs: Inputs) -> list[Array]:
        with torch.inference_mode():
            return [module(**{n: torch.from_numpy(a) for n, a in inputs.items()}).numpy()]

    return run


def test_a_custom_workload_may_say_what_it_answers(
    talking: WorkloadSpec, custom_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(custom_folder))
    workload = build_workload(talking)
    run = module_run(workload)
    samples = workload.samples(run, workload.quality(run, None))
    assert len(samples) == SAMPLED, "no more, whatever it returns"
    assert samples[0].input == "row 0"
    assert samples[0].right is True
    assert float(samples[0].output)
    assert Path(talking.folder, "talking_network.py") in workload.files()


@pytest.mark.parametrize(
    ("function", "told"),
    [
        ("texts", "samples: talking_network:texts must return a list, not str"),
        ("numbers", "must return dicts of texts named input and output .* but got {'input'"),
    ],
)
def test_samples_of_another_form_are_refused(
    talking: WorkloadSpec,
    custom_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    function: str,
    told: str,
) -> None:
    monkeypatch.syspath_prepend(str(custom_folder))
    workload = build_workload(replace(talking, samples=f"talking_network:{function}"))
    run = module_run(workload)
    with pytest.raises(WorkloadError, match=told):
        workload.samples(run, workload.quality(run, None))


def test_a_language_model_goes_on_as_it_does_token_by_token(lm_spec: WorkloadSpec) -> None:
    """The continuation, made in one shape, is what asking for one token at a time gives."""
    from transformers import AutoTokenizer

    workload = build_workload(lm_spec)
    run = module_run(workload)
    tokenizer = AutoTokenizer.from_pretrained(Path(lm_spec.folder, lm_spec.model))
    rows = Path(lm_spec.folder, str(lm_spec.data)).read_text().splitlines()
    sample = workload.samples(run, workload.quality(run, None))[0]
    text = json.loads(rows[sample.item])["text"]
    assert text.startswith(sample.input)
    assert text.removeprefix(sample.input).strip().startswith(sample.expected)
    longest = max(len(tokenizer(json.loads(row)["text"])["input_ids"]) for row in rows)
    ids = tokenizer(sample.input)["input_ids"]
    prompt = len(ids)
    for _ in range(min(CONTINUED, longest // 2)):
        one = {"input_ids": np.array([ids]), "attention_mask": np.ones((1, len(ids)), np.int64)}
        ids = [*ids, int(run(one)[0][0, -1].argmax())]
    assert (tokenizer.decode(ids[prompt:]) or NO_WORD) == sample.output


def test_samples_are_of_what_every_candidate_is_judged_on() -> None:
    """Whatever the first look decides: its portion holds them."""
    assert SAMPLED <= LEAST_ITEMS
    for count in (1, 11, 12, 40, 256, 512, 10_000):
        places = sampled(count).tolist()
        assert len(places) == min(SAMPLED, count)
        assert set(places) <= set(portions(count)[0].tolist())


def test_long_texts_are_cut_and_letters_that_steer_a_terminal_are_not_kept() -> None:
    text = "a" * 100 + "b" * 100
    assert shortened(text) == "a" * 100 + "b" * 57 + "..."
    assert shortened(text, end=True) == "..." + "a" * 57 + "b" * 100
    assert len(shortened(text)) == len(shortened(text, end=True)) == LONGEST_TEXT
    assert shortened("one\n\x1b[31mred\x07") == "one\n\ufffd[31mred\ufffd"


def test_samples_go_to_disk_and_back(tmp_path: Path) -> None:
    samples = (
        Sample(item=3, input="in\n", output="out ✓", right=True, score=0.5, score_name="cosine"),
        Sample(item=5, input="a", output=NOT_FINITE),
    )
    write_samples(samples, tmp_path)
    assert read_samples(tmp_path) == samples
