"""Words for what is printed."""

from collections.abc import Callable, Sequence

Say = Callable[[str], None]
"""Called with a line for everything that happens."""
MOST_LISTED = 5
"""Numbers of trials that are all named."""


def counted(count: int, noun: str) -> str:
    """`1 trial`, `1,234 trials`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listed(numbers: Sequence[int]) -> str:
    """Numbers of trials as they are shown; of many the first ones and the last."""
    shown = [f"{number:03}" for number in numbers]
    if len(shown) > MOST_LISTED:
        shown = [*shown[: MOST_LISTED - 1], "...", shown[-1]]
    return ", ".join(shown)


def one_line(text: str) -> str:
    """A text with its line breaks as signs, and no more than one space in a row."""
    return " ".join(text.replace("\n", " ⏎ ").split()) or "(nothing)"
