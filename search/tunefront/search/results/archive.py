"""Recorded searches, read from their record; the experiment file can have changed or be missing."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tunefront.search.experiment.document import find_experiment, read_document, slug_of
from tunefront.search.experiment.experiment import Experiment
from tunefront.search.experiment.resolver import load_experiment, recorded_experiment
from tunefront.search.study.study import Study
from tunefront.search.text import command_text
from tunefront.spaces import Gpu, Hardware, StudyError, TunefrontError

from .metadata import METADATA_FILE, check_name, read_record
from .result import Result, study_result

_TO_RUN = ("budget.until", "budget=", "prepare", "warm_start")
"""Prefixes of the overrides that only a run needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedSearch:
    """A search as it was last run.

    Attributes:
        folder: The folder of the record.
        result: The result.
        record: The metadata written next to the study at the start of the search.
        identity: What the measurements depend on in addition to the configuration.
    """

    folder: Path
    result: Result
    record: Mapping[str, Any]
    identity: Mapping[str, Any]

    @property
    def experiment(self) -> Experiment:
        """The experiment of the search."""
        return self.result.experiment

    @property
    def machine(self) -> Mapping[str, Any]:
        """The machine that the search ran on; empty if not recorded."""
        found: Mapping[str, Any] = self.record.get("machine", {})
        return found

    @property
    def content(self) -> str:
        """The fingerprint of model and data; empty if not recorded."""
        return str(self.record.get("workload", {}).get("fingerprint", ""))

    @property
    def started(self) -> datetime | None:
        """The start of the first trial; None if not recorded."""
        return min((t.started for t in self.result.trials if t.started), default=None)

    @property
    def ended(self) -> datetime | None:
        """The end of the last trial; None if not recorded."""
        return max((t.ended for t in self.result.trials if t.ended), default=None)


def is_record(path: Path) -> bool:
    """Return whether a path is the folder of a search's record."""
    return (path / METADATA_FILE).is_file()


def open_search(path: Path) -> Experiment:
    """Load the experiment of an experiment file, its folder, or the folder of a record."""
    return experiment_of(path) if is_record(path) else load_searched(path)


def load_searched(path: Path, *, smoke: bool = False) -> Experiment:
    """Load the experiment of a file with the `--set` overrides of its last run.

    Overrides that only a run needs are left out, so that a deadline that has passed or a file that
    is now missing does not prevent showing the result.
    """
    loaded = load_experiment(path, smoke=smoke)
    laid = read_record(loaded).get("overrides", ())
    overrides = [text for text in laid if not text.startswith(_TO_RUN)]
    return load_experiment(path, overrides, smoke=smoke) if overrides else loaded


def read_search(path: Path) -> RecordedSearch:
    """Read a search from its record.

    Args:
        path: An experiment file, its folder, or the folder of a record: `results/NAME`, including
            records archived by `--fresh`.

    Raises:
        StudyError: If there is no record, or it can't be read.
        ExperimentError: If the path is neither a record nor an experiment.
    """
    folder = path if is_record(path) else _record_of(path)
    experiment = experiment_of(folder)
    study = Study.read(experiment)
    return RecordedSearch(
        folder=folder.absolute(),
        result=study_result(study),
        record=_read(folder),
        identity=study.identity,
    )


def experiment_of(folder: Path) -> Experiment:
    """Restore the experiment of a record from the record alone.

    Raises:
        StudyError: If the record is incomplete or can't be read.
    """
    record = _read(folder)
    try:
        return recorded_experiment(
            record["experiment"], _machine(record), folder, smoke=bool(record.get("smoke"))
        )
    except KeyError as error:
        raise StudyError(
            f"{folder / METADATA_FILE} lacks {error.args[0]!r}: it is incomplete; the same "
            "`tunefront run` command writes it again; it runs no trial if all have finished"
        ) from error
    except TunefrontError as error:
        raise StudyError(
            f"{folder / METADATA_FILE}: the experiment can't be read: {error}"
        ) from error


def _record_of(path: Path) -> Path:
    """Return the record folder of an experiment file, which need not be valid any more.

    Raises:
        ExperimentError: If there is no experiment file.
        StudyError: If the folder holds no record, or that of an experiment of another name.
    """
    file = find_experiment(path)
    name = str(read_document(file).values.get("name", ""))
    folder = file.parent.absolute() / "results" / slug_of(name)
    if not is_record(folder):
        raise StudyError(
            f"{file}: no record in {folder}; start with `{command_text('run', file)}`, or name a "
            f"folder that holds {METADATA_FILE}"
        )
    check_name(_read(folder), name, folder)
    return folder


def _read(folder: Path) -> Mapping[str, Any]:
    path = folder / METADATA_FILE
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StudyError(f"{path} can't be read: {error}") from error
    if not isinstance(record, dict):
        raise StudyError(f"{path}: keys and values are needed, but got {type(record).__name__}")
    return record


def _machine(record: Mapping[str, Any]) -> Hardware:
    """Return the machine of a record; KeyError if a field is missing."""
    known = record["machine"]
    return Hardware(
        cpu=known["cpu"],
        cores=int(known["cores"]),
        memory_mb=int(known["memory_mb"]),
        physical_cores=known.get("physical_cores"),
        isa=frozenset(known["isa"]),
        gpus=tuple(
            Gpu(
                name=gpu["name"],
                memory_mb=int(gpu["memory_mb"]),
                capability=(int(gpu["capability"][0]), int(gpu["capability"][1])),
            )
            for gpu in known["gpus"]
        ),
        libraries=dict(known["libraries"]),
    )
