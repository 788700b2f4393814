"""Which tokens prompt lookup proposes."""

import pytest

from tunefront.evaluators.interfaces.generation.prompt_lookup import looked_up


@pytest.mark.parametrize(
    ("tokens", "count", "expected"),
    [
        ([1, 2, 3, 4, 5, 1, 2, 3], 2, [4, 5]),
        ([9, 3, 7, 1, 2, 3, 8, 1, 2, 3], 1, [8]),
        ([9, 3, 7, 5, 3, 8, 3], 1, [8]),
        ([1, 2, 3, 4, 5, 1, 2, 3], 7, [4, 5, 1, 2, 3, 4, 5]),
        ([4, 4], 3, [4, 4, 4]),
        ([1, 2, 3], 3, []),
        ([1], 3, []),
        ([], 3, []),
        ([1, 2, 1], 0, []),
    ],
    ids=[
        "three tokens",
        "the longest",
        "the last place",
        "beyond the end",
        "a repetition",
        "nothing",
        "one",
        "none",
        "no room",
    ],
)
def test_what_followed_the_last_tokens_is_proposed(
    tokens: list[int], count: int, expected: list[int]
) -> None:
    assert looked_up(tokens, count, longest=3) == expected
