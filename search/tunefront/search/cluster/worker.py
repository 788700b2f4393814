"""What Tune runs in a worker: one trial, its result kept before it is reported."""

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
"""What a trial does in its worker: from its job to an evaluation, both as plain values."""


def trainable(job: Mapping[str, Any], body: str) -> None:
    """A trial in its worker: result file first, report second."""
    from ray import tune

    evaluation = evaluated(job, body)
    write_whole(result_file(Path(job["folder"]), job["number"]), json.dumps(evaluation))
    tune.report({"number": job["number"], "evaluation": json.dumps(evaluation)})


def evaluated(job: Mapping[str, Any], body: str) -> Mapping[str, Any]:
    """What the body came to; its exception is a failed trial."""
    module, _, function = body.partition(":")
    try:
        found: Mapping[str, Any] = getattr(importlib.import_module(module), function)(job)
    except Exception as error:  # the trial's border: whatever happens is its result
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
    """Where a worker leaves its result before it reports it."""
    return folder / "trials" / f"{number:05}.json"


def log_file(folder: Path, number: int) -> Path:
    """Where the output of a trial's steps goes."""
    return folder / "logs" / f"{number:05}.log"
