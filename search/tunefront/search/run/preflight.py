"""What is made and checked before the first trial, and what all evaluations of a search share."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunefront.evaluators import (
    Isolation,
    Setting,
    describe_workload,
)
from tunefront.evaluators.store.store import make_once
from tunefront.search.experiment.evaluation_settings import setting_of
from tunefront.search.experiment.experiment import Experiment, Prepare
from tunefront.search.study.study import STUDY_FILE
from tunefront.search.text import Say, counted
from tunefront.search.tracking.store import check_reachable
from tunefront.spaces import (
    Enumeration,
    SpaceError,
    TrackingError,
    WorkloadError,
)


def check_tracking(experiment: Experiment, say: Say, *, fresh: bool) -> None:
    """Refuse an MLflow that can't be reached, unless a search goes on: it is written later then."""
    try:
        check_reachable(experiment)
    except TrackingError as error:
        if fresh or not (experiment.results / STUDY_FILE).is_file():
            raise
        say(str(error))
        say("the search goes on without it")


def runnable_or_error(experiment: Experiment) -> Enumeration:
    """The space listed.

    Raises:
        SpaceError: If nothing in it can run, with the reasons.
    """
    enumeration = experiment.space.enumerate()
    if not enumeration.runnable:
        reasons = "; ".join(f"{d.reason} ({d.count})" for d in enumeration.dropped[:5])
        raise SpaceError(
            f"{experiment.path}: nothing of the space can run here, of "
            f"{counted(enumeration.total, 'configuration')}: {reasons}; see "
            f"`tunefront run {experiment.path} --dry-run`"
        )
    return enumeration


def prepare(step: Prepare | None, say: Say) -> None:
    """Run the script that makes model and data, unless what it makes is there.

    Raises:
        WorkloadError: If it fails.
    """
    if step is None:
        return

    def fill(folder: Path) -> None:
        say(f"preparing model and data once: {step.script} -> {step.folder}")
        done = subprocess.run(
            [sys.executable, str(step.script), str(folder)],
            check=False,
            stdout=sys.stderr,
            env={**os.environ, "TQDM_DISABLE": "1"},  # no progress bars of libraries
        )
        if done.returncode != 0:
            raise WorkloadError(f"prepare: {step.script} ended with exit code {done.returncode}")

    make_once(step.folder, fill)


def check_workload(experiment: Experiment, say: Say) -> tuple[Setting, Mapping[str, Any]]:
    """Load model and data once, in a process of their own, before anything is started.

    Raises:
        WorkloadError: If either can't be used.
    """
    say("checking model and data")
    isolation = Isolation()
    try:
        log = experiment.results / "logs" / "workload.log"
        described = describe_workload(experiment.workload, isolation, log)
    finally:
        isolation.close()
    return setting_of(experiment, str(described["fingerprint"])), described
