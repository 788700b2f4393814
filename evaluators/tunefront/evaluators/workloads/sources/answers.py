"""Responses that have a right answer: the metric, and when a text equals another."""

import re
import string

from tunefront.spaces.metric import Metric

EXACT_MATCH = Metric(
    name="exact_match",
    unit="",
    direction="maximize",
    summary="share of responses that equal the answer",
    lowest=0.0,
    highest=1.0,
)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def same_answer(response: str, answer: str) -> bool:
    """Return whether two texts are equal without case, punctuation, articles and spaces.

    The normalization is that of SQuAD (Rajpurkar et al. 2016).
    """
    return _plain(response) == _plain(answer)


def _plain(text: str) -> str:
    letters = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(_ARTICLES.sub(" ", letters).split())
