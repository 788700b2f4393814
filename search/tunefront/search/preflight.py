"""What is made and checked before the first trial, and what all evaluations of a search share."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunefront.evaluators import (
    QUALITY_DROP,
    Isolation,
    Setting,
    describe_workload,
    quality_metrics,
    stages_folder,
)
from tunefront.evaluators.store.store import make_once
from tunefront.search.tracking.store import check_reachable
from tunefront.spaces import (
    Enumeration,
    ExperimentError,
    SpaceError,
    TrackingError,
    WorkloadError,
    detect_hardware,
)

from .experiment import Experiment, Prepare
from .record import read_record
from .study import STUDY_FILE
from .text import Say, counted

JUDGING = ("task", "max_length", "items", "metric", "direction", "inputs", "quality")
"""Of the workload, what figures depend on beside model and data."""
TRIAL_MEMORY_SHARE = 0.9
"""Of the machine's memory, for all trials at a time together."""


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


def setting_of(experiment: Experiment, fingerprint: str) -> Setting:
    """What all evaluations of the search share."""
    hardware = detect_hardware()
    return Setting(
        workload=experiment.workload,
        fingerprint=fingerprint,
        store=str(stages_folder()),
        protocol=experiment.protocol,
        timeouts=experiment.timeouts,
        build_cores=max(1, hardware.cores // experiment.concurrent_trials),
        memory_mb=int(TRIAL_MEMORY_SHARE * hardware.memory_mb / experiment.concurrent_trials),
        baseline=experiment.baseline,
        quality_limit=_quality_limit(experiment),
        quality_matters=any(
            o.metric in quality_metrics(experiment.workload) or o.metric == QUALITY_DROP.name
            for o in experiment.objectives
        ),
    )


def _quality_limit(experiment: Experiment) -> float | None:
    """The tightest bound on the loss of quality, in percent."""
    bounds = [
        limit.bound
        for limit in experiment.limits
        if limit.metric == QUALITY_DROP.name and limit.test == "<="
    ]
    return min(bounds) if bounds and experiment.early_stop else None


def identity(experiment: Experiment, described: Mapping[str, Any]) -> dict[str, object]:
    """What figures depend on beside the configuration, in words."""
    hardware = detect_hardware()
    spec = experiment.workload.to_dict()
    judging = {name: spec[name] for name in JUDGING if spec[name] is not None}
    return {
        "model and data": described["fingerprint"],
        "workload": ", ".join(f"{name} {value}" for name, value in judging.items()),
        "machine": f"{hardware.summary()} [{hardware.fingerprint}]",
        "libraries": ", ".join(f"{n} {v}" for n, v in sorted(hardware.libraries.items())),
    }


def recorded_setting(experiment: Experiment) -> Setting:
    """What the evaluations of a recorded search shared.

    Raises:
        ExperimentError: If nothing has been run.
    """
    record = read_record(experiment)
    if not record:
        raise ExperimentError(f"{experiment.name}: nothing has been run; {experiment.results}")
    return setting_of(experiment, str(record["workload"]["fingerprint"]))
