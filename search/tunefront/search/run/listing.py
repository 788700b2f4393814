"""The searches below a folder, each with its status and result."""

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

ARCHIVED_NAME = re.compile(r".+\.\d{8}-\d{6}")
PATTERN = f"results/*/{METADATA_FILE}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A recorded search.

    Attributes:
        folder: The folder of its record.
        changed: The time of the record's last change.
        status: Its progress; None if the record can't be read.
        problem: The error if the record can't be read, else empty.
        not_resumed: Why `tunefront run` does not resume it; empty if it does.
    """

    folder: Path
    changed: datetime
    status: SearchStatus | None
    problem: str = ""
    not_resumed: str = ""

    @property
    def summary(self) -> str:
        """The result or the read error, preceded by the reason why it can't be resumed, if any."""
        found = self.problem or "nothing yet"
        if self.status is not None and self.status.result is not None:
            found = self.status.result.headline()
        return f"{self.not_resumed}: {found}" if self.not_resumed else found


def searches_below(folder: Path) -> list[Search]:
    """Return all searches whose results are below a folder, most recently changed first."""
    found = [_search(path.parent) for path in sorted(folder.rglob(PATTERN))]
    return sorted(found, key=lambda search: search.changed, reverse=True)


def _search(folder: Path) -> Search:
    record = folder / STUDY
    changed = datetime.fromtimestamp((record if record.is_file() else folder).stat().st_mtime)
    for experiment in _experiments(folder.parent.parent):
        if experiment.results == folder.absolute():
            return _read(folder, changed, experiment, "")
    not_resumed = "its experiment file is missing or has another name"
    if ARCHIVED_NAME.fullmatch(folder.name):
        not_resumed = "archived by --fresh"
    return _read(folder, changed, None, not_resumed)


def _read(
    folder: Path, changed: datetime, experiment: Experiment | None, not_resumed: str
) -> Search:
    """Read a search through its experiment file, or from its record alone if it has none."""
    try:
        status = status_of(experiment or experiment_of(folder))
    except TunefrontError as error:
        return Search(
            folder=folder, changed=changed, status=None, problem=str(error), not_resumed=not_resumed
        )
    if experiment is None:  # a driver with that lock runs another search of the same name
        status = replace(status, driver=None)
    return Search(folder=folder, changed=changed, status=status, not_resumed=not_resumed)


def _experiments(folder: Path) -> Iterator[Experiment]:
    """Yield the experiments whose files are in a folder, each also as its quick check."""
    for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
        for smoke in (False, True):
            try:
                yield load_experiment(path, smoke=smoke)
            except TunefrontError:
                break  # not an experiment file, or one for another machine
