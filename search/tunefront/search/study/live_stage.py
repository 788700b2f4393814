"""Live stage of running trials: one small file for each, in the search's results folder.

It is for display only. A missing or outdated file affects the status shown, not the trial.
"""

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

STAGE_TEXTS = {
    "prepare": "preparing requests",
    "build": "building",
    "quality": "evaluating quality",
    "measure": "measuring",
    "probes": "measuring the capacity",
}
"""Displayed texts for the stages of an evaluation."""
CONFIRMATION = "confirmation"
"""Name of the stage file of a confirmation round."""
STARTING = "starting"
"""Text shown before the worker has reported a stage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveStage:
    """Current stage of a running trial.

    Attributes:
        stage: Name of the stage.
        since: Start of the stage or of the wait, seconds since the epoch.
        waiting: What the stage waits for; empty while it works.
    """

    stage: str
    since: float
    waiting: str = ""

    @property
    def text(self) -> str:
        """Displayed text: what the stage waits for, else its name."""
        return self.waiting or STAGE_TEXTS.get(self.stage, self.stage)


def stage_file(folder: Path, number: int | str) -> Path:
    """Return the path of a stage file.

    Args:
        folder: The search's results folder.
        number: The trial's number, or `CONFIRMATION`.
    """
    name = f"{number:05}" if isinstance(number, int) else number
    return folder / "trials" / f"{name}.stage"


def note_stage(folder: Path, number: int | str, stage: str, waiting: str = "") -> None:
    """Record that a stage or its wait begins now; errors of the file system are ignored."""
    path = stage_file(folder, number)
    partial = path.with_name(f".{path.name}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        now = {"stage": stage, "since": time.time(), "waiting": waiting}
        partial.write_text(json.dumps(now))
        partial.rename(path)


def note_wait(folder: Path, number: int | str, waiting: str) -> None:
    """Record what the current stage waits for, empty when the wait has ended."""
    found = stage_of(folder, number)
    note_stage(folder, number, found.stage if found is not None else STARTING, waiting)


def stage_of(folder: Path, number: int | str) -> LiveStage | None:
    """Return a trial's current stage; None if its file is missing or unreadable."""
    try:
        found = json.loads(stage_file(folder, number).read_text())
    except (OSError, ValueError):
        return None
    return LiveStage(
        stage=str(found["stage"]), since=float(found["since"]), waiting=str(found["waiting"])
    )


def stage_versions(folder: Path) -> list[tuple[str, int]]:
    """Return names and modification times (ns) of all stage files, to detect changes."""
    seen: list[tuple[str, int]] = []
    for path in (folder / "trials").glob("[!.]*.stage"):
        with suppress(FileNotFoundError):  # the trial has just ended
            seen.append((path.name, path.stat().st_mtime_ns))
    return sorted(seen)


def delete_stage(folder: Path, number: int | str) -> None:
    """Delete the stage file of a trial, or a confirmation round, that has ended."""
    stage_file(folder, number).unlink(missing_ok=True)


def delete_stages(folder: Path) -> None:
    """Delete all stage files."""
    for path in (folder / "trials").glob("*.stage"):
        path.unlink(missing_ok=True)
