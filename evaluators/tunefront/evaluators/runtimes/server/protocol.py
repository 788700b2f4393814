"""Requests and events of the OpenAI-compatible interface, `completions` and `chat`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tunefront.evaluators.interfaces.generation import GenerationRequest, PromptForm, ServerApi

MODELS = "/v1/models"
PATHS: Mapping[ServerApi, str] = {
    "completions": "/v1/completions",
    "chat": "/v1/chat/completions",
}
DONE = "[DONE]"
"""The last event of a stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What an event of a stream adds to a response.

    Attributes:
        text: Text, as the server has decoded it.
        tokens: Its token ids, if the server sends them.
        finish: Why the response has ended, such as "stop" or "length"; empty until it has.
        generated: Number of tokens of the whole response, as the server counts them; None if the
            event does not have it.
        error: The server's error message; empty if there is none.
    """

    text: str = ""
    tokens: tuple[int, ...] = ()
    finish: str = ""
    generated: int | None = None
    error: str = ""


def piece_of(event: str) -> Piece:
    """Return what an event adds.

    Raises:
        ValueError: If it is not in the interface.
    """
    fields = json.loads(event)
    if not isinstance(fields, dict):
        raise ValueError("an event must be a JSON object")
    if error := fields.get("error"):
        return Piece(error=str(error.get("message") if isinstance(error, dict) else error))
    choices, usage = fields.get("choices"), fields.get("usage") or {}
    if not isinstance(choices, list) or not isinstance(usage, dict):
        raise ValueError("an event must have a list of choices")
    choice = choices[0] if choices else {}
    delta = choice.get("delta") or {}
    text = choice.get("text") or delta.get("content") or delta.get("reasoning_content") or ""
    return Piece(
        text=str(text),
        tokens=tuple(int(token) for token in choice.get("token_ids") or ()),
        finish=str(choice.get("finish_reason") or ""),
        generated=usage.get("completion_tokens"),
    )


class Tokenizer:
    """The model's tokenizer, loaded when texts are first needed.

    Args:
        folder: Its folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def _loaded(self) -> Any:
        from transformers import AutoTokenizer

        auto: Any = AutoTokenizer
        return auto.from_pretrained(self._folder, local_files_only=True)

    def text(self, tokens: tuple[int, ...]) -> str:
        """Return the text of tokens, without a first token that every text begins with."""
        first = self._loaded.bos_token_id
        shown = tokens[1:] if tokens and tokens[0] == first is not None else tokens
        return str(self._loaded.decode(list(shown), skip_special_tokens=False))

    def tokens(self, text: str) -> tuple[int, ...]:
        """Return the tokens of a text."""
        return tuple(self._loaded(text, add_special_tokens=False)["input_ids"])

    def token(self, text: str) -> int:
        """Return the first token of a piece of text; 0 if it has none."""
        return next(iter(self.tokens(text)), 0) if text else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Writes requests.

    Attributes:
        model: Name of the model on the server.
        api: The part of the interface.
        prompts: How prompts are sent to `completions`.
        tokenizer: The model's tokenizer.
    """

    model: str
    api: ServerApi
    prompts: PromptForm
    tokenizer: Tokenizer

    @property
    def path(self) -> str:
        """The path of requests."""
        return PATHS[self.api]

    def body(self, request: GenerationRequest) -> dict[str, object]:
        """Return the body of a request: greedy, streamed, with the usage at its end.

        `ignore_eos` and `return_token_ids` are not part of OpenAI's own interface; vLLM has both,
        SGLang and llama.cpp the first, and other servers ignore what they do not know.
        """
        return {
            "model": self.model,
            **self._prompt(request),
            "max_tokens": request.new_tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
            "return_token_ids": True,
            **({} if request.stop else {"ignore_eos": True}),
        }

    def _prompt(self, request: GenerationRequest) -> dict[str, object]:
        if self.api == "completions":
            tokens = self.prompts == "tokens"
            return {"prompt": list(request.prompt) if tokens else self._text(request)}
        if request.messages:
            sent = [{"role": one.role, "content": one.content} for one in request.messages]
        else:
            sent = [{"role": "user", "content": self._text(request)}]
        return {"messages": sent}

    def _text(self, request: GenerationRequest) -> str:
        return self.tokenizer.text(request.prompt)
