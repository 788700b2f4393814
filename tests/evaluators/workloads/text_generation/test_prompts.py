"""Prompts of a data file: chat templates, lengths, and every row that is refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tunefront.evaluators import WorkloadSpec, build_workload
from tunefront.evaluators.interfaces.generation import LoadSpec
from tunefront.evaluators.workloads.text_generation.prompts import (
    cut_or_continued,
    has_answers,
    read_prompts,
    with_answer,
)
from tunefront.spaces import WorkloadError

Rows = list[dict[str, Any]]
SpecOf = Callable[..., WorkloadSpec]
CHAT = [{"role": "user", "content": "the model"}]


@pytest.fixture
def spec_of(chat_spec: WorkloadSpec, tmp_path: Path) -> SpecOf:
    """Returns the workload with other rows, and other settings."""

    def make(rows: Rows, **changes: Any) -> WorkloadSpec:
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return replace(chat_spec, data=str(path), **changes)

    return make


def test_a_text_is_read_as_it_is(spec_of: SpecOf) -> None:
    one, other = read_prompts(spec_of([{"prompt": "the model"}, {"prompt": "a line of"}]), 4)
    assert (len(one.tokens), len(other.tokens)) == (2, 3)
    assert one.scored == one.tokens and one.answer is None and one.text == "the model"
    assert one.first == 1


def test_an_answer_is_scored_after_the_prompt(spec_of: SpecOf) -> None:
    rows = [{"prompt": "the model", "answer": "reads a line"}] * 2
    prompt = read_prompts(spec_of(rows), 4)[0]
    assert prompt.scored[: len(prompt.tokens)] == prompt.tokens
    assert len(prompt.scored) == 5 and prompt.answer == "reads a line"
    assert prompt.first == 2


def test_messages_get_the_chat_template(spec_of: SpecOf) -> None:
    rows = [{"prompt": CHAT, "answer": "reads"}] * 2
    prompt = read_prompts(spec_of(rows), 4)[0]
    user, assistant = 3, 4
    assert prompt.tokens[0] == user and prompt.tokens[-1] == assistant
    assert prompt.scored[: len(prompt.tokens)] == prompt.tokens
    # Without what the template writes after the answer.
    assert len(prompt.scored) == prompt.first + 1 == len(prompt.tokens) + 1
    assert prompt.text == "the model"


def test_columns_can_have_other_names(spec_of: SpecOf) -> None:
    rows = [{"question": "the model", "reply": "reads"}] * 2
    spec = spec_of(rows, columns={"prompt": "question", "answer": "reply"})
    assert has_answers(spec)
    assert read_prompts(spec, 4)[0].answer == "reads"


def test_a_file_with_a_byte_order_mark_is_read(chat_spec: WorkloadSpec, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("prompt,answer\nthe model,reads\na line,of\n", encoding="utf-8-sig")
    assert len(read_prompts(replace(chat_spec, data=str(path)), 4)) == 2


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"prompt": "a"}], "at least 2 rows are needed"),
        ([{"prompt": "the model"}, {"prompt": "  "}], r"rows\.jsonl:2: column 'prompt' is blank"),
        ([{"prompt": "the model"}, {"text": "x"}], r":2: column 'prompt' is missing"),
        (
            [{"prompt": "the model"}, {"prompt": 3}],
            "row 2: column 'prompt' must be a text or a list of chat messages, but got 3",
        ),
        (
            [{"prompt": "the model"}, {"prompt": [{"role": "user"}]}],
            "row 2: column 'prompt': a chat message is {role: ..., content: ...} with two texts, "
            "but got {'role': 'user'}",
        ),
        (
            [{"prompt": "the model"}, {"prompt": []}],
            "row 2: column 'prompt': the last chat message must be one to respond to, but there "
            "is none",
        ),
        (
            [{"prompt": "the model"}, {"prompt": [{"role": "assistant", "content": "x"}]}],
            "but its role is assistant",
        ),
        (
            [{"prompt": "the model", "answer": "x"}, {"prompt": "the model"}],
            "row 2: column 'answer' is missing, but not in the first row; give an answer in every "
            "row or in none",
        ),
        (
            [{"prompt": "the model"}, {"prompt": "the model", "answer": "x"}],
            "row 2: column 'answer' is given, but not in the first row",
        ),
        (
            [{"prompt": "the model", "answer": 4}] * 2,
            "row 1: column 'answer' must be a text that is not blank, but got 4",
        ),
        (
            [{"prompt": "model"}, {"prompt": "the model"}],
            "row 1: the prompt is a single token, so no next token can be scored",
        ),
        (
            [{"prompt": "the model"}, {"prompt": "line " * 61}],
            r"row 2: the prompt has 61 tokens and 4 are generated, but the model's context holds "
            r"64 \(max_position_embeddings\); shorten the prompt or load.output_tokens",
        ),
        (
            [{"prompt": "the model", "answer": "line " * 70}] * 2,
            "row 1: prompt and answer have 72 tokens, but the model's context holds 64",
        ),
    ],
)
def test_a_row_that_cannot_be_used_is_refused(spec_of: SpecOf, rows: Rows, message: str) -> None:
    with pytest.raises(WorkloadError, match=message):
        read_prompts(spec_of(rows), 4)


def test_messages_need_a_chat_template(spec_of: SpecOf, chat_folder: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(chat_folder / "model", tmp_path / "plain")
    (tmp_path / "plain" / "chat_template.jinja").unlink()
    spec = spec_of([{"prompt": CHAT}] * 2, model=str(tmp_path / "plain"))
    message = "row 1: the prompt is a list of chat messages, but the model's tokenizer has no chat"
    with pytest.raises(WorkloadError, match=message):
        read_prompts(spec, 4)


def test_messages_that_the_template_refuses_are_named(
    spec_of: SpecOf, chat_folder: Path, tmp_path: Path
) -> None:
    import shutil

    shutil.copytree(chat_folder / "model", tmp_path / "strict")
    (tmp_path / "strict" / "chat_template.jinja").write_text("{{ raise_exception('no users') }}")
    spec = spec_of([{"prompt": CHAT}] * 2, model=str(tmp_path / "strict"))
    message = "row 1: the model's chat template refuses the messages: .*no users"
    with pytest.raises(WorkloadError, match=message):
        read_prompts(spec, 4)


@pytest.mark.parametrize(
    ("load", "message"),
    [
        (
            LoadSpec(input_tokens=60, output_tokens=5),
            "load: 60 input tokens and 5 output tokens are more than the 64 tokens of the model's",
        ),
        (LoadSpec(output_tokens=64), "load: a prompt and 64 output tokens are more than the 64"),
    ],
)
def test_lengths_of_the_load_that_do_not_fit_are_refused(
    chat_spec: WorkloadSpec, load: LoadSpec, message: str
) -> None:
    with pytest.raises(WorkloadError, match=message):
        build_workload(replace(chat_spec, load=load)).requests(1, 1)


def test_prompts_of_a_fixed_length_are_cut_or_continued(spec_of: SpecOf) -> None:
    prompts = read_prompts(spec_of([{"prompt": "the model"}, {"prompt": "a line of"}]), 4)
    first, second = (prompt.tokens for prompt in prompts)
    assert cut_or_continued(prompts, 0, None) == first
    assert cut_or_continued(prompts, 1, 2) == second[:2]
    assert cut_or_continued(prompts, 0, 7) == (*first, *second, *first)
    assert cut_or_continued(prompts, 1, 4) == (*second, first[0])


def test_a_space_stands_between_prompt_and_answer() -> None:
    assert with_answer("The capital is", "Paris") == "The capital is Paris"
    assert with_answer("The capital:\n", "Paris") == "The capital:\nParis"


def test_a_file_that_is_prepared_later_may_have_answers(chat_spec: WorkloadSpec) -> None:
    assert has_answers(replace(chat_spec, data="later.jsonl"))
