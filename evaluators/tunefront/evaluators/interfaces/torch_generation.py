"""Greedy decoding by a causal language model of `transformers`, as an endpoint. Imports torch."""

import inspect
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
import torch.nn.functional as functional

from tunefront.evaluators.statistics.arrays import Array
from tunefront.spaces import EvaluationError

from .endpoint import Facts
from .generation import GenerationEndpoint, GenerationRequest, ModelLimits, TokenEvent
from .generation.prompt_lookup import NGRAM_TOKENS, looked_up
from .torch_tensors import NAME_OF, switched_precision

PORTION = 128
"""Tokens that `logits` reads at a time."""
_ATTENTION = frozenset({"full_attention", "sliding_attention", "chunked_attention"})


@dataclass(slots=True)
class _Row:
    """A running request: one row of the batch.

    Attributes:
        number: Number of the request.
        left: Tokens still to generate.
        stop: Tokens that end it early.
        tokens: Its prompt and its response so far; the last one is not in the cache yet.
    """

    number: int
    left: int
    stop: tuple[int, ...]
    tokens: list[int]

    @property
    def length(self) -> int:
        """Number of its tokens in the cache."""
        return len(self.tokens) - 1


class TorchGeneration(GenerationEndpoint):
    """A causal language model that decodes greedily, several requests together.

    Every `poll` runs one step in the calling thread: the prompt of the next waiting request while
    fewer than `max_batch` run, otherwise one further token of all running requests. A request thus
    joins the others as soon as there is room. Rows are padded on the left, and the mask hides the
    padding; the KV cache holds every token, in the precision of the model.

    With prompt lookup, a step also computes the tokens that `looked_up` proposes for each row, and
    keeps those that are the most likely ones: a step emits several tokens where the response
    repeats its prompt.

    Args:
        model: The model, in eval mode, on its device.
        max_batch: Largest number of requests that run together.
        lookup: Largest number of tokens that are proposed by prompt lookup in each step.

    Raises:
        EvaluationError: If the model has layers other than attention, whose state can't be joined
            (cause "unsupported").
    """

    def __init__(self, model: torch.nn.Module, max_batch: int, lookup: int = 0) -> None:
        check_layers(model)
        self._model: Any = model
        config: Any = model.config
        self._limits = ModelLimits.of(config.get_text_config())
        self._max_batch = max_batch
        self._lookup = lookup
        self._device = next(model.parameters()).device
        known = inspect.signature(model.forward).parameters
        self._cache_key = "cache" if "cache" in known else "past_key_values"
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in known else {}
        self._numbers = count(1)
        self._waiting: deque[tuple[int, GenerationRequest]] = deque()
        self._rows: list[_Row] = []
        self._cache: Any = None
        self._events: list[TokenEvent] = []

    @property
    def model(self) -> torch.nn.Module:
        """The model."""
        module: torch.nn.Module = self._model
        return module

    def submit(self, request: GenerationRequest) -> int:
        """Check a request and put it at the end of the queue."""
        self._limits.check(request)
        number = next(self._numbers)
        self._waiting.append((number, request))
        return number

    def poll(self, timeout_s: float) -> Sequence[TokenEvent]:
        """Run one step and return its tokens; wait if there is nothing to run.

        Raises:
            EvaluationError: If scores are not finite (cause "invalid output").
        """
        if not self._events:
            if self._waiting and len(self._rows) < self._max_batch:
                self._start(*self._waiting.popleft())
            elif self._rows:
                self._continue()
            else:
                time.sleep(timeout_s)
        events, self._events = self._events, []
        return events

    def cancel(self, request: int) -> None:
        """End a request at once; its end is an event of the next `poll`."""
        waiting = [number for number, _ in self._waiting]
        if request in waiting:
            del self._waiting[waiting.index(request)]
        elif request in (running := [row.number for row in self._rows]):
            self._keep([place for place, number in enumerate(running) if number != request])
        else:
            return
        self._events.append(
            TokenEvent(request=request, tokens=(), arrival_s=time.perf_counter(), end=True)
        )

    def logits(self, tokens: Sequence[int]) -> Iterator[Array]:
        """Yield the scores of every next token; see `Scorer.logits`.

        The tokens pass through the KV cache, `PORTION` at a time.
        """
        self._limits.check_text(tokens)
        cache, given = _new_cache(), list(tokens[:-1])
        for start in range(0, len(given), PORTION):
            part = given[start : start + PORTION]
            places = torch.arange(start, start + len(part), device=self._device)
            scores = self._forward(self._ids([part]), places[None], None, cache)
            array: Array = scores[0].float().cpu().numpy()
            yield array

    def facts(self) -> Facts:
        """Return device, precision, largest batch, threads and attention of what runs."""
        floats = [p for p in self.model.parameters() if p.is_floating_point()]
        device = self._device.type
        return {
            "device": device,
            "precision": switched_precision(NAME_OF.get(_most(floats), "other"), device),
            "max_batch": self._max_batch,
            "prompt_lookup_tokens": self._lookup,
            "threads": torch.get_num_threads(),
            "attention_implementation": str(self._model.config._attn_implementation),
        }

    def close(self) -> None:
        """Release the cache."""
        self._rows, self._cache = [], None

    def _start(self, number: int, request: GenerationRequest) -> None:
        """Read a prompt, emit its first token, and add it to the running requests."""
        tokens, cache = list(request.prompt), _new_cache()
        places = torch.arange(len(tokens), device=self._device)[None]
        scores = self._forward(self._ids([tokens]), places, None, cache, **self._last_only)
        row = _Row(number=number, left=request.new_tokens, stop=request.stop, tokens=tokens)
        self._emit([row], [[]], scores[:, -1:])
        if not _ended(row):
            self._cache = cache if self._cache is None else _joined(self._cache, cache)
            self._rows.append(row)

    def _continue(self) -> None:
        """Emit at least one token of every running request."""
        drafts = [self._draft(row) for row in self._rows]
        longest = max(map(len, drafts))
        lengths = torch.tensor([row.length for row in self._rows], device=self._device)
        width = int(lengths.max())
        mask = None
        if any(row.length < width for row in self._rows):
            places = torch.arange(width + 1 + longest, device=self._device)
            mask = (places >= width - lengths[:, None]).long()
        given = [
            [row.tokens[-1], *draft, *[0] * (longest - len(draft))]
            for row, draft in zip(self._rows, drafts, strict=True)
        ]
        steps = torch.arange(1 + longest, device=self._device)
        scores = self._forward(self._ids(given), lengths[:, None] + steps, mask, self._cache)
        self._emit(self._rows, drafts, scores)
        self._align(width, lengths)
        self._keep([place for place, row in enumerate(self._rows) if not _ended(row)])

    def _draft(self, row: _Row) -> list[int]:
        """Return proposed next tokens of a row; one token less than are still to generate."""
        return looked_up(row.tokens, min(self._lookup, row.left - 1), NGRAM_TOKENS)

    def _align(self, width: int, before: torch.Tensor) -> None:
        """Remove what a step has read in vain: the proposed tokens that were wrong, and padding.

        Args:
            width: Tokens in the cache of the longest row before the step.
            before: Tokens in the cache of each row before the step.
        """
        lengths = torch.tensor([row.length for row in self._rows], device=self._device)
        if self._cache.get_seq_length() == width + int((lengths - before).min()):
            return
        longest = int(lengths.max())
        ends = width - before + lengths
        places = torch.arange(longest, device=self._device) + (ends - longest)[:, None]
        places = places.clamp(min=0)[:, None, :, None]
        for layer in _filled(self._cache):
            for name in ("keys", "values"):
                states = getattr(layer, name)
                shape = (-1, states.shape[1], -1, states.shape[3])
                setattr(layer, name, states.gather(2, places.expand(shape)))

    def _ids(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        return torch.tensor([list(row) for row in rows], device=self._device)

    def _forward(
        self,
        ids: torch.Tensor,
        places: torch.Tensor,
        mask: torch.Tensor | None,
        cache: Any,
        **more: int,
    ) -> torch.Tensor:
        """Return the scores of the next tokens `(rows, tokens, vocabulary)`; extend the cache."""
        with torch.inference_mode():
            outputs = self._model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=places,
                use_cache=True,
                **{self._cache_key: cache},
                **more,
            )
        scores: torch.Tensor = outputs.logits
        return scores

    def _emit(
        self, rows: Sequence[_Row], drafts: Sequence[Sequence[int]], scores: torch.Tensor
    ) -> None:
        """Add the most likely next tokens to each row, and record the events.

        Args:
            rows: The rows.
            drafts: The proposed tokens of each row, whose scores follow those of its last token.
            scores: Scores `(rows, tokens, vocabulary)`.
        """
        if not bool(torch.isfinite(scores).all()):
            raise EvaluationError("scores hold NaN or infinite values", cause="invalid output")
        chosen = scores.argmax(-1).tolist()
        now = time.perf_counter()
        for row, draft, likely in zip(rows, drafts, chosen, strict=True):
            new = _until_stop(likely[: 1 + _agreeing(draft, likely)], row.stop)
            row.tokens += new
            row.left -= len(new)
            self._events.append(
                TokenEvent(request=row.number, tokens=tuple(new), arrival_s=now, end=_ended(row))
            )

    def _keep(self, places: Sequence[int]) -> None:
        """Remove all other rows from the batch, and the padding that no row needs."""
        if len(places) == len(self._rows):
            return
        width = max(row.length for row in self._rows)
        self._rows = [self._rows[place] for place in places]
        if not places:
            self._cache = None
            return
        unused = width - max(row.length for row in self._rows)
        kept = torch.tensor(places, device=self._device)
        for layer in _filled(self._cache):
            layer.keys = layer.keys[kept, :, unused:]
            layer.values = layer.values[kept, :, unused:]


