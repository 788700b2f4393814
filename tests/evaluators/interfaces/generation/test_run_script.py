"""The end of an export's run.py: an answer to a prompt, or the recorded request."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tunefront.evaluators.exports.folder import with_safe_imports
from tunefront.evaluators.interfaces.generation.run_script import SAMPLE_SCRIPT

WHOLE = '''\
"""Repeats the prompt, then ends."""
import json
import pathlib

HERE = pathlib.Path(__file__).parent


def load():
    return "model"


def run(model, prompt, new_tokens):
    return ([*prompt, END] * new_tokens)[:new_tokens]
'''
STREAM = """

def stream(model, prompt, new_tokens):
    for token in [*prompt, END]:
        yield token
    raise SystemExit("the end token was ignored")
"""


@pytest.fixture(params=["run"])
def export(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with run.py, a recorded request and a tokenizer of words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel(unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordLevelTrainer(special_tokens=["<unk>", "<end>"])
    words.train_from_iterator(["the quick brown fox jumps over a lazy dog"], trainer)
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=words, unk_token="<unk>", eos_token="<end>"
    )
    tokenizer.save_pretrained(tmp_path / "processor")
    script = WHOLE + (STREAM if request.param == "stream" else "")
    script += f"\n\nEND = {tokenizer.eos_token_id}\n"
    (tmp_path / "run.py").write_text(with_safe_imports(script) + SAMPLE_SCRIPT)
    sample = {"prompt": [5, 6], "new_tokens": 2, "tokens": [5, 6]}
    (tmp_path / "sample.json").write_text(json.dumps(sample))
    return tmp_path


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-I", folder / "run.py", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("export", ["run", "stream"], indirect=True)
def test_a_prompt_is_answered_in_text_up_to_the_end_token(export: Path) -> None:
    done = run(export, "the quick", "fox")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "the quick fox\n"


def test_without_a_prompt_the_recorded_request_is_run(export: Path) -> None:
    done = run(export)
    assert done.stdout == "2 tokens | as recorded\n", done.stderr


def test_a_prompt_needs_the_tokenizer(export: Path) -> None:
    shutil.rmtree(export / "processor")
    done = run(export, "Hello")
    assert done.returncode == 1
    assert done.stderr == "This export has no tokenizer; run it without a prompt.\n"


def test_a_chat_template_is_applied(export: Path) -> None:
    template = "{% for message in messages %}a {{ message.content }}{% endfor %}"
    config = export / "processor" / "tokenizer_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "chat_template": template}))
    done = run(export, "lazy dog")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "a lazy dog\n"
