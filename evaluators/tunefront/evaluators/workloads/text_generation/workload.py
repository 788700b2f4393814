"""Text generation: perplexity, divergence from the reference, agreement, exact matches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tunefront.evaluators.interfaces.generation import (
    DEFAULT_OUTPUT_TOKENS,
    GenerationEndpoint,
    GenerationRequest,
    LoadSpec,
    generate,
)
from tunefront.evaluators.interfaces.load import Load
from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.statistics.estimates import mean_of, perplexity_of, ratio_of
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
from tunefront.evaluators.workloads.sources.hub import (
    load_auto,
    load_config,
    load_generation_config,
    load_processor,
    local_files,
)
from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces.metric import Metric

from .prompts import (
    Prompt,
    check_lengths,
    context_of,
    cut_or_continued,
    has_answers,
    read_prompts,
)
from .scoring import (
    TopScores,
    agreement,
    logits_of,
    packed,
    same_answer,
    score_tokens,
    unpacked,
)

NO_TOKENS = "(nothing)"
"""Output text of an example whose response is empty as text."""
PERPLEXITY = Metric(
    name="perplexity",
    unit="",
    direction="minimize",
    summary="exp of the mean loss a token on the prompts with their answers",
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
EXACT_MATCH = Metric(
    name="exact_match",
    unit="",
    direction="maximize",
    summary="share of responses that equal the answer",
    lowest=0.0,
    highest=1.0,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    """An evaluated item: its losses, its response, and what is kept of the reference."""

    loss: float
    divergence: float
    positions: int
    response: tuple[int, ...]
    top: TopScores


class TextGeneration(GenerationWorkload):
    """A language model that generates text.

    Data: rows with a column `prompt`, a text or a list of chat messages, and optionally `answer`.
    Quality reads the prompts as they are; a response ends at the model's end token, or after
    `load.output_tokens`. Items are evaluated one request at a time, because the sums of a batch are
    rounded differently, and `max_batch` would change close choices of tokens.
    """

    task = "text-generation"
    files_are_complete = True

    def __init__(self, spec: WorkloadSpec) -> None:
        self.spec = spec

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:  # type: ignore[override]
        """The metrics; `exact_match` only if the data has answers."""
        always = (PERPLEXITY, KL_DIVERGENCE, TOKEN_AGREEMENT)
        return (*always, EXACT_MATCH) if has_answers(self.spec) else always

    def metrics_left_out(self) -> Mapping[str, str]:
        """Return `exact_match` if the data has no answers."""
        if EXACT_MATCH in self.metrics:
            return {}
        column = self.spec.columns.get("answer", "answer")
        return {EXACT_MATCH.name: f"the data has no column {column!r} to compare responses with"}

    @property
    def _load(self) -> LoadSpec:
        return self.spec.load or LoadSpec()

    @property
    def _new_tokens(self) -> int:
        return self._load.output_tokens or DEFAULT_OUTPUT_TOKENS

    @cached_property
    def _prompts(self) -> tuple[Prompt, ...]:
        check_lengths(self.spec, self._load.input_tokens, self._new_tokens)
        return read_prompts(self.spec, self._new_tokens)

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

    def load(self) -> Load:
        """Return the load of the experiment."""
        return self._load.arrivals()

    def requests(self, batch_size: int, count: int) -> list[GenerationRequest]:
        """Return single prompts in the order of `sample_of`, of the fixed length if one is given.

        Raises:
            WorkloadError: If the data can't be read, or a prompt does not fit into the context.
        """
        return [
            GenerationRequest(
                prompt=cut_or_continued(self._prompts, place, self._load.input_tokens),
                new_tokens=self._new_tokens,
            )
            for (place,) in sample_of(len(self._prompts), 1, count)
        ]

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
        known = None if reference is None else _Reference(reference, self._prompts)
        found: dict[int, _Item] = {}

        def score(places: ItemIndices) -> tuple[Array, Array]:
            for place in places.tolist():
                found[place] = self._evaluated(run, place, known)
            items = [found[place] for place in places.tolist()]
            counts = np.array([one.positions for one in items], dtype=np.float64)
            return np.array([one.loss for one in items]) / counts, counts

        values, weights = evaluate_items(len(self._prompts), score, enough)
        places = evaluated_places(weights).tolist()
        items = [found[place] for place in places]
        expected = [one.response for one in items] if known is None else known.responses(places)
        return Quality(
            metrics=self._metrics_of(places, items, expected),
            items=values,
            weights=weights,
            predictions=_predictions(items, expected, keep_scores=known is None),
        )

    def _evaluated(
        self, run: GenerationEndpoint, place: int, reference: "_Reference | None"
    ) -> _Item:
        prompt = self._prompts[place]
        top = None if reference is None else reference.top(place)
        scores = score_tokens(logits_of(run), prompt.scored, top)
        request = GenerationRequest(
            prompt=prompt.tokens, new_tokens=self._new_tokens, stop=self._stop
        )
        return _Item(
            loss=scores.loss,
            divergence=scores.divergence,
            positions=len(prompt.scored) - 1,
            response=generate(run, [request])[0].tokens,
            top=scores.top,
        )

    def _metrics_of(
        self, places: Sequence[int], items: Sequence[_Item], expected: Sequence[Sequence[int]]
    ) -> dict[str, Any]:
        counts = np.array([one.positions for one in items], dtype=np.float64)
        shares = [
            agreement(one.response, tokens) for one, tokens in zip(items, expected, strict=True)
        ]
        metrics = {
            PERPLEXITY.name: perplexity_of(np.array([one.loss for one in items]), counts),
            KL_DIVERGENCE.name: ratio_of(
                np.array([one.divergence for one in items]), counts, KL_DIVERGENCE.unit
            ),
            TOKEN_AGREEMENT.name: mean_of(np.array(shares)),
        }
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
        evaluated = evaluated_places(quality.weights).tolist()
        responses = dict(zip(evaluated, unpacked(made[_TOKENS], made[_LENGTHS]), strict=True))
        kept = unpacked(made[_EXPECTED], made[_EXPECTED_LENGTHS])
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
            score=None if answered else round(agreement(response, expected), 4),
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

    def files(self) -> Sequence[Path]:
        """Return the model's folder and the data file."""
        return (self.checkpoint(), self.spec.path(str(self.spec.data)))

    def notes(self) -> Sequence[str]:
        """Return the lengths of the prompts, and what fixed lengths change."""
        lengths = [len(prompt.tokens) for prompt in self._prompts]
        found = f"prompts have {min(lengths)} to {max(lengths)} tokens"
        if limit := context_of(self.spec):
            found += f"; the model's context holds {limit}"
        if fixed := self._load.input_tokens:
            found += f"; for timing they are cut or continued to {fixed}, for quality they are not"
        return (found,)

    def save_processor(self, folder: Path) -> None:
        """Save the tokenizer."""
        self._tokenizer.save_pretrained(folder)


