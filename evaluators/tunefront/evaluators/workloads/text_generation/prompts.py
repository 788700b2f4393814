"""Prompts of a data file as tokens: texts, or chat messages with the model's chat template."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunefront.evaluators.interfaces.generation import Message
from tunefront.evaluators.workloads.sources.data import DataRow, data_rows, read_rows
from tunefront.evaluators.workloads.sources.hub import load_config, load_processor
from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import WorkloadError, named_error

_PROMPT, _ANSWER = "prompt", "answer"
"""Columns of the data."""
_MESSAGE = ("role", "content")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A row of the data.

    Attributes:
        text: The prompt as a text; of chat messages the last one.
        answer: The expected response; None if the data has none.
        tokens: The prompt as the model reads it, with the chat template and special tokens.
        scored: The same followed by the answer, as in a conversation or a text.
        first: Index in `scored` of the first token whose loss counts: that of the answer, or
            without one the second.
        timed: The tokens from which requests of a fixed length are made: the same, or those of the
            text alone if a server applies the chat template.
        messages: The prompt as chat messages, for such a server; otherwise empty.
    """

    text: str
    answer: str | None
    tokens: tuple[int, ...]
    scored: tuple[int, ...]
    first: int
    timed: tuple[int, ...]
    messages: tuple[Message, ...] = ()


def read_prompts(spec: WorkloadSpec, new_tokens: int) -> tuple[Prompt, ...]:
    """Read, check and tokenize the rows of the workload's data.

    Args:
        spec: The workload.
        new_tokens: Number of tokens that are generated for each prompt.

    Raises:
        WorkloadError: If a row is invalid, is chat messages without a chat template, or does not
            fit into the model's context; the message names the row.
    """
    rows = data_rows(spec, {_PROMPT: object})
    reader = PromptReader(spec)
    found = tuple(reader.prompts(rows))
    limit = context_of(spec)
    for number, prompt in enumerate(found, start=1):
        place = _place(spec, number)
        if len(prompt.scored) < 2:
            raise WorkloadError(
                f"{place}: the prompt is a single token, so no next token can be scored; lengthen "
                "it, or add an answer"
            )
        check_length(place, prompt, new_tokens, limit)
    return found


def has_answers(spec: WorkloadSpec) -> bool:
    """Return whether the first row of the data has an answer; True if it can't be read.

    A missing file can be one that the experiment prepares later; other errors are raised when the
    workload is checked.
    """
    try:
        first = read_rows(spec.path(str(spec.data)), {}, limit=1)[0]
    except WorkloadError:
        return True
    return first.get(_answer_column(spec)) is not None


def context_of(spec: WorkloadSpec) -> int | None:
    """Return the number of tokens that the model's context holds; None if it is not known."""
    positions = getattr(load_config(spec), "max_position_embeddings", None)
    return positions if isinstance(positions, int) and positions > 0 else None


def cut_or_continued(prompts: Sequence[Prompt], place: int, length: int | None) -> tuple[int, ...]:
    """Return the tokens of a prompt, cut to a length or continued with those that follow it.

    Args:
        prompts: All prompts; the first follows the last.
        place: Index of the prompt.
        length: Number of tokens; None for those of the prompt.
    """
    if length is None:
        return prompts[place].timed
    tokens: list[int] = []
    while len(tokens) < length:
        tokens += prompts[place % len(prompts)].timed
        place += 1
    return tuple(tokens[:length])


def check_lengths(
    spec: WorkloadSpec, input_tokens: int | None, output_tokens: int, place: str = "load"
) -> None:
    """Check that fixed lengths fit into the model's context.

    Args:
        spec: The workload.
        input_tokens: Tokens of a prompt; None if they are not fixed.
        output_tokens: Tokens of its response.
        place: What gives the lengths, for the message.

    Raises:
        WorkloadError: If they do not.
    """
    limit, given = context_of(spec), input_tokens or 1
    if limit is None or given + output_tokens <= limit:
        return
    named = f"{input_tokens} input tokens" if input_tokens else "a prompt"
    raise WorkloadError(
        f"{place}: {named} and {output_tokens} output tokens are more than the {limit} tokens of "
        "the model's context (max_position_embeddings); request fewer"
    )


