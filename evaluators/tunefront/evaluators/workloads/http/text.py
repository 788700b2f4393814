"""JSON values as text for review, and compared with right answers."""

import json

from tunefront.evaluators.interfaces.http.agreement import numbers_of
from tunefront.evaluators.workloads.sources.answers import same_answer

SHOWN_NUMBERS = 4
"""First numbers of a list that are shown."""


def json_text(value: object) -> str:
    """Return a JSON value as text; of many numbers the first ones, and how many there are."""
    if isinstance(value, str):
        return value
    numbers = numbers_of(value)
    if numbers is None or numbers.size <= SHOWN_NUMBERS:
        return json.dumps(value, ensure_ascii=False, default=str)
    shown = ", ".join(f"{one:.4g}" for one in numbers.ravel()[:SHOWN_NUMBERS])
    return f"[{shown}, ...] ({' x '.join(map(str, numbers.shape))} numbers)"


def is_answer(value: object, answer: object) -> bool:
    """Return whether a value equals the right answer; two texts as `same_answer` compares them.

    Tables such as csv hold numbers as text: a number also equals its text.
    """
    if isinstance(value, str) and isinstance(answer, str):
        return same_answer(value, answer)
    if isinstance(answer, str):
        return value is not None and json.dumps(value) == answer.strip()
    return value == answer
