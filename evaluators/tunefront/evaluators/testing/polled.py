"""What the conformance suites of runtimes with polled endpoints have in common."""

import ast
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import psutil

from tunefront.evaluators.evaluation.built import CandidateRecord
from tunefront.evaluators.interfaces.polled.endpoint import PolledEndpoint
from tunefront.evaluators.pipelines.read_back import not_applied
from tunefront.evaluators.pipelines.workload import AnyWorkload
from tunefront.evaluators.runtimes.base import Built, Runtime, Source
from tunefront.spaces import Catalog, Configuration

from .cases import NotConformant

PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".joblib")
ENDPOINT_END_S = 10.0
"""Seconds within which processes of a closed endpoint must have ended."""
CANCEL_END_S = 60.0
"""Seconds within which the end of a cancelled request must be reported."""


@dataclass(frozen=True)
class PolledCase(ABC):
    """A runtime with a configuration; built when it is first needed.

    Attributes:
        interface: Name of the interface of its endpoints.
        catalog: The catalogue of the configuration.
        runtime: The runtime.
        configuration: The complete configuration.
        source: The input of the build.
        folder: An empty folder for the build.
    """

    interface: ClassVar[str]
    catalog: Catalog
    runtime: Runtime
    configuration: Configuration
    source: Source
    folder: Path

    @cached_property
    def built(self) -> Built:
        """The built candidate."""
        settings = self.runtime.build(self.source, self.configuration, self.folder)
        return Built(folder=self.folder, settings=settings)

    @property
    def record(self) -> CandidateRecord:
        """The record of the built candidate."""
        return CandidateRecord(
            configuration=self.configuration,
            settings=self.built.settings,
            parameters=0,
            reference_parameters=0,
            interface=self.interface,
        )

    @abstractmethod
    def open(self) -> PolledEndpoint[Any, Any]:
        """Open the built candidate."""


def choices_of_an_engine_are_read_back(case: PolledCase) -> None:
    """Every choice of the configuration is read back from the running engine.

    Raises:
        NotConformant: If one is not.
    """
    with closing(case.open()) as endpoint:
        facts = endpoint.facts()
    if (problem := not_applied(case.catalog, case.configuration, facts, case.record)) is not None:
        raise NotConformant(problem)


def cancelled_request_ends(endpoint: PolledEndpoint[Any, Any], request: object) -> None:
    """Send a request and cancel it; it must end with an event that reports no error.

    Raises:
        NotConformant: If it does not.
    """
    number = endpoint.submit(request)
    endpoint.cancel(number)
    deadline, ended = time.monotonic() + CANCEL_END_S, False
    while not ended and time.monotonic() < deadline:
        events = [event for event in endpoint.poll(0.1) if event.request == number]
        ended = any(event.end for event in events)
        if any(event.error for event in events):
            raise NotConformant("a cancelled request must not report an error")
    if not ended:
        raise NotConformant(
            f"poll() must report the end of a cancelled request within {CANCEL_END_S:g} s, but it "
            "does not"
        )


def script_defines_run(case: PolledCase, parameters: Sequence[str]) -> None:
    """Check that the script of an export defines `load()` and `run` with some parameters.

    Raises:
        NotConformant: If it does not, or uses tunefront.
    """
    deployment = case.runtime.deployment(case.built, case.configuration)
    if deployment is None:
        return
    body = ast.parse(deployment.script).body
    functions = {f.name: len(f.args.args) for f in body if isinstance(f, ast.FunctionDef)}
    if functions.get("load") != 0 or functions.get("run") != len(parameters):
        raise NotConformant(
            f"the script must define load() and run({', '.join(parameters)}), but defines "
            f"{', '.join(functions) or 'nothing'}"
        )
    if "tunefront" in deployment.script:
        raise NotConformant("the script must not use tunefront")


def its_processes_end_with_it(case: PolledCase) -> None:
    """The processes of an endpoint run until it is closed, and end then.

    Raises:
        NotConformant: If one does not run, or outlives the endpoint.
    """
    this = psutil.Process().pid
    with closing(case.open()) as endpoint:
        others = [pid for pid in endpoint.processes() or () if pid != this]
        if lost := [pid for pid in others if not psutil.pid_exists(pid)]:
            raise NotConformant(f"processes() must list running processes, but {lost[0]} is none")
    deadline = time.monotonic() + ENDPOINT_END_S
    while left := [pid for pid in others if _runs(pid)]:
        if time.monotonic() > deadline:
            raise NotConformant(f"close() must end the endpoint's processes, but {left[0]} runs")
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def no_file_is_a_pickle(case: PolledCase) -> None:
    """No file of the folder has to be unpickled.

    Raises:
        NotConformant: If one has; with its name.
    """
    pickles = [path.name for path in case.built.folder.rglob("*") if path.suffix in PICKLES]
    if pickles:
        raise NotConformant(f"{pickles[0]} must not be pickled")


def the_workload_names_its_metrics(workload: AnyWorkload) -> None:
    """It declares at least one metric of quality, and files for the fingerprint.

    Raises:
        NotConformant: If it does not.
    """
    if not workload.metrics or any(metric.kind != "quality" for metric in workload.metrics):
        raise NotConformant("metrics must hold at least one metric, all of the kind 'quality'")
    if missing := [path for path in workload.files() if not path.exists()]:
        raise NotConformant(f"files() must return existing paths, but {missing[0]} is missing")
