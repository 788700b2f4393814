"""The end of an export's run.py: the recorded request, or the answer to a prompt as text.

Scripts of exports contain this code. A runtime's script can define `stream(model, prompt,
new_tokens)`, which yields token ids: words are printed as they come then, and generation stops at
the end token. A script whose engine applies the chat format itself sets `CHAT = True`.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunefront.evaluators.interfaces.source_bundle import bundle

from .endpoint import GenerationEndpoint
from .requests import GenerationRequest

NEW_TOKENS = 128
"""Largest number of tokens of an answer."""
ABOUT = "generation.json"
"""File of an export with the tokens that end a response, and the context and vocabulary."""
PROCESSOR_FOLDER = "processor"
STREAM_POLL_S = 1.0
_CALL = """

if __name__ == "__main__":
    import sys

    words = globals().get("stream", run)
    main(sys.argv[1:], HERE, load, run, words, plain=globals().get("CHAT", False))
"""
NOT_EXPORTED = frozenset({"facts", "logits", "processes", "parts", "most_parts", "timed_response"})
"""Methods that exports do not contain: read-back and scoring, and what measuring needs."""


def sample_script() -> str:
    """Return the end of run.py. `run.py "PROMPT"` needs transformers and the tokenizer."""
    code = bundle([f"{__name__}:{main.__name__}"])
    return f"\n\n{code}\n{_CALL}"


def engine_source(*used: type) -> str:
    """Return code for an export's script: an endpoint and what opens it, and `stream`.

    Args:
        used: The classes that the script uses.
    """
    names = [f"{one.__module__}:{one.__name__}" for one in used]
    return bundle([*names, f"{__name__}:{stream.__name__}"], without=NOT_EXPORTED)


def stream(model: GenerationEndpoint, prompt: Sequence[int], new_tokens: int) -> Iterator[int]:
    """Token ids in; token ids out, as they come: the most likely token every time."""
    number = model.submit(GenerationRequest(prompt=tuple(prompt), new_tokens=new_tokens))
    ended = False
    try:
        while not ended:
            for event in model.poll(STREAM_POLL_S):
                if event.request == number:
                    if event.error:
                        raise SystemExit(f"The engine failed: {event.error}")
                    ended = event.end
                    yield from event.tokens
    finally:
        if not ended:
            model.cancel(number)
            model.poll(0.0)  # the engine ends the request in its next step


class TextPieces:
    """The text of tokens that come one by one, in pieces of whole characters.

    Args:
        tokenizer: The tokenizer.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._tokens: list[int] = []
        self._first = self._shown = 0

    def add(self, tokens: Sequence[int]) -> str:
        """Return the new text; empty if a character is not complete."""
        self._tokens += tokens
        return self._new(whole=True)

    def rest(self) -> str:
        """Return the text that is left at the end."""
        return self._new(whole=False)

    def _new(self, *, whole: bool) -> str:
        """Return the text since the last call; tokens before it show what stands between them."""
        before = self._text(self._tokens[self._first : self._shown])
        now = self._text(self._tokens[self._first :])
        if len(now) <= len(before) or (whole and now.endswith("\N{REPLACEMENT CHARACTER}")):
            return ""
        self._first, self._shown = self._shown, len(self._tokens)
        return now[len(before) :]

    def _text(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))


def text_tokens(tokenizer: Any, text: str) -> list[int]:
    """Return the token ids of a text."""
    return list(tokenizer(text)["input_ids"])


def chat_tokens(tokenizer: Any, messages: Sequence[Mapping[str, str]]) -> list[int]:
    """Return the token ids of chat messages in the model's format, up to where it answers."""
    chat = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
    return list(tokenizer(chat, add_special_tokens=False)["input_ids"])


def read_about(folder: Path, tokenizer: Any) -> dict[str, Any]:
    """Return `stop`, the tokens that end a response, and `context`, 0 if it has no end."""
    if (folder / ABOUT).is_file():
        return dict(json.loads((folder / ABOUT).read_text()))
    end = tokenizer.eos_token_id
    return {"stop": [] if end is None else [end], "context": 0}


def read_tokenizer(folder: Path) -> Any:
    """Return the export's tokenizer."""
    from transformers import AutoTokenizer

    loaded: Any = AutoTokenizer
    return loaded.from_pretrained(folder / PROCESSOR_FOLDER, local_files_only=True)


def answer(
    text: str,
    folder: Path,
    load: Callable[[], Any],
    source: Callable[[Any, Sequence[int], int], Iterable[int]],
    *,
    plain: bool,
) -> Iterator[str]:
    """Yield the answer to a prompt in pieces of text, as soon as they are there.

    Args:
        text: The prompt; it becomes a chat message if the model has a chat format.
        folder: The export.
        load: Opens the model.
        source: Yields tokens: of the model, after a prompt, so many.
        plain: Whether the engine applies the chat format itself.
    """
    tokenizer = read_tokenizer(folder)
    about = read_about(folder, tokenizer)
    if tokenizer.chat_template and not plain:
        prompt = chat_tokens(tokenizer, [{"role": "user", "content": text}])
    else:
        prompt = text_tokens(tokenizer, text)
    room = about["context"] - len(prompt) if about["context"] else NEW_TOKENS
    if room < 1:
        raise SystemExit(
            f"The prompt has {len(prompt)} tokens; {about['context'] - 1} are the most."
        )
    pieces = TextPieces(tokenizer)
    for token in source(load(), prompt, min(room, NEW_TOKENS)):
        if token in about["stop"]:
            break
        yield pieces.add([token])
    yield pieces.rest()


def main(
    prompt: Sequence[str],
    folder: Path,
    load: Callable[[], Any],
    run: Callable[[Any, Sequence[int], int], Sequence[int]],
    words: Callable[[Any, Sequence[int], int], Iterable[int]],
    *,
    plain: bool,
) -> None:
    """Answer a prompt; without one, run the recorded request and compare; see `answer`."""
    if prompt:
        if not (folder / PROCESSOR_FOLDER).is_dir():
            raise SystemExit("This export has no tokenizer; run it without a prompt.")
        for piece in answer(" ".join(prompt), folder, load, words, plain=plain):
            print(piece, end="", flush=True)
        print()
        return
    sample = json.loads((folder / "sample.json").read_text())
    tokens = run(load(), sample["prompt"], sample["new_tokens"])
    print(len(tokens), "tokens |", "as recorded" if tokens == sample["tokens"] else "different")
