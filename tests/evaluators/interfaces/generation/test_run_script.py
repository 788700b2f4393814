"""The end of an export's run.py: an answer to a prompt, or the recorded request."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tunefront.evaluators.exports.folder import with_safe_imports
from tunefront.evaluators.interfaces.generation import GenerationRequest, TokenEvent
from tunefront.evaluators.interfaces.generation.run_script import (
    TextPieces,
    sample_script,
    stream,
)

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
    (tmp_path / "run.py").write_text(with_safe_imports(script) + sample_script())
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


def test_a_response_ends_at_the_tokens_of_the_export_and_fits_into_the_context(
    export: Path,
) -> None:
    fox = run(export, "the quick fox").stdout
    about = {"stop": [], "context": 4, "vocabulary": 20}
    (export / "generation.json").write_text(json.dumps(about))
    assert fox == "the quick fox\n"
    assert run(export, "the quick fox").stdout == "the\n"  # one token has room
    long = run(export, "the quick brown fox")
    assert (long.returncode, long.stderr) == (1, "The prompt has 4 tokens; 3 are the most.\n")


class Engine:
    """Counts on; every step has an event of an earlier request, too."""

    def __init__(self, error: str = "") -> None:
        self.cancelled: list[int] = []
        self._error = error

    def submit(self, request: GenerationRequest) -> int:
        self._left = request.new_tokens
        self._last = request.prompt[-1]
        return 7

    def poll(self, timeout_s: float) -> Sequence[TokenEvent]:
        self._left -= 1
        self._last += 1
        other = TokenEvent(request=6, tokens=(0,), arrival_s=0.0, end=True)
        end = self._left == 0 or bool(self._error)
        own = TokenEvent(request=7, tokens=(self._last,), arrival_s=0.0, end=end, error=self._error)
        return [other, own]

    def cancel(self, request: int) -> None:
        self.cancelled.append(request)


def test_one_request_of_an_engine_is_a_stream_of_tokens() -> None:
    engine: Any = Engine()
    assert list(stream(engine, [3, 4], 3)) == [5, 6, 7]
    assert engine.cancelled == []


def test_a_stream_that_is_left_is_cancelled() -> None:
    engine: Any = Engine()
    tokens = stream(engine, [3, 4], 3)
    assert next(tokens) == 5
    tokens.close()  # type: ignore[attr-defined]
    assert engine.cancelled == [7]


def test_an_engine_that_fails_ends_the_script() -> None:
    engine: Any = Engine("no memory")
    with pytest.raises(SystemExit, match="The engine failed: no memory"):
        list(stream(engine, [3], 3))


def test_pieces_of_text_join_to_the_whole() -> None:
    class Bytes:
        def decode(self, tokens: list[int], skip_special_tokens: bool) -> str:
            return bytes(tokens).decode(errors="replace")

    pieces = TextPieces(Bytes())
    text = "a é €"
    found = [pieces.add([token]) for token in text.encode()]
    assert found == ["a", " ", "", "é", " ", "", "", "€"]
    assert pieces.rest() == ""
    assert (pieces.add([0xE2]), pieces.rest()) == ("", "\N{REPLACEMENT CHARACTER}")
