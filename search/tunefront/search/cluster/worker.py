"""The Tune trainable: runs one trial in a worker and writes its result before reporting it."""

import importlib
import json
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tunefront.evaluators import Evaluation
from tunefront.search.study.atomic_write import write_whole

WORKER_LOG_LINES = 20
Body = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""The function a worker runs: maps a job to an evaluation, both as plain values."""


def trainable(job: Mapping[str, Any], body: str) -> None:
    """Run one trial: write the result file first, then report to Tune."""
    from ray import tune

    evaluation = evaluated(job, body)
    write_whole(result_file(Path(job["folder"]), job["number"]), json.dumps(evaluation))
    tune.report({"number": job["number"], "evaluation": json.dumps(evaluation)})


def evaluated(job: Mapping[str, Any], body: str) -> Mapping[str, Any]:
    """Run the body and return its evaluation; an exception becomes a failed evaluation."""
    module, _, function = body.partition(":")
    try:
        found: Mapping[str, Any] = getattr(importlib.import_module(module), function)(job)
    except Exception as error:  # at the trial's border every error becomes the trial's result
        lines = traceback.format_exc().splitlines()
        return Evaluation(
            status="failed",
            cause="exception",
            stage="prepare",
            message=f"{type(error).__name__}: {error}",
            log=tuple(lines[-WORKER_LOG_LINES:]),
        ).to_dict()
    return found


def result_file(folder: Path, number: int) -> Path:
    """Return the file a worker writes its result to before reporting it."""
    return folder / "trials" / f"{number:05}.json"


def log_file(folder: Path, number: int) -> Path:
    """Return the log file for the output of a trial's steps."""
    return folder / "logs" / f"{number:05}.log"
