"""Requests and responses of the OpenAI-compatible interface, without a server."""

import json
from typing import Any

import pytest
from tests.evaluators.exports.words import END, Words, model

from tunefront.evaluators.exports.completions import TextRequest, TextResponse, request_of
from tunefront.evaluators.exports.serve import Refused

HELLO = [{"role": "user", "content": "5 6"}]


def read(chat: bool = False, **fields: Any) -> TextRequest:
    given = {"messages": HELLO} if chat else {"prompt": "5 6"}
    body = {name: value for name, value in {**given, **fields}.items() if value != "absent"}
    return request_of(json.dumps(body).encode(), model(), chat=chat)


def test_a_text_and_messages_become_tokens() -> None:
    assert read().prompt == (5, 6)
    assert read(prompt=[7, 8]).prompt == read(prompt=[[7, 8]]).prompt == (7, 8)
    assert read(prompt=["7 8"]).prompt == (7, 8)
    assert read(chat=True).prompt == (1, 5, 6)
    parts = [{"type": "text", "text": "5 "}, {"type": "text", "text": "6"}]
    messages = [{"role": "user", "content": parts, "name": "a", "refusal": None}]
    assert read(chat=True, messages=messages).prompt == (1, 5, 6)


def test_the_number_of_new_tokens_has_a_default() -> None:
    assert read().new_tokens == 16
    assert read(prompt=list(range(90))).new_tokens == 10
    assert read(max_tokens=3).new_tokens == 3
    assert read(chat=True).new_tokens == 97
    assert read(chat=True, max_completion_tokens=4, max_tokens=5).new_tokens == 4


def test_what_has_no_effect_or_its_only_value_is_taken() -> None:
    fields: dict[str, Any] = {
        **{"model": "words", "temperature": 0.0, "top_p": 0.9, "seed": 3, "n": 1, "user": "me"},
        **{"logprobs": None, "echo": False, "stop": ["a", "b"], "stream": True},
        **{"stream_options": {"include_usage": True}, "return_token_ids": True},
    }
    found = read(**fields)
    assert found.stop == (END,) and found.stop_texts == ("a", "b")
    assert found.stream and found.usage and found.token_ids
    assert read(ignore_eos=True).stop == ()
    assert read(stop="one").stop_texts == ("one",)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"temperature": 0.7}, "temperature: the model is served with greedy decoding, as it was"),
        ({"temperature": 0.7}, "only 0 is offered, but got 0.7"),
        ({"n": 2}, "n: only 1 is offered, but got 2"),
        ({"logprobs": 0}, "logprobs: only false is offered, but got 0"),
        ({"tools": [{"type": "function"}]}, "tools: only [] is offered, but got [{"),
        ({"beam_width": 4}, "beam_width: this parameter is not offered; leave it out"),
        ({"stream": 1}, "stream: true or false is needed, but got 1"),
        ({"stream_options": {"include_usage": True}}, "stream_options: only with stream: true"),
        ({"stream": True, "stream_options": {"a": 1}}, "stream_options: an object with contin"),
        ({"max_tokens": 0}, "max_tokens: a whole number of at least 1, but got 0"),
        ({"max_tokens": 2.5}, "max_tokens: a whole number of at least 1, but got 2.5"),
        ({"max_tokens": 99}, "the prompt has 2 tokens and 99 are to be generated, but the model's"),
        ({"prompt": list(range(98)) + [1, 2]}, "the prompt has 100 tokens, but the model's conte"),
        ({"prompt": [5, 100]}, "prompt: the model has no token 100"),
        ({"prompt": [5, True]}, "prompt: one text, or one list of token ids, is needed"),
        ({"prompt": ["5", "6"]}, "prompt: one text, or one list of token ids, is needed"),
        ({"prompt": "absent"}, "prompt: one text, or one list of token ids, is needed"),
        ({"prompt": ""}, "prompt: at least one token is needed"),
        ({"messages": HELLO}, "messages: only for /v1/chat/completions"),
        ({"stop": [""]}, "stop: a text, or a list of texts, is needed"),
        ({"stop": list("abcde")}, "stop: 4 texts are the most, but got 5"),
    ],
)
def test_what_is_not_offered_is_refused(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(Refused) as refused:
        read(**fields)
    assert refused.value.status == 400
    assert why in str(refused.value)


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ([], "messages: a list of at least one message is needed"),
        (["hello"], "messages[0]: an object with role and content is needed"),
        ([{"role": "me", "content": ""}], "messages[0]: role must be one of system, developer"),
        ([{"role": "user"}], "messages[0]: content must be a text, or a list of parts with texts"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "messages[0]: content must be"),
        ([{"role": "user", "content": "5", "tool_calls": [1]}], "messages[0]: tool_calls is not"),
        ([{"role": "assistant", "content": "5"}], "template refuses them: the first message must"),
    ],
)
def test_messages_have_rules(messages: list[Any], why: str) -> None:
    with pytest.raises(Refused) as refused:
        read(chat=True, messages=messages)
    assert refused.value.status == 400
    assert why in str(refused.value)


