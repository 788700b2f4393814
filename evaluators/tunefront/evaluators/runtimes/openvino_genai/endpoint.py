"""An open model: OpenVINO GenAI's pipeline, stepped by `poll`, so that every token has its time."""

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
from tunefront.evaluators.interfaces.generation.prompt_lookup import NGRAM_TOKENS
from tunefront.evaluators.runtimes.openvino.quantization import (
    activations_are_quantized,
    quantization_of,
    weights_of,
)
from tunefront.evaluators.runtimes.openvino.telemetry import without_telemetry
from tunefront.evaluators.statistics.arrays import Array
from tunefront.spaces import NOT_QUANTIZED, EvaluationError

from .scoring import STATEFUL_GRAPH, OneLayer, PagedModel

_PRECISIONS = {"f32": "fp32", "bf16": "bf16", "f16": "fp16"}
_KV_BITS = {"u8": 8, "i8": 8, "u4": 4, "i4": 4}
_PROBE = GenerationRequest(prompt=(0,) * 33, new_tokens=1000)
"""A request for the read-back: one token more than a block of the KV cache; it is cancelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """What a pipeline is opened with.

    Attributes:
        options: Options of the CPU plugin.
        max_batch: Largest number of requests in the pipeline; further ones wait before it.
        max_tokens: Largest number of tokens that a step computes.
        limits: What requests must keep.
        lookup: Largest number of tokens that are proposed by prompt lookup; 0: none.
        prefix_cache: Whether the KV cache of prompts is kept for later ones that begin alike.
    """

    options: Mapping[str, object]
    max_batch: int
    max_tokens: int
    limits: ModelLimits
    lookup: int = 0
    prefix_cache: bool = False


class OpenVinoGenAiEndpoint(GenerationEndpoint):
    """A `ContinuousBatchingPipeline` in this process.

    The KV cache grows with the requests, as is the engine's default. Requests beyond `max_batch`
    wait here, since the engine's own limit (`max_num_seqs`) has no effect with prompts that are
    split into steps (OpenVINO GenAI 2026.4).
    """

    def __init__(self, folder: Path, settings: EngineSettings) -> None:
        without_telemetry()
        import openvino_genai

        self._path = folder / STATEFUL_GRAPH
        self._settings = settings
        scheduler: Any = openvino_genai.SchedulerConfig()
        scheduler.max_num_batched_tokens = settings.max_tokens
        scheduler.max_num_seqs = settings.max_batch
        scheduler.enable_prefix_caching = settings.prefix_cache
        scheduler.dynamic_split_fuse = True
        self._scheduler = scheduler
        self._pipeline: Any = openvino_genai.ContinuousBatchingPipeline(
            folder, scheduler, "CPU", {**settings.options, **pipeline_options(settings.lookup)}
        )
        self._scorer: PagedModel | None = None
        self._number = 0
        self._waiting: deque[tuple[int, GenerationRequest]] = deque()
        self._running: dict[int, Any] = {}
        self._ended: list[TokenEvent] = []

    def submit(self, request: GenerationRequest) -> int:
        """Check a request and give it to the pipeline, or let it wait."""
        self._settings.limits.check(request)
        self._number += 1
        self._waiting.append((self._number, request))
        self._start()
        return self._number

    def poll(self, timeout_s: float) -> Sequence[TokenEvent]:
        """Run steps until one ends with a token, or the time is over; wait if there is no request.

        Raises:
            EvaluationError: If a step fails (cause "crash").
        """
        deadline = time.perf_counter() + timeout_s
        while True:
            busy = self._pipeline.has_non_finished_requests()
            if busy:
                self._step()
            events = [*self._ended, *self._arrived(time.perf_counter())]
            self._ended = []
            self._start()
            left_s = deadline - time.perf_counter()
            if events or left_s <= 0:
                return events
            if not busy and not self._running:
                time.sleep(left_s)
                return ()

    def cancel(self, request: int) -> None:
        """End a request; the next poll reports its end."""
        handle = self._running.pop(request, None)
        if handle is not None:
            handle.cancel()
        waiting = [one for one in self._waiting if one[0] != request]
        if handle is not None or len(waiting) < len(self._waiting):
            self._waiting = deque(waiting)
            self._ended.append(
                TokenEvent(request=request, tokens=(), arrival_s=time.perf_counter(), end=True)
            )

    def logits(self, tokens: Sequence[int]) -> Iterator[Array]:
        """Yield the scores of every next token, in fp32, in portions `(positions, vocabulary)`.

        They are those of the pipeline but for rounding, the effect of the KV cache's number format
        included, see `PagedModel`. The first call loads the weights a second time.
        """
        self._settings.limits.check_text(tokens)
        if self._scorer is None:
            self._scorer = PagedModel(self._path, self._settings.options)
        yield from self._scorer.logits(tokens[:-1])

    def facts(self) -> Facts:
        """Read the graph's constants, and what the plugin makes of one of its layers.

        The pipeline does not show its compiled model (OpenVINO GenAI 2026.4).
        """
        import openvino

        graph: Any = openvino.Core().read_model(self._path)
        weights, options = weights_of(graph), self._settings.options
        dynamic = bool(options["DYNAMIC_QUANTIZATION_GROUP_SIZE"])
        quantization = quantization_of(
            graph, dynamic=dynamic and activations_are_quantized(graph, options)
        )
        layer = OneLayer(graph, options)
        return {
            "runtime": "openvino-genai",
            "device": layer.device.lower(),
            "precision": _PRECISIONS.get(layer.precision, layer.precision),
            **quantization,
            "kv_cache_bits": _KV_BITS.get(layer.kv_cache, NOT_QUANTIZED),
            "tensor_parallel": 1,
            "weight_bits": weights.weight_bits,
            "sparsity": weights.sparsity,
            "parameters": weights.count,
            "threads": layer.threads,
            "max_batch": self._settings.max_batch,
            "scheduler_max_tokens": int(self._scheduler.max_num_batched_tokens),
            "prompt_lookup_tokens": self._settings.lookup if self._looks_up() else 0,
            "prefix_cache": self._shares_blocks(),
        }

    def _looks_up(self) -> bool:
        """Return whether the pipeline does prompt lookup: it then refuses requests without."""
        self._number += 1
        try:
            handle = self._request(self._number, _PROBE, lookup=0)
        except RuntimeError as error:
            if "is_prompt_lookup" not in str(error):
                raise
            return True
        self._end([handle])
        return False

    def _shares_blocks(self) -> bool:
        """Return whether two requests with one prompt share blocks of the KV cache."""
        handles, used = list[Any](), list[float]()
        for _ in range(2):
            self._number += 1
            handles.append(self._request(self._number, _PROBE, lookup=self._settings.lookup))
            while not handles[-1].can_read():
                self._step()
            pool: Any = self._pipeline.get_metrics()
            used.append(pool.cache_usage * pool.kv_cache_size_in_bytes)
        self._end(handles)
        return used[1] < 2 * used[0]

    def _end(self, handles: Iterable[Any]) -> None:
        """Cancel requests that only read properties back."""
        for handle in handles:
            handle.cancel()
        self._step()

    def close(self) -> None:
        """Cancel the requests in progress and free the pipeline."""
        if self._pipeline is None:
            return
        for handle in self._running.values():
            handle.cancel()
        self._running, self._waiting = {}, deque()
        if self._pipeline.has_non_finished_requests():
            self._step()
        self._pipeline = self._scorer = None

    def _start(self) -> None:
        """Give waiting requests to the pipeline, up to `max_batch`."""
        while self._waiting and len(self._running) < self._settings.max_batch:
            number, request = self._waiting.popleft()
            self._running[number] = self._request(number, request, lookup=self._settings.lookup)

    def _request(self, number: int, request: GenerationRequest, *, lookup: int) -> Any:
        """Give a request to the pipeline and return its handle."""
        import openvino
        import openvino_genai

        config: Any = openvino_genai.GenerationConfig()
        config.max_new_tokens = request.new_tokens
        config.do_sample = False
        config.ignore_eos = not request.stop
        config.stop_token_ids = set(request.stop)
        # Without one, the engine looks for an end token in the model's files.
        config.set_eos_token_id(request.stop[0] if request.stop else 0)
        if lookup:
            config.num_assistant_tokens, config.max_ngram_size = lookup, NGRAM_TOKENS
        prompt = openvino.Tensor(np.array([request.prompt], np.int64))
        return self._pipeline.add_request(number, prompt, config)

    def _step(self) -> None:
        try:
            self._pipeline.step()
        except RuntimeError as error:
            raise EvaluationError(f"openvino-genai: {error}", cause="crash") from error

    def _arrived(self, now: float) -> Iterator[TokenEvent]:
        """Yield an event for each request with new tokens, or without memory."""
        for number, handle in list(self._running.items()):
            tokens = tuple(_new_tokens(handle))
            status = handle.get_status().name
            end = status != "RUNNING" and not handle.can_read()
            if end:
                del self._running[number]
            error = f"openvino-genai ended it with status {status}" if _failed(status) else ""
            if tokens or end:
                yield TokenEvent(request=number, tokens=tokens, arrival_s=now, end=end, error=error)


def pipeline_options(lookup: int) -> Mapping[str, object]:
    """Return the options of the pipeline itself, which the plugin does not know."""
    return {"prompt_lookup": True} if lookup else {}


def _failed(status: str) -> bool:
    """Return whether a status means that a request was given up, for example for lack of memory."""
    return status not in ("RUNNING", "FINISHED")


def _new_tokens(handle: Any) -> Iterator[int]:
    while handle.can_read():
        for output in handle.read().values():
            yield from output.generated_ids
