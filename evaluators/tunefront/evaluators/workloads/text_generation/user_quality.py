"""Quality by the user's own function, which chooses the prompts itself, or by own scores."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

from tunefront.evaluators.interfaces.generation import (
    GenerationEndpoint,
    GenerationRequest,
    generate,
)
from tunefront.evaluators.workloads.quality import Quality
from tunefront.evaluators.workloads.sources.callables import call, scores_of
from tunefront.evaluators.workloads.sources.own_quality import with_scores
from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import Configuration, WorkloadError, named_error

from .prompts import PromptReader, check_length, context_of

PromptText = str | Sequence[Mapping[str, str]]
"""A prompt of the user's function: a text, or chat messages with `role` and `content`."""
GenerateTexts = Callable[..., list[str]]
"""The function `generate(prompts, max_tokens=None)` that the user's function receives."""


class UserQuality:
    """The function that the key `quality` names.

    It is called with a function `generate(prompts, max_tokens=...)`, which returns the response to
    each prompt as text, and returns one number, or one number per item.

    Args:
        spec: The workload.
        output_tokens: Largest number of tokens of a response, unless `max_tokens` is given.
        stop: Tokens that end a response.
        configuration: The configuration that is evaluated; None while the workload is checked.
    """

    def __init__(
        self,
        spec: WorkloadSpec,
        output_tokens: int,
        stop: tuple[int, ...],
        configuration: Configuration | None,
    ) -> None:
        self._spec = spec
        self._name = str(spec.quality)
        self._output_tokens = output_tokens
        self._stop = stop
        self._configuration = configuration

    def check(self) -> None:
        """Call the function with empty responses, which any candidate can return.

        Errors of the function, and of its prompts, are found before the search starts.

        Raises:
            WorkloadError: If it raises an error, or its prompts can't be used.
            EvaluationError: If it does not return numbers.
        """

        def empty(prompts: Sequence[PromptText], max_tokens: int | None = None) -> list[str]:
            return ["" for _ in self._requests(prompts, max_tokens)]

        try:
            returned = self._call(empty)
        except WorkloadError:
            raise
        except Exception as error:  # the user's code can raise anything
            raise WorkloadError(
                f"quality: {self._name} fails on empty responses, which any candidate can return: "
                f"{named_error(error)}; return the lowest score for them"
            ) from error
        scores_of(self._name, returned)

    def added_to(self, quality: Quality, run: GenerationEndpoint) -> Quality:
        """Return the quality with the function's scores as the primary metric.

        Args:
            quality: The quality over the rows of the data.
            run: The endpoint that generates, one request at a time.

        Raises:
            EvaluationError: If the function does not return finite numbers (cause "invalid
                output").
        """

        def texts(prompts: Sequence[PromptText], max_tokens: int | None = None) -> list[str]:
            requests = self._requests(prompts, max_tokens)
            return [self._reader.text(generate(run, [one])[0].tokens) for one in requests]

        items = scores_of(self._name, self._call(texts))
        return with_scores(quality, self._spec.metric, items)

    def _call(self, generate_texts: GenerateTexts) -> object:
        return call(
            self._name, self._spec.folder, generate_texts, configuration=self._configuration
        )

    def _requests(
        self, prompts: Sequence[PromptText], max_tokens: int | None
    ) -> list[GenerationRequest]:
        """Return requests for prompts; see `PromptReader.prompt` for errors."""
        if isinstance(prompts, str) or not isinstance(prompts, Sequence):
            raise WorkloadError(
                f"quality: {self._name} must call generate with a list of prompts, but it was "
                f"called with {prompts!r}"
            )
        return [
            self._request(given, max_tokens or self._output_tokens, number)
            for number, given in enumerate(prompts, start=1)
        ]

    def _request(self, given: PromptText, new_tokens: int, number: int) -> GenerationRequest:
        place = f"quality: {self._name}: prompt {number}"
        prompt = self._reader.prompt(given, None, place)
        check_length(place, prompt, new_tokens, context_of(self._spec))
        return GenerationRequest(
            prompt=prompt.tokens,
            new_tokens=new_tokens,
            stop=self._stop,
            messages=prompt.messages,
        )

    @cached_property
    def _reader(self) -> PromptReader:
        return PromptReader(self._spec)
