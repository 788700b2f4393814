"""Texts that can be recorded and shown anywhere: no control characters, a bounded length.

Messages, logs and outputs come from models, users' code and libraries. They can contain escape
sequences that control a terminal, unpaired surrogates that no file or database accepts, and
megabytes of data.
"""

import re
from collections.abc import Mapping

LONGEST_FAILURE = 4096
"""Maximum characters of an error message."""
LONGEST_LINE = 1000
"""Maximum characters of other texts: lines of a log, warnings, facts, outputs."""
_CUT = " [...] "
_SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours, movements of the cursor
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\)",  # titles, links, the clipboard
    re.DOTALL,
)
_NEW_LINES = re.compile(r"\r\n?")
_ESCAPED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters except tab and line feed, separators of lines, characters that change the
direction of the text around them, and surrogates."""


def clean_text(text: str, longest: int = LONGEST_LINE) -> str:
    r"""Return a text without control characters, with its middle left out if it is too long.

    Escape sequences of terminals are removed, `\r` becomes a line feed, and each other control
    character or surrogate becomes its escape, such as `\x00` or `\udcff`.

    Args:
        text: The text.
        longest: Maximum characters of the result.
    """
    if len(text) <= longest and text.isprintable():
        return text
    shown = _NEW_LINES.sub("\n", _SEQUENCES.sub("", _shortened(text, longest)))
    return _shortened(_ESCAPED.sub(lambda found: ascii(found[0])[1:-1], shown), longest)


def clean_values(value: object) -> object:
    """Return a JSON value with `clean_text` applied to all texts and keys; others are unchanged."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, Mapping):
        return {clean_values(name): clean_values(one) for name, one in value.items()}
    if type(value) in (list, tuple):
        items = [clean_values(one) for one in value]  # type: ignore[attr-defined]
        return items if isinstance(value, list) else tuple(items)
    return value


def _shortened(text: str, longest: int) -> str:
    """Leave out the middle of a text that is too long."""
    if len(text) <= longest:
        return text
    kept = (longest - len(_CUT)) // 2
    return f"{text[:kept]}{_CUT}{text[-kept:]}"
