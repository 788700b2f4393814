"""Prompt lookup: tokens that followed the same words earlier are proposed, and verified together.

The script of an export contains the source of `looked_up`.
"""

NGRAM_TOKENS = 3
"""Largest number of tokens at the end of a text that are looked up."""


def looked_up(tokens: list[int], count: int, longest: int) -> list[int]:
    """Return the tokens that followed the last ones of a text where these stood before.

    As many of the last tokens as possible are looked up, and of several places the last counts.
    Beyond the end of the text its repetition continues: `1 2 1` is followed by `2 1 2 1`.

    Args:
        tokens: The text: prompt and response so far.
        count: Number of tokens to return; none are if the last token stands nowhere else.
        longest: Largest number of tokens that are looked up.
    """
    for size in range(min(longest, len(tokens) - 1), 0, -1) if count else ():
        for start in range(len(tokens) - size - 1, -1, -1):
            if tokens[start : start + size] == tokens[-size:]:
                text = list(tokens)
                for place in range(start + size, start + size + count):
                    text.append(text[place])
                return text[len(tokens) :]
    return []
