"""The searches below a folder, each with how far it is and what it found."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from tunefront.search.experiment.experiment import Experiment
from tunefront.search.experiment.resolver import load_experiment
from tunefront.search.results.archive import experiment_of
from tunefront.search.results.metadata import METADATA_FILE
from tunefront.search.study.study import STUDY_FILE as STUDY
from tunefront.spaces import TunefrontError

from .status import SearchStatus, status_of

ASIDE = re.compile(r".+\.\d{8}-\d{6}")
PATTERN = f"results/*/{METADATA_FILE}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A search that left a record.

    Attributes:
        folder: Where its record lies.
        changed: When the record was changed last.
        status: How far it is; None where it can't be read.
        problem: Why it can't be read; empty where it can.
        aside: Why `tunefront run` does not go on with it; empty where it does.
    """

    folder: Path
    changed: datetime
    status: SearchStatus | None
    problem: str = ""
    aside: str = ""

    @property
    def told(self) -> str:
        """What it found, or why that can't be read; before it what is the matter with its file."""
        found = self.problem or "nothing yet"
        if self.status is not None and self.status.answer is not None:
            found = self.status.answer.headline()
        return f"{self.aside}: {found}" if self.aside else found


def searches_below(folder: Path) -> list[Search]:
    """All searches whose results lie below a folder, the one changed last first."""
    found = [_search(path.parent) for path in sorted(folder.rglob(PATTERN))]
    return sorted(found, key=lambda search: search.changed, reverse=True)


def _search(folder: Path) -> Search:
    record = folder / STUDY
    changed = datetime.fromtimestamp((record if record.is_file() else folder).stat().st_mtime)
    for experiment in _experiments(folder.parent.parent):
        if experiment.results == folder.absolute():
            return _read(folder, changed, experiment, "")
    aside = "its experiment file is gone, or has another name"
    if ASIDE.fullmatch(folder.name):
        aside = "put aside by --fresh"
    return _read(folder, changed, None, aside)


def _read(folder: Path, changed: datetime, experiment: Experiment | None, aside: str) -> Search:
    """The search by its file, or by its record alone where it has none."""
    try:
        status = status_of(experiment or experiment_of(folder))
    except TunefrontError as error:
        return Search(folder=folder, changed=changed, status=None, problem=str(error), aside=aside)
    if experiment is None:  # a driver of that name is another search's
        status = replace(status, driver=None)
    return Search(folder=folder, changed=changed, status=status, aside=aside)


def _experiments(folder: Path) -> Iterator[Experiment]:
    """The experiments whose files lie in a folder, and their quick checks."""
    for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
        for smoke in (False, True):
            try:
                yield load_experiment(path, smoke=smoke)
            except TunefrontError:
                break  # another kind of file, or one for another machine
