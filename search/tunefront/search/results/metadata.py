"""The metadata that a search writes next to its study, and reading of recorded searches."""

import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from tunefront.evaluators import EvaluationSettings, WorkloadDescription
from tunefront.evaluators.isolation.codec import to_plain
from tunefront.search.experiment.evaluation_settings import settings_of
from tunefront.search.experiment.experiment import Experiment
from tunefront.search.experiment.references import to_run
from tunefront.search.experiment.resolver import SMOKE_SUFFIX
from tunefront.search.experiment.schema import BudgetSection, ExperimentSection
from tunefront.search.study.atomic_write import write_whole
from tunefront.search.study.study import STUDY_FILE as STUDY
from tunefront.search.study.study import Study
from tunefront.search.text import command_text
from tunefront.spaces import (
    Enumeration,
    ExperimentError,
    StudyError,
    detect_hardware,
    show,
)

from .result import Result, study_result

METADATA_FILE = "search.json"


def write_record(
    experiment: Experiment, enumeration: Enumeration, described: WorkloadDescription
) -> None:
    """Write experiment, workload, machine and space with dropped combinations next to the study."""
    hardware = detect_hardware()
    record = {
        "experiment": dict(experiment.written),
        "overrides": list(experiment.overrides),
        "smoke": experiment.smoke,
        "workload": to_plain(described),
        "machine": {
            "summary": hardware.summary(),
            "fingerprint": hardware.fingerprint,
            "cpu": hardware.cpu,
            "cores": hardware.cores,
            "physical_cores": hardware.physical_cores,
            "memory_mb": hardware.memory_mb,
            "gpus": [
                {
                    "name": gpu.name,
                    "memory_mb": gpu.memory_mb,
                    "capability": list(gpu.capability),
                }
                for gpu in hardware.gpus
            ],
            "isa": sorted(hardware.isa),
            "libraries": dict(hardware.libraries),
        },
        "space": {
            "configurations": enumeration.total,
            "runnable": len(enumeration.runnable),
            "trials": _possible_trials(experiment, enumeration),
            "dropped": [
                {
                    "rule": drop.rule,
                    "reason": drop.reason,
                    "count": drop.count,
                    "values": {n: [show(v) for v in vs] for n, vs in drop.values.items()},
                }
                for drop in enumeration.dropped
            ],
        },
    }
    write_whole(experiment.results / METADATA_FILE, json.dumps(record, indent=2, default=str))


def planned_trials(experiment: Experiment, enumeration: Enumeration) -> int:
    """Return the largest number of trials that a search can run."""
    possible = _possible_trials(experiment, enumeration)
    trials = experiment.budget.trials
    return possible if trials is None else min(possible, trials)


def _possible_trials(experiment: Experiment, enumeration: Enumeration) -> int:
    """Return the number of trials of a search without a budget, the baseline included."""
    given = {experiment.baseline, *to_run(experiment.references, experiment.baseline)}
    return len(enumeration.runnable) + sum(one not in enumeration.runnable for one in given)


def read_record(experiment: Experiment) -> Mapping[str, Any]:
    """Read the metadata that `write_record` wrote; empty if nothing was run.

    Raises:
        StudyError: If the record belongs to an experiment of another name.
    """
    path = experiment.results / METADATA_FILE
    record: Mapping[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    check_name(record, experiment.name, experiment.results)
    return record


def check_name(record: Mapping[str, Any], name: str, folder: Path) -> None:
    """Check that a record belongs to an experiment; different names can give the same folder.

    Args:
        record: The metadata, empty if nothing was run.
        name: The experiment's name, with the suffix of a quick check.
        folder: Folder of the record.

    Raises:
        StudyError: If the record belongs to an experiment of another name.
    """
    written = record.get("experiment", {}).get("name")
    known = f"{written}{SMOKE_SUFFIX if record.get('smoke') else ''}"
    if written is not None and known != name:
        raise StudyError(
            f"{folder} is the record of {known!r}, not of {name!r}: both names give the same "
            "folder; choose a name that differs in letters or digits, or start again with --fresh"
        )


def recorded_result(experiment: Experiment) -> Result:
    """Read the result from the record alone.

    Raises:
        StudyError: If nothing has been run.
    """
    return study_result(Study.read(experiment))


def recorded_trials(record: Mapping[str, Any], skipped: int = 0) -> int | None:
    """Return the largest number of trials that the search can run; None if it has no bound.

    Args:
        record: The metadata that `write_record` wrote.
        skipped: Number of configurations excluded after failures.
    """
    written = record.get("experiment", {})
    default: BudgetSection = ExperimentSection.model_fields["budget"].default
    budget = BudgetSection(**written["budget"]) if "budget" in written else default
    possible = record.get("space", {}).get("trials")
    possible = None if possible is None else possible - skipped
    bounds = [bound for bound in (budget.trials, possible) if bound is not None]
    return min(bounds) if bounds else None


def resume_command(experiment: Experiment, record: Mapping[str, Any]) -> str:
    """Return the command that resumes a search with the overrides it was started with."""
    overrides = [word for text in record.get("overrides", ()) for word in ("--set", text)]
    smoke = ["--smoke"] if experiment.smoke else []
    return command_text("run", experiment.path, *smoke, *overrides)


def archive_record(experiment: Experiment) -> Path | None:
    """Archive an earlier record as `NAME.YYYYMMDD-HHMMSS`, so that the search starts again.

    Return its new folder; None if there is no record.
    """
    if not (experiment.results / STUDY).is_file():
        return None
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    logged = writes_log(experiment)
    archived = experiment.results.with_name(f"{experiment.results.name}.{stamp}")
    experiment.results.rename(archived)
    experiment.results.mkdir()
    if logged:  # this process keeps its log file open
        (archived / log_path(experiment).name).rename(log_path(experiment))
    return archived


def log_path(experiment: Experiment) -> Path:
    """Return the log file of a driver that runs in the background."""
    return experiment.results / "run.log"


def writes_log(experiment: Experiment) -> bool:
    """Return whether this process is the background driver, its stderr being the log file."""
    path = log_path(experiment)
    return path.is_file() and os.path.samestat(path.stat(), os.fstat(2))


def recorded_settings(experiment: Experiment) -> EvaluationSettings:
    """Return the evaluation settings of a recorded search.

    Raises:
        ExperimentError: If nothing has been run.
    """
    record = read_record(experiment)
    if not record:
        raise ExperimentError(f"{experiment.name}: nothing has been run; {experiment.results}")
    return settings_of(experiment, str(record["workload"]["fingerprint"]))
