"""Text generation: perplexity, divergence from the reference, agreement, exact matches."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tunefront.evaluators.interfaces.generation import (
    DEFAULT_OUTPUT_TOKENS,
    GenerationEndpoint,
    GenerationRequest,
    LoadSpec,
    ModelLimits,
    generate,
)
from tunefront.evaluators.interfaces.load import Load
from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.statistics.estimates import mean_of, perplexity_of, ratio_of
from tunefront.evaluators.statistics.measurement import Measurement
from tunefront.evaluators.workloads.base import EnoughItems, GenerationWorkload
from tunefront.evaluators.workloads.outputs import Sample, shortened
from tunefront.evaluators.workloads.quality import Quality
from tunefront.evaluators.workloads.sequential import (
    ItemIndices,
    evaluate_items,
    evaluated_places,
    sample_of,
    sampled,
)
from tunefront.evaluators.workloads.sources.answers import EXACT_MATCH, same_answer
from tunefront.evaluators.workloads.sources.callables import files_of
from tunefront.evaluators.workloads.sources.hub import (
    load_auto,
    load_config,
    load_generation_config,
    load_processor,
    local_files,
)
from tunefront.evaluators.workloads.sources.own_quality import own_metric
from tunefront.evaluators.workloads.sources.trace import Arrival, read_trace
from tunefront.evaluators.workloads.spec import TEXT_GENERATION, WorkloadSpec
from tunefront.spaces import Configuration, GenerationMemory, WorkloadError
from tunefront.spaces.metric import Metric

from .memory import memory_of
from .predictions import EvaluatedItem, ReferencePredictions, predictions_of, responses_of
from .prompts import (
    Prompt,
    check_lengths,
    context_of,
    cut_or_continued,
    has_answers,
    read_prompts,
)
from .quality_command import command_files
from .scoring import TokenScores, agreement, logits_of, score_tokens
from .user_quality import UserQuality

NO_TOKENS = "(nothing)"
"""Output text of an example whose response is empty as text."""
PERPLEXITY = Metric(
    name="perplexity",
    unit="",
    direction="minimize",
    summary="exp of the mean loss a token of the answers, or of the prompts if there are none",
    scale="log",
    lowest=1.0,
)
KL_DIVERGENCE = Metric(
    name="kl_divergence",
    unit="nats",
    direction="minimize",
    summary="mean divergence a token from the reference model's next-token distribution",
    lowest=0.0,
)
TOKEN_AGREEMENT = Metric(
    name="token_agreement",
    unit="",
    direction="maximize",
    summary="share of generated tokens that are the reference's, up to the first difference",
    lowest=0.0,
    highest=1.0,
)
SCORED = (PERPLEXITY, KL_DIVERGENCE)
"""Metrics that need scores of given tokens."""
NO_SCORES = "a server returns no scores of given tokens"
"""Why perplexity and divergence are left out."""


class TextGeneration(GenerationWorkload):
    """A language model that generates text.

    Data: rows with a column `prompt`, a text or a list of chat messages, and optionally `answer`.
    Quality reads the prompts as they are; a response ends at the model's end token, or after
    `load.output_tokens`. Items are evaluated one request at a time, because the sums of a batch are
    rounded differently, and `max_batch` would change close choices of tokens. A user's own function
    (the key `quality`) gives the primary metric, if there is one.

    A server returns no scores of given tokens, so its first metric is `token_agreement`. It may
    return texts only: responses are then compared as tokens of their texts, the reference's too.
    """

    task = TEXT_GENERATION

    def __init__(self, spec: WorkloadSpec) -> None:
        self.spec = spec
        self.files_are_complete = spec.own_quality is None
        self._configuration: Configuration | None = None

    def configure(self, configuration: Configuration) -> None:
        """Keep the configuration for the user's quality function."""
        self._configuration = configuration

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:  # type: ignore[override]
        """The metrics, that of the user's function first; `exact_match` only with answers."""
        scored = () if self.spec.server else SCORED
        answered = (EXACT_MATCH,) if has_answers(self.spec) else ()
        found = (*scored, TOKEN_AGREEMENT, *answered)
        return found if self.spec.own_quality is None else (own_metric(self.spec, found), *found)

    def metrics_left_out(self) -> Mapping[str, str]:
        """Return `exact_match` if the data has no answers, and what a server can't be scored by."""
        found = {metric.name: NO_SCORES for metric in SCORED} if self.spec.server else {}
        if EXACT_MATCH not in self.metrics:
            column = self.spec.columns.get("answer", "answer")
            text = f"the data has no column {column!r} to compare responses with"
            found[EXACT_MATCH.name] = text
        return found

    @property
    def _load(self) -> LoadSpec:
        return self.spec.load or LoadSpec()

    @property
    def _new_tokens(self) -> int:
        return self._load.output_tokens or DEFAULT_OUTPUT_TOKENS

    @cached_property
    def _prompts(self) -> tuple[Prompt, ...]:
        check_lengths(self.spec, self._load.input_tokens, self._new_tokens)
        found = read_prompts(self.spec, self._new_tokens)
        longest = max(len(one.tokens) for one in found)
        for number in range(max(len(self._trace), 1)):
            self._check_request(number, longest)
        return found

    def _check_request(self, number: int, longest: int) -> None:
        """Check that a timed request has unshared tokens and fits into the model's context."""
        place = f"load.trace: request {number + 1}" if self._trace else "load"
        given, output_tokens = self._lengths(number)
        shared = self._load.shared_prefix or 0
        if given and given <= shared:
            raise WorkloadError(
                f"{place}: input_tokens must be above shared_prefix, {shared}, but got {given}; "
                "prompts need tokens of their own"
            )
        check_lengths(self.spec, given or shared + longest, output_tokens, place)

    @cached_property
    def _trace(self) -> tuple[Arrival, ...]:
        """The requests of the trace that is replayed; none without one."""
        return read_trace(self.spec.path(self._load.trace)) if self._load.trace else ()

    def _lengths(self, number: int) -> tuple[int | None, int]:
        """Return the tokens of the prompt of a timed request, None if not fixed, and to generate.

        They are those of the trace's row, if it has any.
        """
        row = self._trace[number] if number < len(self._trace) else None
        return (
            (row and row.input_tokens) or self._load.input_tokens,
            (row and row.output_tokens) or self._new_tokens,
        )

    @cached_property
    def _stop(self) -> tuple[int, ...]:
        """The tokens that end a response."""
        for config in (load_generation_config(self.spec), load_config(self.spec)):
            found = getattr(config, "eos_token_id", None)
            if isinstance(found, int):
                return (found,)
            if found:
                return tuple(int(token) for token in found)
        return ()

    def stop_tokens(self) -> Sequence[int]:
        """Return the tokens that end a response."""
        return self._stop

    def limits(self) -> ModelLimits:
        """Return the context and vocabulary of the model."""
        return ModelLimits.of(load_config(self.spec).get_text_config())

    def loads(self) -> Sequence[Load]:
        """Return the load levels of the experiment."""
        return self._load.loads([row.at_s for row in self._trace])

    def requests(self, batch_size: int, count: int) -> list[GenerationRequest]:
        """Return single prompts in the order of `sample_of`, of the fixed length if one is given.

        Raises:
            WorkloadError: If the data can't be read, or a prompt does not fit into the context.
        """
        places = [place for (place,) in sample_of(len(self._prompts), 1, count)]
        return [self._request(number, place) for number, place in enumerate(places)]

    def _request(self, number: int, place: int) -> GenerationRequest:
        """Return a timed request: the shared tokens, those of a prompt, the tokens to generate."""
        given, output_tokens = self._lengths(number)
        shared = self._load.shared_prefix or 0
        prefix = cut_or_continued(self._prompts, 0, shared)
        own = cut_or_continued(self._prompts, place, given and given - shared)
        return GenerationRequest(prompt=prefix + own, new_tokens=output_tokens, shared=shared)

    def quality(
        self,
        run: GenerationEndpoint,
        reference: Mapping[str, Array] | None,
        enough: EnoughItems | None = None,
    ) -> Quality:
        """Score prompts and answers, and generate responses.

        Raises:
            EvaluationError: If the engine can't score given tokens (cause "unsupported"), or scores
                are missing or not finite (cause "invalid output").
        """
        known = None if reference is None else ReferencePredictions(reference, self._prompts)
        own = self._own_quality
        enough = None if self.spec.own_quality else enough
        found: dict[int, EvaluatedItem] = {}

        def score(places: ItemIndices) -> tuple[Array, Array]:
            for place in places.tolist():
                found[place] = self._evaluated(run, place, known)
            return self._primary([found[place] for place in places.tolist()], places, known)

        values, weights = evaluate_items(len(self._prompts), score, enough)
        places = evaluated_places(weights).tolist()
        items = [found[place] for place in places]
        expected = [one.response for one in items] if known is None else known.responses(places)
        quality = Quality(
            metrics=self._metrics_of(places, items, expected),
            items=values,
            weights=weights,
            predictions=predictions_of(items, expected, keep_scores=known is None),
        )
        return own.added_to(quality, run) if own else quality

    def check_quality(self) -> None:
        """Call the user's quality function with empty responses; see `UserQuality.check`."""
        if self._own_quality:
            self._own_quality.check()

    @cached_property
    def _own_quality(self) -> UserQuality | None:
        """The user's quality function; None if the experiment names none."""
        if self.spec.quality is None:
            return None
        return UserQuality(self.spec, self._new_tokens, self._stop, self._configuration)

    def _evaluated(
        self, run: GenerationEndpoint, place: int, reference: ReferencePredictions | None
    ) -> EvaluatedItem:
        prompt, scores = self._prompts[place], None
        if not self.spec.server:
            top = None if reference is None else reference.top(place)
            scores = score_tokens(logits_of(run), prompt.scored, top, prompt.first)
        request = GenerationRequest(
            prompt=prompt.tokens,
            new_tokens=self._new_tokens,
            stop=self._stop,
            messages=prompt.messages,
        )
        return EvaluatedItem(scores=scores, response=generate(run, [request])[0].tokens)

    def _primary(
        self,
        items: Sequence[EvaluatedItem],
        places: ItemIndices,
        reference: ReferencePredictions | None,
    ) -> tuple[Array, Array]:
        """Return the values of the primary metric, and the weights of the items."""
        scores = [one.scores for one in items if one.scores is not None]
        if not self.spec.server:
            counts = np.array([one.tokens for one in scores], dtype=np.float64)
            return np.array([one.loss for one in scores]) / counts, counts
        expected = (
            [one.response for one in items]
            if reference is None
            else reference.responses(places.tolist())
        )
        return np.array(self._agreements(items, expected)), np.ones(len(items))

    def _agreements(
        self, items: Sequence[EvaluatedItem], expected: Sequence[Sequence[int]]
    ) -> list[float]:
        pairs = zip(items, expected, strict=True)
        return [self._agreement(one.response, tokens) for one, tokens in pairs]

    def _agreement(self, response: Sequence[int], expected: Sequence[int]) -> float:
        """Return the agreement of two responses, behind a server that of their texts."""
        if self.spec.server:
            response, expected = (
                self._tokenizer(self._text(one), add_special_tokens=False)["input_ids"]
                for one in (response, expected)
            )
        return agreement(response, expected)

    def _metrics_of(
        self,
        places: Sequence[int],
        items: Sequence[EvaluatedItem],
        expected: Sequence[Sequence[int]],
    ) -> dict[str, Any]:
        metrics = {TOKEN_AGREEMENT.name: mean_of(np.array(self._agreements(items, expected)))}
        if not self.spec.server:
            metrics |= _scored([one.scores for one in items if one.scores is not None])
        if self._prompts[0].answer is not None:
            right = [
                self._is_right(place, one.response)
                for place, one in zip(places, items, strict=True)
            ]
            metrics[EXACT_MATCH.name] = mean_of(np.array(right, dtype=np.float64))
        return metrics

    def _is_right(self, place: int, response: Sequence[int]) -> bool:
        return same_answer(self._text(response), str(self._prompts[place].answer))

    @cached_property
    def _tokenizer(self) -> Any:
        return load_processor(self.spec, "AutoTokenizer")

    def _text(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))

    def samples(self, run: GenerationEndpoint, quality: Quality) -> Sequence[Sample]:
        """Return prompts with the response and the answer, or the reference's response."""
        made = quality.predictions
        all_rows = range(len(self._prompts))
        own_scores = self.spec.own_quality is not None  # whose weights are not those of rows
        evaluated = all_rows if own_scores else evaluated_places(quality.weights).tolist()
        own, kept = responses_of(made)
        responses = dict(zip(evaluated, own, strict=True))
        expected = dict(zip(evaluated, kept, strict=True))
        return [
            self._sample(place, responses[place], expected[place])
            for place in sampled(len(self._prompts)).tolist()
        ]

    def _sample(self, place: int, response: Sequence[int], expected: Sequence[int]) -> Sample:
        prompt = self._prompts[place]
        answered = prompt.answer is not None
        return Sample(
            item=place,
            input=shortened(prompt.text, end=True),
            output=shortened(self._text(response)) or NO_TOKENS,
            expected=shortened(prompt.answer or self._text(expected)),
            right=self._is_right(place, response) if answered else None,
            score=None if answered else round(self._agreement(response, expected), 4),
            score_name="" if answered else TOKEN_AGREEMENT.name,
        )

    def reference(self, device: str = "cpu") -> GenerationEndpoint:
        """Return the unchanged model in fp32, run by `transformers`."""
        from tunefront.evaluators.interfaces.torch_generation import TorchGeneration

        model = load_auto(self.spec, "AutoModelForCausalLM")
        return TorchGeneration(model if device == "cpu" else model.to(device), max_batch=1)

    def checkpoint(self) -> Path:
        """Return the model's folder; a hub model is downloaded."""
        return local_files(self.spec)

    def memory(self) -> GenerationMemory | None:
        """Return what weights and KV cache need at the highest load, with the mean lengths.

        None for a server, whose formats are in its command.
        """
        if self.spec.server:
            return None
        requests = self.requests(1, max(len(self._prompts), len(self._trace)))
        tokens = sum(len(one.prompt) + one.new_tokens for one in requests) // len(requests)
        highest = max(self.loads(), key=lambda load: load.concurrency)
        return memory_of(self.checkpoint(), load_config(self.spec), tokens, highest)

    def files(self) -> Sequence[Path]:
        """Return the model's folder, the data file, and those of the user's quality."""
        own = [] if self.spec.quality is None else [self.spec.quality]
        functions = files_of(own, self.spec.folder)
        named = command_files(self.spec)
        return (self.checkpoint(), self.spec.path(str(self.spec.data)), *functions, *named)

    def notes(self) -> Sequence[str]:
        """Return the lengths of the prompts, and what fixed lengths change."""
        lengths = [len(prompt.tokens) for prompt in self._prompts]
        found = f"prompts have {min(lengths)} to {max(lengths)} tokens"
        if limit := context_of(self.spec):
            found += f"; the model's context holds {limit}"
        if self._trace:
            found += f"; the trace has {len(self._trace)} requests in {self._trace[-1].at_s:.3g} s"
        if fixed := self._load.input_tokens:
            found += f"; for timing they are cut or continued to {fixed}, for quality they are not"
        if shared := self._load.shared_prefix:
            found += f"; for timing they begin with {shared} tokens that all of them share"
        return (found,)

    def save_processor(self, folder: Path) -> None:
        """Save the tokenizer."""
        self._tokenizer.save_pretrained(folder)


def _scored(scores: Sequence[TokenScores]) -> dict[str, Measurement]:
    """Return the metrics of scores."""
    counts = np.array([one.tokens for one in scores], dtype=np.float64)
    positions = np.array([one.positions for one in scores], dtype=np.float64)
    divergences = np.array([one.divergence for one in scores])
    return {
        PERPLEXITY.name: perplexity_of(np.array([one.loss for one in scores]), counts),
        KL_DIVERGENCE.name: ratio_of(divergences, positions, KL_DIVERGENCE.unit),
    }
