"""Record of the exports made on this machine, by the sha256 of their manifests.

A manifest's sums show that no file was changed. That the manifest itself was not, only a digest
kept elsewhere can show. Each export is recorded twice: in `exports.jsonl` of its search's results,
and in a folder that only this user can access. Decisions use the second one: where the results are
would be known from the manifest only.
"""

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tunefront.evaluators import cache_folder
from tunefront.evaluators.exports.contents import read_plain
from tunefront.evaluators.exports.folder import manifest_digest
from tunefront.evaluators.isolation.codec import from_plain, to_plain
from tunefront.evaluators.isolation.private_folder import private_folder
from tunefront.search.experiment.experiment import Experiment
from tunefront.search.results.metadata import read_record
from tunefront.search.study.atomic_write import write_whole
from tunefront.spaces import MachineError

RECORD_FILE = "exports.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRecord:
    """An export made on this machine.

    Attributes:
        sha256: The sha256 of its manifest.
        folder: The folder that it was written to.
        trial: The number of its trial.
        name: The experiment's name.
        experiment: The experiment's file.
        overrides: Overrides of the search, `key=value`.
        smoke: Whether the search was a quick check.
        created: When it was recorded.
    """

    sha256: str
    folder: Path
    trial: int
    name: str
    experiment: Path
    overrides: tuple[str, ...] = ()
    smoke: bool = False
    created: str = ""


def record_export(experiment: Experiment, trial: int, folder: Path) -> ExportRecord:
    """Record an export that was just written and verified.

    Raises:
        MachineError: If the folder of records is not accessible to this user alone.
        OSError: If a record can't be written.
    """
    record = ExportRecord(
        sha256=manifest_digest(folder),
        folder=folder.absolute(),
        trial=trial,
        name=experiment.name,
        experiment=experiment.path.absolute(),
        overrides=tuple(read_record(experiment).get("overrides", ())),
        smoke=experiment.smoke,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    line = json.dumps(to_plain(record))
    with (experiment.results / RECORD_FILE).open("a", encoding="utf-8") as stream:
        stream.write(line + "\n")
    write_whole(private_folder(_own_folder()) / f"{record.sha256}.json", line)
    return record


def known_export(sha256: str) -> ExportRecord | None:
    """Return this user's record of the export with that digest; None if there is none."""
    return next((record for record in _own_records(f"{sha256}.json")), None)


def export_recorded_at(folder: Path) -> ExportRecord | None:
    """Return this user's latest record of an export in that folder; None if there is none."""
    here = [record for record in _own_records("*.json") if record.folder == folder.absolute()]
    return max(here, key=lambda record: record.created, default=None)


def digests_by_trial(experiment: Experiment) -> dict[int, str]:
    """Return the digest of the latest export of each trial, from the search's results."""
    try:
        lines = (experiment.results / RECORD_FILE).read_text(encoding="utf-8").splitlines()
        records = [from_plain(ExportRecord, json.loads(line)) for line in lines]
    except (OSError, ValueError):
        return {}
    return {record.trial: record.sha256 for record in records}


def _own_records(pattern: str) -> list[ExportRecord]:
    folder = _own_folder()
    try:
        if not os.path.lexists(folder):
            return []
        files = sorted(private_folder(folder).glob(pattern))
        return [from_plain(ExportRecord, json.loads(read_plain(file))) for file in files]
    except (MachineError, OSError, ValueError):
        return []


def _own_folder() -> Path:
    return cache_folder() / f"exports-{os.getuid()}"
