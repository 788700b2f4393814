"""Causal language models, evaluated by perplexity on held-out text and next-token agreement."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tunefront.evaluators.interfaces.tensors import Inputs
from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.statistics.estimates import mean_of, perplexity_of
from tunefront.evaluators.workloads.sources.hub import load_auto, load_processor, model_files
from tunefront.evaluators.workloads.sources.text import (
    TOKEN_INPUTS,
    TokenRows,
    batches,
    length_notes,
    tokenize,
)
from tunefront.spaces import Configuration
from tunefront.spaces.metric import Metric

from .base import EnoughItems, Run, TensorWorkload
from .outputs import NOT_FINITE, Sample, shortened
from .quality import Quality, finite
from .sequential import ItemIndices, evaluate_items, evaluated_places, sampled
from .spec import WorkloadSpec

if TYPE_CHECKING:
    import torch

_QUALITY_BATCH = 8
PROMPT, CONTINUED = 32, 20
"""Prompt length and number of generated tokens of an example output."""
NO_WORD = "(tokens that stand for nothing)"
"""Output text of an example where the generated tokens decode to an empty string."""


class CausalLM(TensorWorkload):
    """A causal language model, evaluated on whole texts by the scores of every next token.

    Data: rows with a column `text`; each row is one item, truncated to `max_length` tokens.
    """

    task = "causal-lm"
    files_are_complete = True
    calls_checked = 1
    architecture = "decoder"
    served = False
    metrics = (
        Metric(
            name="perplexity",
            unit="",
            direction="minimize",
            summary="exp of the mean loss a token on the workload's texts",
            scale="log",
            lowest=1.0,
        ),
        Metric(
            name="agreement",
            unit="",
            direction="maximize",
            summary="share of next tokens that are the reference model's",
            lowest=0.0,
            highest=1.0,
        ),
    )
    inputs = TOKEN_INPUTS

    def __init__(self, spec: WorkloadSpec) -> None:
        self.spec = spec
        self._on_gpu = False

    def configure(self, configuration: Configuration) -> None:
        """Choose the outputs: logits on a processor, on a GPU what is needed of them."""
        self._on_gpu = configuration.get("device") == "cuda"

    def load_module(self) -> "torch.nn.Module":
        """Map ids and mask `(batch, sequence)` to fp32 logits `(batch, sequence, vocabulary)`.

        On a GPU to the scores and the most likely next tokens, see `ScoresModule`.
        """
        from .modules import LogitsModule, ScoresModule

        model = load_auto(self.spec, "AutoModelForCausalLM")
        return (ScoresModule(model) if self._on_gpu else LogitsModule(model)).eval()

    @cached_property
    def _rows(self) -> TokenRows:
        return tokenize(self.spec, column="text")

    def requests(self, batch_size: int, count: int) -> list[Inputs]:
        """Return texts in the order of `sample_of`, cut into batches."""
        return self._rows.requests(batch_size, count)

    def quality(
        self, run: Run, reference: Mapping[str, Array] | None, enough: EnoughItems | None = None
    ) -> Quality:
        """Compute the perplexity and the agreement with the reference's top-1 tokens."""
        chosen: dict[int, Array] = {}

        def score(places: ItemIndices) -> tuple[Array, Array]:
            rows: dict[int, tuple[float, int, Array]] = {}
            for order, inputs in batches(self._rows, _QUALITY_BATCH, places):
                rows.update(zip(order, _score(run, inputs), strict=True))
            chosen.update({place: row[2] for place, row in rows.items()})
            losses, counts = np.array([rows[place][:2] for place in places.tolist()]).T
            return losses / counts, counts

        items, weights = evaluate_items(len(self._rows.ids), score, enough)
        places = evaluated_places(weights)
        tokens = np.concatenate([chosen[place] for place in places.tolist()])
        compared = tokens if reference is None else self._tokens_at(reference["tokens"], places)
        metrics = {
            "perplexity": perplexity_of((items * weights)[places], weights[places]),
            "agreement": mean_of((tokens == compared).astype(np.float64)),
        }
        return Quality(
            metrics=metrics, items=items, weights=weights, predictions={"tokens": tokens}
        )

    def _tokens_at(self, tokens: Array, places: ItemIndices) -> Array:
        """Select the entries of some texts from `tokens` (one per predicted token of all texts)."""
        ends = np.cumsum([len(ids) - 1 for ids in self._rows.ids])
        parts = np.split(tokens, ends[:-1])
        return np.concatenate([parts[place] for place in places.tolist()])

    def samples(self, run: Run, quality: Quality) -> Sequence[Sample]:
        """Continue the beginnings of a few texts by greedy decoding.

        `expected` of an example is the text's own continuation.
        """
        tokenizer = load_processor(self.spec, "AutoTokenizer")
        places = sampled(len(self._rows.ids)).tolist()
        texts = [self._rows.ids[place] for place in places]
        # At most the longest evaluated text: the model may not accept longer inputs.
        window = min(PROMPT + CONTINUED, max(map(len, self._rows.ids)))
        added = min(CONTINUED, window // 2)
        prompts = [text[: min(window - added, len(text) - 1)] for text in texts]
        answers: list[Sequence[int] | None] = []
        for at in range(0, len(prompts), _QUALITY_BATCH):
            answers += _continued(run, prompts[at : at + _QUALITY_BATCH], added, self._rows.pad)

        def words(ids: Sequence[int]) -> str:
            return str(tokenizer.decode(ids, skip_special_tokens=True))

        return [
            Sample(
                item=place,
                input=shortened(words(prompt), end=True),
                output=NOT_FINITE if ids is None else shortened(tokenizer.decode(ids)) or NO_WORD,
                expected=shortened(words(text[len(prompt) : len(prompt) + added])),
            )
            for place, text, prompt, ids in zip(places, texts, prompts, answers, strict=True)
        ]

    def files(self) -> Sequence[Path]:
        """Return the model's folder and the data file."""
        return (*model_files(self.spec), self.spec.path(str(self.spec.data)))

    def notes(self) -> Sequence[str]:
        """Return a note if texts are cut at fewer tokens than `max_length`."""
        return length_notes(self.spec, self._rows)

    def save_processor(self, folder: Path) -> None:
        """Save the tokenizer."""
        load_processor(self.spec, "AutoTokenizer").save_pretrained(folder)


def _score(run: Run, inputs: Inputs) -> Iterator[tuple[float, int, Array]]:
    """Yield the summed loss in nats, the token count and the top-1 next tokens of each text."""
    outputs = run(inputs)
    if len(outputs) > 1:
        yield from _scored(outputs, inputs)
        return
    logits = finite(outputs[0], "logits")
    for row, ids, mask in zip(logits, inputs["input_ids"], inputs["attention_mask"], strict=True):
        length = int(mask.sum())
        scores, targets = row[: length - 1].astype(np.float64), ids[1:length]
        top = scores.max(axis=-1, keepdims=True)
        normaliser = np.log(np.exp(scores - top).sum(axis=-1)) + top[:, 0]
        picked = scores[np.arange(length - 1), targets]
        yield float((normaliser - picked).sum()), length - 1, scores.argmax(axis=-1)


def _scored(outputs: Sequence[Array], inputs: Inputs) -> Iterator[tuple[float, int, Array]]:
    """Yield the same from the outputs of a `ScoresModule`."""
    scores, tokens = finite(outputs[0], "scores"), outputs[1]
    for row, chosen, mask in zip(scores, tokens, inputs["attention_mask"], strict=True):
        count = int(mask.sum()) - 1
        yield float(-row[:count].astype(np.float64).sum()), count, chosen[:count]


def _next_tokens(outputs: Sequence[Array], rows: Array, places: Array) -> tuple[Array, Array]:
    """Return the most likely next token of each row at a place, and whether logits are finite."""
    if len(outputs) > 1:
        return outputs[1][rows, places], np.asarray(np.isfinite(outputs[0][rows]).all(axis=-1))
    logits = outputs[0][rows, places]
    return logits.argmax(axis=-1), np.asarray(np.isfinite(logits).all(axis=-1))


def _continued(
    run: Run, prompts: Sequence[Sequence[int]], added: int, pad: int
) -> list[Sequence[int] | None]:
    """Generate `added` tokens greedily after every prompt; None where a logit is not finite.

    All calls have the same shape, so that a runtime compiles or plans only once.
    """
    ends = np.array([len(prompt) for prompt in prompts])
    rows = np.arange(len(prompts))
    ids = np.full((len(prompts), int(ends.max()) + added), pad, dtype=np.int64)
    mask = (np.arange(ids.shape[1]) < ends[:, None]).astype(np.int64)
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)] = prompt
    broken = np.zeros(len(prompts), dtype=bool)
    for end in (ends + step for step in range(added)):
        outputs = run({"input_ids": ids, "attention_mask": mask})
        ids[rows, end], whole = _next_tokens(outputs, rows, end - 1)
        broken |= ~whole
        mask[rows, end] = 1
    return [
        None if broken[row] else ids[row, ends[row] : ends[row] + added].tolist() for row in rows
    ]