def test_messages_need_a_chat_template_and_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refused, match="prompt: only for /v1/completions"):
        read(chat=True, prompt="5")
    monkeypatch.setattr(Words, "apply_chat_template", lambda *_, **__: "")
    with pytest.raises(Refused, match="messages: at least one token is needed"):
        read(chat=True)
    monkeypatch.setattr(Words, "chat_template", None)
    with pytest.raises(Refused, match="the model has no chat template; use /v1/completions"):
        read(chat=True)


def test_another_model_is_not_found() -> None:
    with pytest.raises(Refused, match="model: 'gpt' is not served here, but 'words' is") as refused:
        read(model="gpt")
    assert refused.value.status == 404


@pytest.mark.parametrize("body", [b"{", b"[" * 100_000, b"\xff"])
def test_the_body_is_json(body: bytes) -> None:
    with pytest.raises(Refused, match="the body must be JSON, but "):
        request_of(body, model(), chat=False)
    with pytest.raises(Refused, match="the body must be a JSON object"):
        request_of(b"[1]", model(), chat=False)


def response(**fields: Any) -> TextResponse:
    return TextResponse(read(**fields), model())


def test_a_response_ends_by_its_end_token_or_its_length() -> None:
    ended = response()
    assert [ended.add([7], end=False), ended.add([8, END, 9], end=True)] == ["7 ", "8 "]
    assert (ended.finish, ended.tokens) == ("stop", [7, 8, END])
    cut = response()
    assert (cut.add([7], end=True), cut.finish) == ("7 ", "length")


def test_half_a_character_waits_for_the_rest() -> None:
    found = response()
    texts = [found.add([token], end=token == 5) for token in (7, 98, 98, 98, 5)]
    assert texts == ["7 ", "", "é", "", "\N{REPLACEMENT CHARACTER}5 "]


@pytest.mark.parametrize("tokens", [[[3], [4], [5], [6]], [[3, 4], [5, 6]], [[3, 4, 5, 6]]])
def test_a_stop_text_ends_a_response_and_is_not_part_of_it(tokens: list[list[int]]) -> None:
    found = response(stop=["4 5"])
    texts = []
    for some in tokens:
        texts.append(found.add(some, end=False))
        if found.finish:
            break
    assert ("".join(texts), found.finish) == ("3 ", "stop")


def test_the_beginning_of_a_stop_text_is_sent_when_it_goes_on_in_another_way() -> None:
    found = response(stop=["4 5"])
    assert [found.add([token], end=False) for token in (4, 6)] == ["", "4 6 "]
    assert found.add([4], end=True) == "4 "


def test_whole_responses_have_the_forms_of_the_interface() -> None:
    found = response(model="words")
    found.add([7, END], end=True)
    whole = found.whole("7 ")
    assert whole["object"] == "text_completion" and whole["model"] == "words"
    choice = {"index": 0, "text": "7 ", "logprobs": None, "finish_reason": "stop"}
    assert whole["choices"] == [choice]
    assert whole["usage"] == {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4}
    chat = response(chat=True, return_token_ids=True)
    chat.add([7], end=True)
    (choice,) = chat.whole("7 ")["choices"]  # type: ignore[misc]
    assert choice == {
        "index": 0,
        "message": {"role": "assistant", "content": "7 "},
        "logprobs": None,
        "finish_reason": "length",
        "token_ids": [7],
    }


def test_events_have_the_forms_of_the_interface() -> None:
    found = response(stream=True, stream_options={"include_usage": True})
    assert found.first_event() == []
    assert found.event("", [98]) == []
    (event,) = found.event("7 ", [7])
    assert event["object"] == "text_completion" and event["usage"] is None
    assert event["choices"][0]["text"] == "7 "  # type: ignore[index]
    (last,) = found.last_events()
    assert last["choices"] == [] and last["usage"]["prompt_tokens"] == 2  # type: ignore[index]
    options = {"include_usage": True, "continuous_usage_stats": True}  # as GuideLLM sends them
    counted = response(stream=True, stream_options=options)
    counted.add([7, 8], end=False)
    (event,) = counted.event("7 8 ", [7, 8])
    assert event["usage"]["completion_tokens"] == 2  # type: ignore[index]
    chat = response(chat=True, stream=True, return_token_ids=True)
    (first,) = chat.first_event()
    assert first["object"] == "chat.completion.chunk" and "usage" not in first
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}  # type: ignore[index]
    (half,) = chat.event("", [98])
    assert half["choices"][0]["token_ids"] == [98]  # type: ignore[index]
    chat.add([END], end=True)
    (end,) = chat.event("", [END])
    assert end["choices"][0]["delta"] == {}  # type: ignore[index]
    assert end["choices"][0]["finish_reason"] == "stop"  # type: ignore[index]
    assert chat.last_events() == []
