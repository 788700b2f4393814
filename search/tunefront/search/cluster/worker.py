"""The Tune trainable: runs one trial in a worker and writes its result before reporting it."""

import json
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunefront.evaluators import Evaluation
from tunefront.evaluators.isolation.call import run_plain
from tunefront.evaluators.isolation.codec import to_plain
from tunefront.search.study.atomic_write import write_whole
from tunefront.spaces import named_error

WORKER_LOG_LINES = 20


def trainable(job: Mapping[str, Any], body: str) -> None:
    """Run one trial: write the result file first, then report to Tune.

    Args:
        job: Plain values of the job.
        body: `module:function` that takes a job and returns an evaluation.
    """
    from ray import tune

    evaluation = evaluated(job, body)
    write_whole(result_file(Path(job["folder"]), job["number"]), json.dumps(evaluation))
    tune.report({"number": job["number"], "evaluation": json.dumps(evaluation)})


def evaluated(job: Mapping[str, Any], body: str) -> Mapping[str, Any]:
    """Run the body and return its evaluation; an exception becomes a failed evaluation."""
    found: Mapping[str, Any]
    try:
        found = run_plain(body, job)
    except Exception as error:  # at the trial's border every error becomes the trial's result
        lines = traceback.format_exc().splitlines()
        failed = Evaluation(
            status="failed",
            cause="exception",
            stage="prepare",
            message=named_error(error),
            log=tuple(lines[-WORKER_LOG_LINES:]),
        )
        found = to_plain(failed)
    return found


def result_file(folder: Path, number: int) -> Path:
    """Return the file a worker writes its result to before reporting it."""
    return folder / "trials" / f"{number:05}.json"


def log_file(folder: Path, number: int) -> Path:
    """Return the log file for the output of a trial's steps."""
    return folder / "logs" / f"{number:05}.log"
