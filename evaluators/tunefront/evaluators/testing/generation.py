"""The conformance suites of runtimes and workloads with the interface `generation`."""

import ast
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import psutil

from tunefront.evaluators.evaluation.built import CandidateRecord
from tunefront.evaluators.interfaces.generation import (
    GenerationEndpoint,
    GenerationRequest,
    GenerationResponse,
    generate,
)
from tunefront.evaluators.interfaces.load import Load
from tunefront.evaluators.pipelines.read_back import not_applied
from tunefront.evaluators.runtimes.base import Built, Runtime, Source
from tunefront.evaluators.workloads.base import GenerationWorkload
from tunefront.spaces import Catalog, Configuration

from .cases import NotConformant

PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".joblib")
ENDPOINT_END_S = 10.0
"""Seconds within which processes of a closed endpoint must have ended."""
CANCEL_END_S = 60.0
"""Seconds within which a cancelled request must have ended, with its remaining tokens or without.
"""


@dataclass(frozen=True)
class EngineCase:
    """A runtime that generates text, with a configuration; built when it is first needed.

    Attributes:
        catalog: The catalogue of the configuration.
        runtime: The runtime.
        configuration: The complete configuration.
        source: The input of the build.
        folder: An empty folder for the build.
    """

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
            interface="generation",
        )

    def open(self) -> GenerationEndpoint:
        """Open the built candidate."""
        endpoint = self.runtime.open(self.built, self.configuration)
        if not isinstance(endpoint, GenerationEndpoint):
            raise NotConformant(
                f"open() must return a GenerationEndpoint, but returned {type(endpoint).__name__}"
            )
        return endpoint

    def run(self, load: Load | None = None) -> list[GenerationResponse]:
        """Open the candidate, run the source's prompts under a load, and close it."""
        with closing(self.open()) as endpoint:
            return generate(endpoint, self.source.prompts, load)


def every_token_asked_for_arrives(case: EngineCase) -> None:
    """One at a time and three at a time, every request gets its number of tokens, in order.

    Raises:
        NotConformant: If the times of arrival go back.
        EvaluationError: If tokens are missing.
    """
    for load in (Load(), Load(concurrency=3)):
        for response in case.run(load):
            times = response.arrival_s
            if any(b < a for a, b in zip(times, times[1:], strict=False)) or times[0] < 0:
                raise NotConformant("arrival_s of events must not go back in time")


def opening_again_gives_the_same_tokens(case: EngineCase) -> None:
    """Two endpoints opened from the folder generate the same tokens.

    Raises:
        NotConformant: If they differ.
    """
    first, second = ([one.tokens for one in case.run()] for _ in range(2))
    if first != second:
        raise NotConformant(
            "tokens must be the same after opening again; decode greedily, without sampling"
        )


def choices_of_an_engine_are_read_back(case: EngineCase) -> None:
    """Every choice of the configuration is read back from the running engine.

    Raises:
        NotConformant: If one is not.
    """
    with closing(case.open()) as endpoint:
        facts = endpoint.facts()
    if (problem := not_applied(case.catalog, case.configuration, facts, case.record)) is not None:
        raise NotConformant(problem)


def a_cancelled_request_does_not_disturb_the_next(case: EngineCase) -> None:
    """A cancelled request ends with an event, and the next one gets its tokens.

    Raises:
        NotConformant: If it does not end, or an event of it reports an error.
    """
    prompt = case.source.prompts[0]
    with closing(case.open()) as endpoint:
        number = endpoint.submit(GenerationRequest(prompt=prompt.prompt, new_tokens=32))
        endpoint.cancel(number)
        deadline = time.monotonic() + CANCEL_END_S
        ended = False
        while not ended and time.monotonic() < deadline:
            events = [event for event in endpoint.poll(0.1) if event.request == number]
            ended = any(event.end for event in events)
            if any(event.error for event in events):
                raise NotConformant("a cancelled request must not report an error")
        if not ended:
            raise NotConformant(
                f"poll() must report the end of a cancelled request within {CANCEL_END_S:g} s, but "
                "it does not"
            )
        generate(endpoint, [prompt])


def its_processes_end_with_it(case: EngineCase) -> None:
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


def no_file_is_a_pickle(case: EngineCase) -> None:
    """No file of the folder has to be unpickled.

    Raises:
        NotConformant: If one has; with its name.
    """
    pickles = [path.name for path in case.built.folder.rglob("*") if path.suffix in PICKLES]
    if pickles:
        raise NotConformant(f"{pickles[0]} must not be pickled")


def the_script_generates(case: EngineCase) -> None:
    """The script of an export defines `load()` and `run(model, prompt, new_tokens)`.

    Raises:
        NotConformant: If it does not, or uses tunefront.
    """
    deployment = case.runtime.deployment(case.built, case.configuration)
    if deployment is None:
        return
    body = ast.parse(deployment.script).body
    functions = {f.name: len(f.args.args) for f in body if isinstance(f, ast.FunctionDef)}
    if functions.get("load") != 0 or functions.get("run") != 3:
        raise NotConformant(
            "the script must define load() and run(model, prompt, new_tokens), but defines "
            f"{', '.join(functions) or 'nothing'}"
        )
    if "tunefront" in deployment.script:
        raise NotConformant("the script must not use tunefront")


ENGINE_CHECKS: tuple[Callable[[EngineCase], None], ...] = (
    every_token_asked_for_arrives,
    opening_again_gives_the_same_tokens,
    choices_of_an_engine_are_read_back,
    a_cancelled_request_does_not_disturb_the_next,
    its_processes_end_with_it,
    no_file_is_a_pickle,
    the_script_generates,
)


def prompts_are_the_same_at_every_call(workload: GenerationWorkload) -> None:
    """`requests` returns the requested number of requests, each with a prompt, the same every time.

    Raises:
        NotConformant: If it does not.
    """
    first, second = (workload.requests(1, 3) for _ in range(2))
    if len(first) != 3 or first != second:
        raise NotConformant("requests(1, 3) must return 3 requests, the same ones at every call")
    if any(not request.prompt or request.new_tokens < 1 for request in first):
        raise NotConformant("a request must have a prompt and at least one new token")


def the_workload_names_its_metrics(workload: GenerationWorkload) -> None:
    """It declares at least one metric of quality, and files for the fingerprint.

    Raises:
        NotConformant: If it does not.
    """
    if not workload.metrics or any(metric.kind != "quality" for metric in workload.metrics):
        raise NotConformant("metrics must hold at least one metric, all of the kind 'quality'")
    if missing := [path for path in workload.files() if not path.exists()]:
        raise NotConformant(f"files() must return existing paths, but {missing[0]} is missing")


GENERATION_WORKLOAD_CHECKS: tuple[Callable[[GenerationWorkload], None], ...] = (
    prompts_are_the_same_at_every_call,
    the_workload_names_its_metrics,
)
