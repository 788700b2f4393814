"""Make a retrieval task of the Python documentation that every interpreter carries.

    python prepare_retrieval.py OUTPUT_FOLDER

`pydoc_data.topics` holds the language reference's sections as text. They are cut into passages of
a few hundred characters; a query is one sentence, and the passage that it was taken from is the
one to find. Two files of {"query", "document"} rows are written: OUTPUT_FOLDER/retrieval.jsonl, and
OUTPUT_FOLDER/calibration.jsonl from other sections, for calibration. What is written depends on the
Python version alone.
"""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from pydoc_data.topics import topics

PASSAGE = 700  # characters, about; longer ones would be cut by the model
SENTENCE = (40, 200)  # characters of a query
PASSAGES = 256
QUERIES = 2  # a passage


def passages(text: str) -> Iterator[str]:
    """Whole paragraphs together, up to about the wanted length."""
    gathered = ""
    for paragraph in re.split(r"\n\s*\n", text):
        plain = " ".join(paragraph.split())
        if gathered and len(gathered) + len(plain) > PASSAGE:
            yield gathered
            gathered = ""
        gathered = f"{gathered} {plain}".strip()
    if gathered:
        yield gathered


def queries(passage: str) -> list[str]:
    """A few sentences of the passage, spread over it; none from one that has too few."""
    low, high = SENTENCE
    sentences = re.split(r"(?<=[.:])\s+(?=[A-Z])", passage)
    usable = [s for s in sentences if low <= len(s) <= high and s.count(" ") >= 5]
    if len(usable) < QUERIES or len(sentences) < 4:
        return []
    return usable[:: max(1, len(usable) // QUERIES)][:QUERIES]


def rows(texts: Sequence[str], count: int) -> list[dict[str, str]]:
    """Rows of up to `count` passages, taken evenly over all texts."""
    usable = [p for text in texts for p in passages(text) if len(p) <= 2 * PASSAGE and queries(p)]
    chosen = usable[:: max(1, len(usable) // count)][:count]
    return [
        {"query": query, "document": passage} for passage in chosen for query in queries(passage)
    ]


def main() -> None:
    """Write both files into the folder named on the command line."""
    if len(sys.argv) != 2:
        sys.exit("usage: python prepare_retrieval.py OUTPUT_FOLDER")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    texts = [text for _, text in sorted(topics.items())]
    parts = {
        "retrieval.jsonl": rows([t for i, t in enumerate(texts) if i % 5], PASSAGES),
        "calibration.jsonl": rows(texts[::5], PASSAGES // 8),
    }
    for name, made in parts.items():
        text = "".join(json.dumps(row) + "\n" for row in made)
        (folder / name).write_text(text, encoding="utf-8")
        print(f"{name}: {len(made)} rows", file=sys.stderr)


if __name__ == "__main__":
    main()
