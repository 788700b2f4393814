"""What a worker is doing: a small file a trial that runs, in the results, for whoever looks.

Nothing depends on it: a file that is missing or old costs a word on a screen, never a trial.
"""

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

STAGE_TEXTS = {
    "prepare": "preparing requests",
    "build": "building",
    "quality": "judging quality",
    "measure": "measuring",
}
"""The stages of an evaluation, as they are told."""
STARTING = "starting"
"""What a trial does before its worker has said anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doing:
    """What a trial that runs is at.

    Attributes:
        stage: The stage.
        since: When it began, in seconds since the epoch.
    """

    stage: str
    since: float

    @property
    def word(self) -> str:
        """The stage in words."""
        return STAGE_TEXTS.get(self.stage, self.stage)


def stage_file(folder: Path, number: int) -> Path:
    """Where a worker says what it is doing; `folder` is the search's."""
    return folder / "trials" / f"{number:05}.stage"


def note_stage(folder: Path, number: int, stage: str) -> None:
    """Say that a stage of a trial begins now; a full disk is no reason to fail."""
    path = stage_file(folder, number)
    partial = path.with_name(f".{path.name}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps({"stage": stage, "since": time.time()}))
        partial.rename(path)


def doing(folder: Path, number: int) -> Doing | None:
    """What a trial is at; None where its worker has not said anything."""
    try:
        found = json.loads(stage_file(folder, number).read_text())
    except (OSError, ValueError):
        return None
    return Doing(stage=str(found["stage"]), since=float(found["since"]))


def stages_seen(folder: Path) -> list[tuple[str, int]]:
    """Changes whenever a trial has said something."""
    seen: list[tuple[str, int]] = []
    for path in (folder / "trials").glob("[!.]*.stage"):
        with suppress(FileNotFoundError):  # it has just ended
            seen.append((path.name, path.stat().st_mtime_ns))
    return sorted(seen)


def forget_stage(folder: Path, number: int) -> None:
    """The trial runs no more."""
    stage_file(folder, number).unlink(missing_ok=True)


def forget_stages(folder: Path) -> None:
    """No trial runs."""
    for path in (folder / "trials").glob("*.stage"):
        path.unlink(missing_ok=True)
