"""Requests and responses of the OpenAI-compatible interface, as far as a greedy engine has it.

A parameter that would change the response and is not offered is refused, not ignored.
"""

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunefront.evaluators.interfaces.generation.run_script import (
    TextPieces,
    chat_tokens,
    text_tokens,
)

from .serve import Refused

COMPLETION_TOKENS = 16
"""`max_tokens` of /v1/completions without the parameter, as OpenAI's interface has it."""
MOST_STOPS = 4
ROLES = ("system", "developer", "user", "assistant", "tool")
NO_EFFECT = frozenset(
    {"user", "seed", "top_p", "top_k", "metadata", "store", "safety_identifier", "prompt_cache_key"}
)
"""Parameters that do not change a greedy response."""
ONLY: Mapping[str, Sequence[object]] = {
    "temperature": (0,),
    "n": (1,),
    "best_of": (1,),
    "logprobs": (False,),
    "echo": (False,),
    "suffix": ("",),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "repetition_penalty": (1,),
    "logit_bias": ({},),
    "tools": ([],),
    "tool_choice": ("none",),
    "response_format": ({"type": "text"},),
}
"""Parameters with the values that are accepted; all of them can be left out or null."""
WHY_ONLY = {"temperature": "the model is served with greedy decoding, as it was measured"}
STREAM_OPTIONS = frozenset({"include_usage", "continuous_usage_stats"})
OFFERED = frozenset(
    {
        *("model", "prompt", "messages", "max_tokens", "max_completion_tokens", "stop"),
        *("stream", "stream_options", "ignore_eos", "return_token_ids"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextModel:
    """What is served.

    Attributes:
        name: Its name in requests.
        tokenizer: Its tokenizer.
        stop: Tokens that end a response.
        context: Largest number of tokens of prompt and response; 0 if the model declares none.
        vocabulary: Number of different tokens; 0 if not known.
    """

    name: str
    tokenizer: Any
    stop: tuple[int, ...]
    context: int
    vocabulary: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRequest:
    """A request that was checked.

    Attributes:
        chat: Whether it has messages.
        prompt: Token ids.
        new_tokens: Largest number of tokens to generate.
        stop: Tokens that end the response.
        stop_texts: Texts that end it, without being part of it.
        stream: Whether it is sent piece by piece.
        usage: Whether a stream ends with the numbers of tokens.
        usages: Whether every event has them so far, too, as vLLM offers it.
        token_ids: Whether token ids are sent, too.
    """

    chat: bool
    prompt: tuple[int, ...]
    new_tokens: int
    stop: tuple[int, ...]
    stop_texts: tuple[str, ...]
    stream: bool
    usage: bool
    usages: bool
    token_ids: bool


def request_of(body: bytes, model: TextModel, *, chat: bool) -> TextRequest:
    """Parse and check the body of a request.

    Raises:
        Refused: With status 400, or 404 for another model's name; it names the parameter.
    """
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body must be JSON, but {error}") from error
    if not isinstance(fields, dict):
        raise Refused(400, "the body must be a JSON object")
    given = {name: value for name, value in fields.items() if value is not None}
    _check_offered(given, model)
    prompt = _chat_prompt(given, model) if chat else _prompt(given, model)
    options = given.get("stream_options", {})
    if options and not given.get("stream"):
        raise Refused(400, "stream_options: only with stream: true")
    if not isinstance(options, dict) or set(options) - STREAM_OPTIONS:
        names = " or ".join(sorted(STREAM_OPTIONS))
        raise Refused(400, f"stream_options: an object with {names} is needed")
    return TextRequest(
        chat=chat,
        prompt=prompt,
        new_tokens=_new_tokens(given, model, len(prompt), chat=chat),
        stop=() if _flag(given, "ignore_eos") else model.stop,
        stop_texts=_stop_texts(given.get("stop", [])),
        stream=_flag(given, "stream"),
        usage=_flag(options, "include_usage"),
        usages=_flag(options, "include_usage") and _flag(options, "continuous_usage_stats"),
        token_ids=_flag(given, "return_token_ids"),
    )


def _check_offered(given: Mapping[str, Any], model: TextModel) -> None:
    """Refuse another model, and parameters that are not offered."""
    if (name := given.get("model", model.name)) != model.name:
        raise Refused(404, f"model: {str(name)[:100]!r} is not served here, but {model.name!r} is")
    for name, value in given.items():
        if name in ONLY and not any(_same(value, one) for one in ONLY[name]):
            why = f"{WHY_ONLY[name]}; " if name in WHY_ONLY else ""
            only = json.dumps(ONLY[name][0])
            raise Refused(400, f"{name}: {why}only {only} is offered, but got {_shown(value)}")
        if name not in ONLY and name not in NO_EFFECT and name not in OFFERED:
            raise Refused(400, f"{name[:100]}: this parameter is not offered; leave it out")


def _same(value: object, other: object) -> bool:
    """Return whether two values of JSON are equal; true is not 1."""
    return value == other and isinstance(value, bool) == isinstance(other, bool)


def _shown(value: object) -> str:
    return json.dumps(value)[:100]


def _flag(given: Mapping[str, Any], name: str) -> bool:
    value = given.get(name, False)
    if not isinstance(value, bool):
        raise Refused(400, f"{name}: true or false is needed, but got {_shown(value)}")
    return value


def _prompt(given: Mapping[str, Any], model: TextModel) -> tuple[int, ...]:
    """Return the tokens of a text, or given ones; a list with one of them counts as that one."""
    if "messages" in given:
        raise Refused(400, "messages: only for /v1/chat/completions; /v1/completions has prompt")
    prompt = given.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str | list):
        prompt = prompt[0]
    if isinstance(prompt, str):
        found = text_tokens(model.tokenizer, prompt)
    elif isinstance(prompt, list) and all(type(token) is int for token in prompt):
        found = prompt
        if outside := [t for t in found if t < 0 or (model.vocabulary and t >= model.vocabulary)]:
            raise Refused(400, f"prompt: the model has no token {outside[0]}")
    else:
        raise Refused(400, "prompt: one text, or one list of token ids, is needed")
    if not found:
        raise Refused(400, "prompt: at least one token is needed")
    return tuple(found)


def _chat_prompt(given: Mapping[str, Any], model: TextModel) -> tuple[int, ...]:
    """Return the tokens of chat messages in the model's format."""
    if "prompt" in given:
        raise Refused(400, "prompt: only for /v1/completions; /v1/chat/completions has messages")
    messages = given.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Refused(400, "messages: a list of at least one message is needed")
    if not model.tokenizer.chat_template:
        raise Refused(400, "messages: the model has no chat template; use /v1/completions")
    read = [_message(number, one) for number, one in enumerate(messages)]
    try:
        found = chat_tokens(model.tokenizer, read)
    except Exception as error:  # a template is a program of the model, and can raise anything
        raise Refused(400, f"messages: the model's chat template refuses them: {error}") from error
    if not found:
        raise Refused(400, "messages: at least one token is needed")
    return tuple(found)


def _message(number: int, written: object) -> dict[str, str]:
    """Return role and text of a message; texts in parts are joined."""
    place = f"messages[{number}]"
    if not isinstance(written, dict):
        raise Refused(400, f"{place}: an object with role and content is needed")
    given = {name: value for name, value in written.items() if value is not None}
    if more := set(given) - {"role", "content", "name"}:
        raise Refused(400, f"{place}: {min(more)[:100]} is not offered; leave it out")
    if given.get("role") not in ROLES:
        raise Refused(400, f"{place}: role must be one of {', '.join(ROLES)}")
    content = given.get("content")
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        whole = len(texts) == len(content) and all(isinstance(text, str) for text in texts)
        content = "".join(map(str, texts)) if whole else None
    if not isinstance(content, str):
        raise Refused(400, f"{place}: content must be a text, or a list of parts with texts")
    return {"role": given["role"], "content": content}


def _new_tokens(given: Mapping[str, Any], model: TextModel, prompt: int, *, chat: bool) -> int:
    """Return how many tokens are generated at most; without a parameter, chat fills the context."""
    name = "max_completion_tokens" if "max_completion_tokens" in given else "max_tokens"
    room = model.context - prompt if model.context else None
    if room is not None and room < 1:
        what = f"the prompt has {prompt} tokens, but the model's context holds {model.context}"
        raise Refused(400, f"{what}; at least one is for the response: shorten the prompt")
    wanted = given.get(name)
    if wanted is None:
        most = room if chat and room is not None else COMPLETION_TOKENS
        return most if room is None else min(room, most)
    if type(wanted) is not int or wanted < 1:
        raise Refused(400, f"{name}: a whole number of at least 1, but got {_shown(wanted)}")
    if room is not None and wanted > room:
        what = f"the prompt has {prompt} tokens and {wanted} are to be generated"
        raise Refused(400, f"{name}: {what}, but the model's context holds {model.context}")
    return wanted


def _stop_texts(written: object) -> tuple[str, ...]:
    texts = [written] if isinstance(written, str) else written
    if not isinstance(texts, list) or not all(isinstance(one, str) and one for one in texts):
        raise Refused(400, "stop: a text, or a list of texts, is needed")
    if len(texts) > MOST_STOPS:
        raise Refused(400, f"stop: {MOST_STOPS} texts are the most, but got {len(texts)}")
    return tuple(texts)


class TextResponse:
    """The response to a request, from its tokens.

    Args:
        request: The request.
        model: The model.

    Attributes:
        finish: Why it has ended: `stop` or `length`; empty until it has.
        tokens: Its tokens so far, with the one that ended it.
    """

    def __init__(self, request: TextRequest, model: TextModel) -> None:
        self.finish = ""
        self.tokens: list[int] = []
        self._request = request
        self._model = model
        self._pieces = TextPieces(model.tokenizer)
        self._held = ""
        self._head = {
            "id": f"{'chatcmpl' if request.chat else 'cmpl'}-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": model.name,
        }

    def add(self, tokens: Sequence[int], *, end: bool) -> str:
        """Add tokens that have arrived; return the text that is certain now."""
        new: list[int] = []
        for token in tokens:
            self.tokens.append(token)
            if token in self._request.stop:
                self.finish = "stop"
                break
            new.append(token)
        if end and not self.finish:
            self.finish = "length"
        text = self._held + self._pieces.add(new) + (self._pieces.rest() if self.finish else "")
        return self._before_stop(text)

    def _before_stop(self, text: str) -> str:
        """Return a text up to the first stop text; hold back what can be the beginning of one."""
        stops = self._request.stop_texts
        found = [place for stop in stops if (place := text.find(stop)) >= 0]
        if found:
            self.finish, self._held = "stop", ""
            return text[: min(found)]
        lengths = [
            length
            for stop in stops
            for length in range(1, len(stop))
            if text.endswith(stop[:length])
        ]
        held = 0 if self.finish else max(lengths, default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def whole(self, text: str) -> dict[str, object]:
        """Return the response that is not streamed."""
        key: dict[str, object] = (
            {"message": {"role": "assistant", "content": text}}
            if self._request.chat
            else {"text": text}
        )
        choice = self._choice(key, self.tokens, self.finish)
        return {**self._named(stream=False), "choices": [choice], "usage": self._usage()}

    def first_event(self) -> list[dict[str, object]]:
        """Return the events before any text."""
        return [self._event({"role": "assistant", "content": ""}, ())] if self._request.chat else []

    def event(self, text: str, tokens: Sequence[int]) -> list[dict[str, object]]:
        """Return the events of new text and tokens; none if there is nothing to send."""
        if not text and not self.finish and not (self._request.token_ids and tokens):
            return []
        delta = {"content": text} if text or not self.finish else {}
        return [self._event(delta if self._request.chat else {"text": text}, tokens)]

    def last_events(self) -> list[dict[str, object]]:
        """Return the events after the end."""
        if not self._request.usage:
            return []
        return [{**self._named(stream=True), "choices": [], "usage": self._usage()}]

    def _event(self, content: Mapping[str, object], tokens: Sequence[int]) -> dict[str, object]:
        key = {"delta": content} if self._request.chat else content
        found = {**self._named(stream=True), "choices": [self._choice(key, tokens, self.finish)]}
        if not self._request.usage:
            return found
        return {**found, "usage": self._usage() if self._request.usages else None}

    def _choice(
        self, key: Mapping[str, object], tokens: Sequence[int], finish: str
    ) -> dict[str, object]:
        ids = {"token_ids": list(tokens)} if self._request.token_ids else {}
        return {"index": 0, **key, "logprobs": None, "finish_reason": finish or None, **ids}

    def _named(self, *, stream: bool) -> dict[str, object]:
        kind = "text_completion"
        if self._request.chat:
            kind = "chat.completion.chunk" if stream else "chat.completion"
        return {"object": kind, **self._head}

    def _usage(self) -> dict[str, int]:
        prompt, response = len(self._request.prompt), len(self.tokens)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": response,
            "total_tokens": prompt + response,
        }
