"""The user's own quality function of a workload that generates text."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import WORDS

from tunefront.evaluators import WorkloadSpec
from tunefront.evaluators.pipelines.tasks.describe import DescribeRequest, describe
from tunefront.evaluators.workloads.text_generation.workload import TextGeneration
from tunefront.spaces import Configuration, EvaluationError, WorkloadError

MODULE = "judged_responses"
FUNCTIONS = f"""
from pathlib import Path

PROMPTS = [{WORDS[1]!r}, [{{"role": "user", "content": {WORDS[2]!r}}}], {WORDS[3]!r}]


def lengths(generate):
    return [float(len(text.split())) for text in generate(PROMPTS, max_tokens=3)]


def one(generate):
    return sum(len(text) for text in generate(PROMPTS))


def configured(generate, configuration):
    return [float(configuration.get("threads", 0)) for _ in generate(PROMPTS)]


def wishes(generate):
    text = (Path(__file__).parent / "wishes.txt").read_text()
    return [float(text in response) for response in generate(PROMPTS)]


def fragile(generate):
    return [float(text.split()[0] == "the") for text in generate(PROMPTS)]


def texts(generate):
    return generate(PROMPTS)


def single(generate):
    return float(len(generate(PROMPTS[0])))


def long(generate):
    return [0.0 for _ in generate([" ".join(["code"] * 63)])]
"""


@pytest.fixture
def folder(chat_folder: Path, tmp_path: Path) -> Iterator[Path]:
    """A folder with the model, the data and the functions."""
    for path in chat_folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / f"{MODULE}.py").write_text(FUNCTIONS)
    (tmp_path / "wishes.txt").write_text("model")
    known = list(sys.path)
    yield tmp_path
    sys.path[:] = known
    sys.modules.pop(MODULE, None)


def spec_of(chat_spec: WorkloadSpec, folder: Path, function: str) -> WorkloadSpec:
    return replace(
        chat_spec,
        folder=str(folder),
        quality=f"{MODULE}:{function}",
        metric="wanted_length",
        direction="minimize",
    )


def fingerprint(spec: WorkloadSpec) -> str:
    return describe(DescribeRequest(workload=spec, configuration=Configuration({}))).fingerprint


def test_its_metric_is_the_primary_one(chat_spec: WorkloadSpec, folder: Path) -> None:
    workload = TextGeneration(spec_of(chat_spec, folder, "lengths"))
    found = workload.quality(workload.reference(), None)
    assert next(iter(found.metrics)) == workload.primary.name == "wanted_length"
    assert workload.primary.direction == "minimize"
    assert {metric.name for metric in workload.metrics} == set(found.metrics)
    assert found.items.shape == (3,)
    assert (found.items <= 3).all(), "max_tokens"
    assert found.metrics["wanted_length"].value == pytest.approx(found.items.mean())
    plain = TextGeneration(replace(chat_spec, folder=str(folder)))
    expected = plain.quality(plain.reference(), None)
    for name, metric in expected.metrics.items():
        assert found.metrics[name].value == pytest.approx(metric.value), name
    assert workload.samples(workload.reference(), found) == plain.samples(
        plain.reference(), expected
    )


def test_it_may_return_one_number(chat_spec: WorkloadSpec, folder: Path) -> None:
    workload = TextGeneration(spec_of(chat_spec, folder, "one"))
    found = workload.quality(workload.reference(), None, lambda items, weights: True)
    assert found.items.shape == (1,)
    assert found.metrics["wanted_length"].value == found.items[0]


def test_it_receives_the_configuration(chat_spec: WorkloadSpec, folder: Path) -> None:
    workload = TextGeneration(spec_of(chat_spec, folder, "configured"))
    workload.configure(Configuration({"threads": 2}))
    np.testing.assert_array_equal(workload.quality(workload.reference(), None).items, [2, 2, 2])


def test_its_files_are_part_of_the_fingerprint(chat_spec: WorkloadSpec, folder: Path) -> None:
    spec = spec_of(chat_spec, folder, "wishes")
    before = fingerprint(spec)
    assert fingerprint(spec) == before
    (folder / "wishes.txt").write_text("code")
    assert fingerprint(spec) != before


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("fragile", r"fails on empty responses, which any candidate can return: IndexError: .*"),
        ("single", r"must call generate with a list of prompts, but it was called with 'model'"),
        ("long", r"prompt 1: the prompt has 63 tokens and 8 are generated, but the model's .*"),
        ("missing", r"workload: judged_responses:missing is not a function of that module"),
    ],
)
def test_an_unusable_function_is_refused_before_the_search(
    chat_spec: WorkloadSpec, folder: Path, function: str, message: str
) -> None:
    workload = TextGeneration(spec_of(chat_spec, folder, function))
    with pytest.raises(WorkloadError, match=message):
        workload.check_quality()


def test_results_that_are_no_numbers_are_refused(chat_spec: WorkloadSpec, folder: Path) -> None:
    workload = TextGeneration(spec_of(chat_spec, folder, "texts"))
    with pytest.raises(EvaluationError, match="must return a number or numbers, but returned list"):
        workload.check_quality()


def test_a_metric_of_the_task_is_no_name_for_it(chat_spec: WorkloadSpec, folder: Path) -> None:
    spec = replace(spec_of(chat_spec, folder, "lengths"), metric="perplexity")
    message = "metric: perplexity is a metric of task text-generation; name what judged_responses:"
    with pytest.raises(WorkloadError, match=message):
        assert TextGeneration(spec).metrics


def test_a_task_that_evaluates_itself_has_no_function(lm_spec: WorkloadSpec) -> None:
    message = "quality: task causal-lm evaluates itself and has no use for a function; remove"
    with pytest.raises(WorkloadError, match=message):
        replace(lm_spec, quality="my_eval:score")