_TOKENS, _LENGTHS = "tokens", "lengths"
_EXPECTED, _EXPECTED_LENGTHS = "expected", "expected_lengths"
_TOP_TOKENS, _TOP_SCORES = "top_tokens", "top_scores"


def _predictions(
    items: Sequence[_Item], expected: Sequence[Sequence[int]], *, keep_scores: bool
) -> dict[str, Array]:
    """Return the responses and the expected ones, and of the reference its most likely tokens."""
    tokens, lengths = packed(one.response for one in items)
    others, other_lengths = packed(expected)
    found = {
        _TOKENS: tokens,
        _LENGTHS: lengths,
        _EXPECTED: others,
        _EXPECTED_LENGTHS: other_lengths,
    }
    if keep_scores:
        found[_TOP_TOKENS] = np.concatenate([one.top.tokens for one in items])
        found[_TOP_SCORES] = np.concatenate([one.top.scores for one in items])
    return found


class _Reference:
    """The predictions of the reference, which evaluated all items.

    Args:
        made: Its predictions.
        prompts: The prompts, whose scored tokens give the number of positions.
    """

    def __init__(self, made: Mapping[str, Array], prompts: Sequence[Prompt]) -> None:
        self._made = made
        self._ends = np.cumsum([0, *(len(prompt.scored) - 1 for prompt in prompts)])
        self._responses = unpacked(made[_TOKENS], made[_LENGTHS])

    def top(self, place: int) -> TopScores:
        """Return the most likely tokens of an item's positions."""
        start, end = self._ends[place : place + 2]
        return TopScores(
            tokens=self._made[_TOP_TOKENS][start:end], scores=self._made[_TOP_SCORES][start:end]
        )

    def responses(self, places: Sequence[int]) -> list[list[int]]:
        """Return the responses of some items."""
        return [self._responses[place] for place in places]