def check_length(place: str, prompt: Prompt, new_tokens: int, limit: int | None) -> None:
    """Check that a prompt fits into the model's context.

    Args:
        place: Where the prompt is, for the message.
        prompt: The prompt.
        new_tokens: Number of tokens that are generated.
        limit: Number of tokens that the context holds; None if it is not known.

    Raises:
        WorkloadError: If it does not.
    """
    if limit is None:
        return
    if len(prompt.tokens) + new_tokens > limit:
        raise WorkloadError(
            f"{place}: the prompt has {len(prompt.tokens)} tokens and {new_tokens} are generated, "
            f"but the model's context holds {limit} (max_position_embeddings); shorten the prompt "
            "or load.output_tokens"
        )
    if len(prompt.scored) > limit:
        raise WorkloadError(
            f"{place}: prompt and answer have {len(prompt.scored)} tokens, but the model's context "
            f"holds {limit} (max_position_embeddings); shorten them"
        )


class PromptReader:
    """Tokenizes prompts.

    Args:
        spec: The workload, which names the model and, perhaps, a server.
    """

    def __init__(self, spec: WorkloadSpec) -> None:
        self._spec = spec
        self._tokenizer: Any = load_processor(spec, "AutoTokenizer")
        self._chat = spec.server is not None and spec.server.api == "chat"

    def prompts(self, rows: Sequence[DataRow]) -> Iterator[Prompt]:
        """Yield the prompts of the rows."""
        answered = rows[0].get(_answer_column(self._spec)) is not None
        for number, row in enumerate(rows, start=1):
            place = _place(self._spec, number)
            answer = self._answer(row, answered, place)
            yield self.prompt(row[_PROMPT], answer, place)

    def prompt(self, given: object, answer: str | None, place: str) -> Prompt:
        """Return a prompt: a text, or a list of chat messages.

        Args:
            given: The text or the messages.
            answer: The expected response; None if it is not known.
            place: Where the prompt is, for messages.

        Raises:
            WorkloadError: If it is neither, or can't be tokenized.
        """
        if isinstance(given, str) and self._chat:
            return self._of_messages([{"role": "user", "content": given}], answer, place)
        if isinstance(given, str):
            return self._of_text(given, answer, place)
        if isinstance(given, list):
            return self._of_messages(given, answer, place)
        raise WorkloadError(
            f"{place}: column {self._named(_PROMPT)!r} must be a text or a list of chat "
            f"messages, but got {given!r}"
        )

    def text(self, tokens: Sequence[int]) -> str:
        """Return the text of a response."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))

    def _named(self, column: str) -> str:
        return self._spec.columns.get(column, column)

    def _answer(self, row: DataRow, answered: bool, place: str) -> str | None:
        """Return the answer of a row; all rows have one, or none has."""
        column = _answer_column(self._spec)
        answer = row.get(column)
        if (answer is not None) != answered:
            raise WorkloadError(
                f"{place}: column {column!r} is {'missing' if answered else 'given'}, but not in "
                "the first row; give an answer in every row or in none"
            )
        if answer is None:
            return None
        if not isinstance(answer, str) or not answer.strip():
            raise WorkloadError(
                f"{place}: column {column!r} must be a text that is not blank, but got {answer!r}"
            )
        return answer

    def _of_text(self, text: str, answer: str | None, place: str) -> Prompt:
        tokens = self._tokens(text, place)
        scored = tokens if answer is None else self._tokens(with_answer(text, answer), place)
        first = _first_counted(tokens, scored, answer)
        return Prompt(
            text=text, answer=answer, tokens=tokens, scored=scored, first=first, timed=tokens
        )

    def _of_messages(self, given: list[object], answer: str | None, place: str) -> Prompt:
        messages = _checked_messages(given, self._named(_PROMPT), place)
        tokens = self._tokens(self._rendered(messages, place, continued=True), place, special=False)
        scored = tokens
        if answer is not None:
            conversation = [*messages, {"role": "assistant", "content": answer}]
            rendered = self._rendered(conversation, place, continued=False)
            scored = self._tokens(_up_to(answer, rendered), place, special=False)
        text = messages[-1]["content"]
        return Prompt(
            text=text,
            answer=answer,
            tokens=tokens,
            scored=scored,
            first=_first_counted(tokens, scored, answer),
            timed=self._tokens(text, place, special=False) if self._chat else tokens,
            messages=tuple(Message(**one) for one in messages) if self._chat else (),
        )

    def _rendered(
        self, messages: Sequence[Mapping[str, str]], place: str, *, continued: bool
    ) -> str:
        """Return messages as one text by the chat template."""
        if not self._tokenizer.chat_template:
            raise WorkloadError(
                f"{place}: the prompt is a list of chat messages, but the model's tokenizer has no "
                "chat template; write prompts as texts, or choose a model tuned for chat"
            )
        try:
            return str(
                self._tokenizer.apply_chat_template(
                    list(messages), tokenize=False, add_generation_prompt=continued
                )
            )
        except Exception as error:  # a template is a program of the model, and can raise anything
            raise WorkloadError(
                f"{place}: the model's chat template refuses the messages: {named_error(error)}"
            ) from error

    def _tokens(self, text: str, place: str, *, special: bool = True) -> tuple[int, ...]:
        found = tuple(self._tokenizer(text, add_special_tokens=special)["input_ids"])
        if not found:
            raise WorkloadError(f"{place}: the prompt {text[:40]!r} has no token; correct it")
        return found


def with_answer(text: str, answer: str) -> str:
    """Return a prompt continued by its answer, with a space between two words."""
    spaced = text[-1:].isspace() or answer[:1].isspace()
    return text + answer if spaced else f"{text} {answer}"


def _first_counted(tokens: Sequence[int], scored: Sequence[int], answer: str | None) -> int:
    """Return the index of the first token whose loss counts: the first that is the answer's."""
    if answer is None:
        return 1
    pairs = enumerate(zip(tokens, scored, strict=False))
    same = next((place for place, (own, other) in pairs if own != other), len(tokens))
    return max(1, min(same, len(scored) - 1))