def check_layers(model: torch.nn.Module) -> None:
    """Raise EvaluationError (cause "unsupported") if a layer of the model is no attention."""
    config: Any = model.config
    kinds = set(getattr(config.get_text_config(), "layer_types", None) or ()) - _ATTENTION
    if kinds:
        raise EvaluationError(
            f"the model has layers of the kind {', '.join(sorted(map(str, kinds)))}; only caches "
            "of attention layers can be joined in a batch",
            cause="unsupported",
        )


def _ended(row: _Row) -> bool:
    return row.left == 0 or row.tokens[-1] in row.stop


def _agreeing(draft: Sequence[int], likely: Sequence[int]) -> int:
    """Return how many proposed tokens are the most likely ones, up to the first that is not."""
    wrong = (place for place, token in enumerate(draft) if token != likely[place])
    return next(wrong, len(draft))


def _until_stop(tokens: list[int], stop: Sequence[int]) -> list[int]:
    """Return tokens up to the first that ends the response, which is included."""
    ends = (place + 1 for place, token in enumerate(tokens) if token in stop)
    return tokens[: next(ends, len(tokens))]


def _new_cache() -> Any:
    """Return an empty KV cache that keeps all tokens, also those outside a sliding window."""
    from transformers import DynamicCache

    return DynamicCache()


def _filled(cache: Any) -> list[Any]:
    """Return the layers that hold keys; layers that share those of another hold none."""
    return [layer for layer in cache.layers if layer.get_seq_length() > 0]


def _joined(one: Any, other: Any) -> Any:
    """Add the rows of another cache to a cache, both padded on the left to one width."""
    width = max(one.get_seq_length(), other.get_seq_length())
    for first, second in zip(_filled(one), _filled(other), strict=True):
        first.keys = torch.cat([_padded(first.keys, width), _padded(second.keys, width)])
        first.values = torch.cat([_padded(first.values, width), _padded(second.values, width)])
    return one


def _padded(states: torch.Tensor, width: int) -> torch.Tensor:
    """Pad keys or values `(rows, heads, tokens, size)` on the left to a number of tokens."""
    return functional.pad(states, (0, 0, width - states.shape[-2], 0))


def _most(floats: Sequence[torch.Tensor]) -> torch.dtype:
    """Return the type of most numbers."""
    sizes: dict[torch.dtype, int] = {}
    for tensor in floats:
        sizes[tensor.dtype] = sizes.get(tensor.dtype, 0) + tensor.numel()
    return max(sizes, key=lambda kind: sizes[kind])
