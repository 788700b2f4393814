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
}
"""Displayed texts for the stages of an evaluation."""
STARTING = "starting"
"""Text shown before the worker has reported a stage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveStage:
    """Current stage of a running trial.

    Attributes:
        stage: Name of the stage.
        since: Start of the stage, seconds since the epoch.
    """

    stage: str
    since: float

    @property
    def text(self) -> str:
        """Displayed text of the stage."""
        return STAGE_TEXTS.get(self.stage, self.stage)


def stage_file(folder: Path, number: int) -> Path:
    """Return the path of a trial's stage file; `folder` is the search's results folder."""
    return folder / "trials" / f"{number:05}.stage"


def note_stage(folder: Path, number: int, stage: str) -> None:
    """Record that a stage of a trial begins now; errors of the file system are ignored."""
    path = stage_file(folder, number)
    partial = path.with_name(f".{path.name}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps({"stage": stage, "since": time.time()}))
        partial.rename(path)


def stage_of(folder: Path, number: int) -> LiveStage | None:
    """Return a trial's current stage; None if its file is missing or unreadable."""
    try:
        found = json.loads(stage_file(folder, number).read_text())
    except (OSError, ValueError):
        return None
    return LiveStage(stage=str(found["stage"]), since=float(found["since"]))


def stage_versions(folder: Path) -> list[tuple[str, int]]:
    """Return names and modification times (ns) of all stage files, to detect changes."""
    seen: list[tuple[str, int]] = []
    for path in (folder / "trials").glob("[!.]*.stage"):
        with suppress(FileNotFoundError):  # the trial has just ended
            seen.append((path.name, path.stat().st_mtime_ns))
    return sorted(seen)


def delete_stage(folder: Path, number: int) -> None:
    """Delete the stage file of a trial that has ended."""
    stage_file(folder, number).unlink(missing_ok=True)


def delete_stages(folder: Path) -> None:
    """Delete all stage files."""
    for path in (folder / "trials").glob("*.stage"):
        path.unlink(missing_ok=True)
