"""The searches below a folder, each with how far it is and what it found."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tunefront.spaces import TunefrontError

from .experiment import Experiment, load_experiment
from .record import FILE
from .study import FILE as STUDY
from .watch import Status, status_of

ASIDE = re.compile(r".+\.\d{8}-\d{6}")
PATTERN = f"results/*/{FILE}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A search that left a record.

    Attributes:
        folder: Where its record lies.
        changed: When the record was changed last.
        status: How far it is; None where it can't be read.
        problem: Why it can't be read; empty where it can.
    """

    folder: Path
    changed: datetime
    status: Status | None
    problem: str = ""

    @property
    def told(self) -> str:
        """What it found, or why that can't be read."""
        if self.status is None or self.status.answer is None:
            return self.problem or "nothing yet"
        return self.status.answer.headline()


def searches_below(folder: Path) -> list[Search]:
    """All searches whose results lie below a folder, the one changed last first."""
    found = [_search(path.parent) for path in sorted(folder.rglob(PATTERN))]
    return sorted(found, key=lambda search: search.changed, reverse=True)


def _search(folder: Path) -> Search:
    record = folder / STUDY
    changed = datetime.fromtimestamp((record if record.is_file() else folder).stat().st_mtime)
    problem = "its experiment file is gone, or has another name"
    if ASIDE.fullmatch(folder.name):
        problem = "put aside by --fresh"
    for experiment in _experiments(folder.parent.parent):
        if experiment.results == folder.absolute():
            try:
                return Search(folder=folder, changed=changed, status=status_of(experiment))
            except TunefrontError as error:
                problem = str(error)
    return Search(folder=folder, changed=changed, status=None, problem=problem)


def _experiments(folder: Path) -> Iterator[Experiment]:
    """The experiments whose files lie in a folder, and their quick checks."""
    for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
        for smoke in (False, True):
            try:
                yield load_experiment(path, smoke=smoke)
            except TunefrontError:
                break  # another kind of file, or one for another machine
