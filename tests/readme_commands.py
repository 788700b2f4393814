"""Execute the commands of README.md and docs/**/*.md: each `$` line of their console blocks.

python tests/readme_commands.py

All run in one copy of the repository, each distinct command once, the README's first and then those
of the pages by path. A search runs few trials. Blocks of another language (`sh`) are not executed.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parent.parent
KEPT_OUT = shutil.ignore_patterns(".git", ".venv", "results", "__pycache__", ".*_cache")
SHORTER = (
    "budget.trials=3",
    "confirmation.finalists=1",
    "confirmation.rounds=1",
    "measurement.seconds=0.2",
    "measurement.precision=0.5",
    "measurement.turns=3",
    "measurement.requests=2",
    "measurement.wait=0",
)
"""Overrides of every search that does not say how many trials it runs: its figures are not read."""
COLOURS = ("red", "green", "blue", "white", "black", "brown", "grey", "yellow")
THINGS = ("house", "river", "engine", "letter", "mountain", "ship", "garden", "bridge")


def pages(root: Path) -> list[Path]:
    """The README, then the documentation by path."""
    return [root / "README.md", *sorted((root / "docs").rglob("*.md"))]


def commands(texts: Iterable[str]) -> list[str]:
    """The lines after `$` in console blocks, in order, each once."""
    blocks = [b for text in texts for b in re.findall(r"```console\n(.*?)```", text, re.DOTALL)]
    lines = [line for block in blocks for line in block.splitlines()]
    return list(dict.fromkeys(line.removeprefix("$ ") for line in lines if line.startswith("$ ")))


def shortened(command: str) -> list[str]:
    """The words of a command; a search gets few trials."""
    words = shlex.split(command)
    searches = words[:2] == ["tunefront", "run"] and "--dry-run" not in words
    if not searches or "budget.trials" in command:
        return words
    return [*words, *(word for override in SHORTER for word in ("--set", override))]


def write_data(path: Path) -> None:
    """The `data.jsonl` of the examples: 64 short documents, and a query for each."""
    pairs = [(colour, thing) for colour in COLOURS for thing in THINGS]
    rows = [
        {
            "query": f"Which {thing} is {colour}?",
            "document": f"The {thing} at the end of the road is painted {colour}.",
        }
        for colour, thing in pairs
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def main() -> int:
    """Run them all; the number that failed."""
    found = commands(page.read_text() for page in pages(ROOT))
    if not found:
        sys.exit("README.md and docs/ hold no commands")
    binaries = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": os.pathsep.join([binaries, os.environ["PATH"]])}
    failed = 0
    with tempfile.TemporaryDirectory(prefix="tunefront-") as name:
        copy = Path(name, "repository")
        shutil.copytree(ROOT, copy, ignore=KEPT_OUT)
        write_data(copy / "data.jsonl")
        for command in found:
            words = shortened(command)
            print(f"$ {shlex.join(words)}", flush=True)
            done = subprocess.run(words, cwd=copy, env=environment, check=False)
            if done.returncode != 0:
                print(f"exit code {done.returncode}: {command}", file=sys.stderr)
                failed += 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
