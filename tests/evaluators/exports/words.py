"""A tokenizer of words and an engine that counts on, for tests of the server of texts."""

import time
from collections.abc import Sequence
from typing import Any

from tunefront.evaluators.exports.completions import TextModel
from tunefront.evaluators.interfaces.generation import GenerationRequest, TokenEvent
from tunefront.spaces import EvaluationError

END = 99


class Words:
    """Token 7 is the text `7 `; 98 is one half of a character. Chats begin with token 1."""

    chat_template = "a template"
    eos_token_id = END

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": [int(word) for word in text.split()]}

    def decode(self, tokens: list[int], skip_special_tokens: bool = True) -> str:
        shown = "".join("\N{DEGREE SIGN}" if token == 98 else f"{token} " for token in tokens)
        whole = shown.replace("\N{DEGREE SIGN}" * 2, "é")
        return whole.replace("\N{DEGREE SIGN}", "\N{REPLACEMENT CHARACTER}")

    def apply_chat_template(self, messages: list[dict[str, str]], **_: object) -> str:
        if messages[0]["role"] == "assistant":
            raise TypeError("the first message must be the user's")
        return " ".join(["1", *(one["content"] for one in messages)]).strip()


class Counter:
    """An engine: after token n comes n + 1, one token of every request in a step."""

    opened = 0

    def __init__(self, most: int = 90) -> None:
        Counter.opened += 1
        self.closed = False
        self.cancelled: list[int] = []
        self._most = most
        self._running: dict[int, tuple[int, GenerationRequest, int]] = {}
        self._number = 0

    def submit(self, request: GenerationRequest) -> int:
        if request.prompt[0] == 50:
            raise EvaluationError("no prompt begins with 50", cause="unsupported")
        if request.prompt[0] == 51:
            raise MemoryError("it is full")
        self._number += 1
        self._running[self._number] = (request.prompt[-1], request, 0)
        return self._number

    def poll(self, timeout_s: float) -> Sequence[TokenEvent]:
        time.sleep(0.001)
        return [self._event(number) for number in list(self._running)]

    def _event(self, number: int) -> TokenEvent:
        last, request, done = self._running[number]
        if request.prompt[0] == 60:
            raise EvaluationError("a step failed", cause="crash")
        token = last + 1 if last < self._most else last
        end = done + 1 == request.new_tokens or token in request.stop
        self._running[number] = (token, request, done + 1)
        if end:
            del self._running[number]
        return TokenEvent(request=number, tokens=(token,), arrival_s=0.0, end=end)

    def cancel(self, request: int) -> None:
        self.cancelled.append(request)
        del self._running[request]

    def close(self) -> None:
        self.closed = True


def model(**changed: Any) -> TextModel:
    fields: dict[str, Any] = {
        "name": "words",
        "tokenizer": Words(),
        "stop": (END,),
        "context": 100,
        "vocabulary": 100,
    }
    return TextModel(**{**fields, **changed})
