"""What a candidate answers to a few items, in words that a person can judge."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

SAMPLES_FILE = "samples.json"
LONGEST_TEXT = 160
"""Letters of a text that are kept: enough to judge by, and no more of the user's data than that."""
NOT_FINITE = "(not a number)"
"""What stands for an answer that is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One item, and what a candidate answers to it.

    Attributes:
        item: Its place among the items that quality is judged on.
        input: What was asked.
        output: What the candidate answers.
        expected: What the data says; empty where it says nothing.
        right: Whether the answer is the right one; None where that is no yes or no.
        score: A figure that came with the answer; None where none did.
        score_name: What that figure is.
    """

    item: int
    input: str
    output: str
    expected: str = ""
    right: bool | None = None
    score: float | None = None
    score_name: str = ""


def shortened(text: str, *, end: bool = False) -> str:
    """At most `LONGEST` letters of a text, its beginning or its end; none that steer a terminal."""
    shown = "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)
    if len(shown) <= LONGEST_TEXT:
        return shown
    kept = LONGEST_TEXT - len("...")
    return f"...{shown[-kept:]}" if end else f"{shown[:kept]}..."


def write_samples(samples: Sequence[Sample], folder: Path) -> None:
    """Samples into a folder."""
    (folder / SAMPLES_FILE).write_text(json.dumps([asdict(sample) for sample in samples]))


def read_samples(folder: Path) -> tuple[Sample, ...]:
    """The samples that `write_samples` left."""
    return tuple(Sample(**fields) for fields in json.loads((folder / SAMPLES_FILE).read_text()))
