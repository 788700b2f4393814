"""Formatting of counts, durations, commands, lists of trials and single lines of text."""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from tunefront.evaluators.isolation.cores import OnWait

OnMessage = Callable[[str], None]
"""Callback with one line of text per event."""
MOST_LISTED = 5
"""Maximum number of trials that are listed in full."""
_MINUTE_S, _HOUR_S = 60, 3600


def wait_messages(on_message: OnMessage) -> OnWait:
    """Return a callback that reports each wait for cores as a message."""
    return lambda wait: on_message(wait.text) if wait is not None else None


def counted(count: int, noun: str) -> str:
    """Format a count with its noun: `1 trial`, `1,234 trials`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listed(numbers: Sequence[int]) -> str:
    """Format trial numbers as `003, 012`; of more than 5 the first four and the last."""
    shown = [f"{number:03}" for number in numbers]
    if len(shown) > MOST_LISTED:
        shown = [*shown[: MOST_LISTED - 1], "...", shown[-1]]
    return ", ".join(shown)


def one_line(text: str) -> str:
    """Return a text as one line: line breaks become `⏎`, repeated spaces one; never empty."""
    return " ".join(text.replace("\n", " ⏎ ").split()) or "(nothing)"


def command_text(*words: str | Path) -> str:
    """Format a `tunefront` command for copying: every word is quoted where a shell needs it.

    A path that begins with a hyphen would be taken for an option, and gets a leading `./`.
    """
    return shlex.join(["tunefront", *map(_command_word, words)])


def _command_word(word: str | Path) -> str:
    text = str(word)
    return f"./{text}" if isinstance(word, Path) and text.startswith("-") else text


def duration_text(seconds: float) -> str:
    """Format a duration: `12 s`, `4 min`, `1 h 12 min`."""
    if round(seconds) < _MINUTE_S:
        return f"{max(0.0, seconds):.0f} s"
    minutes = round(seconds / _MINUTE_S)
    if minutes < _HOUR_S / _MINUTE_S:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02} min"
