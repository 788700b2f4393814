"""Example outputs of a candidate for a few items, as text for human review."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

SAMPLES_FILE = "samples.json"
LONGEST_TEXT = 160
"""Maximum characters of a text: enough to review, and no more of the user's data than needed."""
NOT_FINITE = "(not a number)"
"""Output text of an example whose outputs contain NaN or infinite values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """An example output: one item, and the output of a candidate for it.

    Attributes:
        item: Index among the items that quality is evaluated on.
        input: Text of the input.
        output: Text of the candidate's output.
        expected: Expected output according to the data; empty if the data has none.
        right: Whether the output is correct; None where correctness is not binary.
        score: Score of the output; None if it has none.
        score_name: Name of the score.
    """

    item: int
    input: str
    output: str
    expected: str = ""
    right: bool | None = None
    score: float | None = None
    score_name: str = ""


def shortened(text: str, *, end: bool = False) -> str:
    """Cut a text to its first or last `LONGEST_TEXT` characters; replace unprintable ones.

    Unprintable characters (except newline and tab) could control a terminal.
    """
    shown = "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)
    if len(shown) <= LONGEST_TEXT:
        return shown
    kept = LONGEST_TEXT - len("...")
    return f"...{shown[-kept:]}" if end else f"{shown[:kept]}..."


def write_samples(samples: Sequence[Sample], folder: Path) -> None:
    """Write the examples to `samples.json` in a folder."""
    (folder / SAMPLES_FILE).write_text(json.dumps([asdict(sample) for sample in samples]))


def read_samples(folder: Path) -> tuple[Sample, ...]:
    """Read the examples that `write_samples` wrote."""
    return tuple(Sample(**fields) for fields in json.loads((folder / SAMPLES_FILE).read_text()))