def _up_to(answer: str, rendered: str) -> str:
    """Return a conversation up to its answer, without what the chat template writes after it."""
    place = rendered.rfind(answer.strip())
    return rendered if place < 0 else rendered[: place + len(answer.strip())]


def _checked_messages(given: list[object], column: str, place: str) -> list[dict[str, str]]:
    """Return chat messages.

    Raises:
        WorkloadError: If they are not, or the last one is a response.
    """
    found: list[dict[str, str]] = []
    for message in given:
        fields = message if isinstance(message, dict) else {}
        texts = {name: fields.get(name) for name in _MESSAGE}
        if not all(isinstance(text, str) and text.strip() for text in texts.values()):
            raise WorkloadError(
                f"{place}: column {column!r}: a chat message is {{role: ..., content: ...}} with "
                f"two texts, but got {message!r}"
            )
        found.append({name: str(text) for name, text in texts.items()})
    if not found or found[-1]["role"] == "assistant":
        raise WorkloadError(
            f"{place}: column {column!r}: the last chat message must be one to respond to, but "
            + ("there is none" if not found else "its role is assistant")
        )
    return found


def _answer_column(spec: WorkloadSpec) -> str:
    return spec.columns.get(_ANSWER, _ANSWER)


def _place(spec: WorkloadSpec, number: int) -> str:
    return f"data: {spec.path(str(spec.data))}: row {number}"
