"""The conformance suites of runtimes and workloads with the interface `generation`."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from tunefront.evaluators.interfaces.generation import (
    GenerationEndpoint,
    GenerationRequest,
    GenerationResponse,
    generate,
)
from tunefront.evaluators.interfaces.load import Load
from tunefront.evaluators.workloads.base import GenerationWorkload

from .cases import NotConformant
from .polled import (
    PolledCase,
    cancelled_request_ends,
    choices_of_an_engine_are_read_back,
    its_processes_end_with_it,
    no_file_is_a_pickle,
    script_defines_run,
    the_workload_names_its_metrics,
)


@dataclass(frozen=True)
class EngineCase(PolledCase):
    """A runtime that generates text, with a configuration; built when it is first needed."""

    interface = "generation"

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


def a_cancelled_request_does_not_disturb_the_next(case: EngineCase) -> None:
    """A cancelled request ends with an event, and the next one gets its tokens.

    Raises:
        NotConformant: If it does not end, or an event of it reports an error.
    """
    prompt = case.source.prompts[0]
    with closing(case.open()) as endpoint:
        cancelled_request_ends(endpoint, GenerationRequest(prompt=prompt.prompt, new_tokens=32))
        generate(endpoint, [prompt])


def the_script_generates(case: EngineCase) -> None:
    """The script of an export defines `load()` and `run(model, prompt, new_tokens)`.

    Raises:
        NotConformant: If it does not, or uses tunefront.
    """
    script_defines_run(case, ("model", "prompt", "new_tokens"))


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


GENERATION_WORKLOAD_CHECKS: tuple[Callable[[GenerationWorkload], None], ...] = (
    prompts_are_the_same_at_every_call,
    the_workload_names_its_metrics,
)
