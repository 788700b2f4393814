"""An open model of ONNX Runtime GenAI, which generates text in static batches."""

import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tunefront.evaluators.interfaces.endpoint import Facts
from tunefront.evaluators.interfaces.generation import (
    GenerationEndpoint,
    GenerationRequest,
    ModelLimits,
    TokenEvent,
)
from tunefront.evaluators.statistics.arrays import Array
from tunefront.spaces import EvaluationError

from .batch import GREEDY, Batch, Row, longest
from .graph import GenAiGraph
from .library import genai_library
from .model import model_config, open_model

SCORED_TOGETHER = 128
"""Tokens whose scores are computed in one step: 25 MB with a vocabulary of 50,000 tokens."""


class OnnxGenAiEndpoint(GenerationEndpoint):
    """A model with greedy decoding in static batches of at most `max_batch` requests.

    Waiting requests start together, when the batch before them has ended; `poll` runs one step of
    the batch, which is one token for each request. Shorter prompts are padded at the end. The
    library's own engine, which takes further requests into a running batch, needs paged attention
    on a GPU; without it the engine forms batches of at most 4, whatever it is configured to
    (onnxruntime-genai 0.18), so that this class forms them itself.

    Args:
        folder: The folder that `build` filled.
        threads: Number of threads per operator.
        max_batch: Largest number of requests in a batch.
        pads: Whether prompts of different lengths can share a batch.
        end_token: The token that ends a row; see `Batch`.
    """

    def __init__(
        self, folder: Path, *, threads: int, max_batch: int, pads: bool, end_token: int
    ) -> None:
        self._folder = folder
        self._max_batch = max_batch
        self._pads = pads
        self._end_token = end_token
        known = model_config(folder)
        self._limits = ModelLimits(context=known["context_length"], vocabulary=known["vocab_size"])
        before = _threads()
        self._model: Any = open_model(folder, end_token, threads)
        self._threads = 1 + _threads() - before
        self._waiting: deque[Row] = deque()
        self._batch: Batch | None = None
        self._ended: list[TokenEvent] = []
        self._number = 0

    def submit(self, request: GenerationRequest) -> int:
        """Queue a request."""
        self._limits.check(request)
        self._number += 1
        self._waiting.append(Row(number=self._number, request=request))
        return self._number

    def poll(self, timeout_s: float) -> Sequence[TokenEvent]:
        """Run one step of the batch; wait for `timeout_s` only if there is no request.

        Raises:
            EvaluationError: If memory does not suffice (cause "oom").
        """
        if self._ended:
            ended, self._ended = self._ended, []
            return ended
        if self._batch is None and not self._waiting:
            time.sleep(timeout_s)
            return ()
        rows: list[Row] = []
        try:
            if self._batch is None:
                rows = self._next_rows()
                self._batch = Batch(self._model, rows, self._end_token)
            events = self._batch.step()
        except RuntimeError as error:
            return self._failed(error, rows)
        if not self._batch.numbers:
            self._batch = None
        return events

    def cancel(self, request: int) -> None:
        """End a request at once; unknown and ended numbers are ignored."""
        in_batch = self._batch.numbers if self._batch is not None else []
        waiting = [one.number for one in self._waiting]
        if request not in in_batch and request not in waiting:
            return
        self._waiting = deque(one for one in self._waiting if one.number != request)
        if self._batch is not None:
            self._batch.remove(request)
            self._batch = self._batch if self._batch.numbers else None
        now = time.perf_counter()
        self._ended.append(TokenEvent(request=request, tokens=(), arrival_s=now, end=True))

    def logits(self, tokens: Sequence[int]) -> Iterator[Array]:
        """Yield the scores of every next token by the running model; see `Scorer.logits`."""
        library = genai_library()
        self._limits.check_text(tokens)
        read = np.array(tokens[:-1], dtype=np.int32)
        params = library.GeneratorParams(self._model)
        params.set_search_options(**GREEDY, max_length=len(tokens))
        generator: Any = library.Generator(self._model, params)
        for start in range(0, len(read), SCORED_TOGETHER):
            generator.append_tokens(read[start : start + SCORED_TOGETHER])
            scores = generator.get_output("logits")[0]
            yield np.array(scores, dtype=np.float32)

    def facts(self) -> Facts:
        """Read the graph's operators and weights, and the threads that opening it started."""
        graph = GenAiGraph(self._folder)
        weights = graph.weights()
        return {
            "runtime": "onnxruntime-genai",
            "device": str(self._model.device_type).lower(),
            "precision": "fp32",
            **graph.quantization(),
            "kv_cache_bits": graph.kv_cache_bits(),
            "tensor_parallel": 1,
            "weight_bits": weights.weight_bits,
            "sparsity": weights.sparsity,
            "parameters": weights.count,
            "threads": self._threads,
            "max_batch": self._max_batch,
        }

    def close(self) -> None:
        """Free the model."""
        self._batch = None
        self._model = None

    def _next_rows(self) -> list[Row]:
        """Take the requests of the next batch from the queue, in their order."""
        rows = [self._waiting.popleft()]
        while self._waiting and len(rows) < self._max_batch:
            candidate = self._waiting[0]
            lengths_differ = len(candidate.request.prompt) != len(rows[0].request.prompt)
            too_long = longest([*rows, candidate]) > self._limits.context
            if too_long or (lengths_differ and not self._pads):
                break
            rows.append(self._waiting.popleft())
        return rows

    def _failed(self, error: RuntimeError, rows: Sequence[Row]) -> list[TokenEvent]:
        """Return the events of a step that failed: its requests have ended."""
        text = str(error)
        numbers = self._batch.numbers if self._batch is not None else [row.number for row in rows]
        self._batch = None
        if "allocate memory" in text or "bad_alloc" in text:
            raise EvaluationError(f"onnxruntime-genai: {text}", cause="oom") from error
        now = time.perf_counter()
        return [
            TokenEvent(request=number, tokens=(), arrival_s=now, end=True, error=text)
            for number in numbers
        ]


def _threads() -> int:
    """Return the number of threads of this process.

    The library does not report how many threads its session has. It starts all but one of them when
    the model is opened.
    """
    return len(os.listdir("/proc/self/task"))
