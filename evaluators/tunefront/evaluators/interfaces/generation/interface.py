"""The interface `generation`: prompts of tokens in, streams of tokens out."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from tunefront.evaluators.interfaces.base import (
    Comparison,
    CpuClock,
    Interface,
    PassSize,
    Percentiles,
    until_steady,
)
from tunefront.evaluators.interfaces.load import Load
from tunefront.evaluators.statistics.formatting import percent_text
from tunefront.evaluators.statistics.measurement import Measurement
from tunefront.evaluators.statistics.timing import Block, Timing
from tunefront.spaces import ExportError

from .capacity import CAPACITY, NOT_OF_EVERY_TRIAL
from .endpoint import GenerationEndpoint
from .load_generator import generate
from .metrics import (
    GENERATION_METRICS,
    GOODPUT,
    OF_SEVERAL_TOKENS,
    SLO_SAMPLES,
    generation_measurements,
    generator_warnings,
)
from .requests import GenerationRequest, GenerationResponse, Message
from .run_script import sample_script
from .timed_block import BETWEEN_TOKENS, FIRST_TOKEN, GAPS, check_generator, timed_block

PROMPTS = "requests.json"
SAMPLE = "sample.json"
"""File of an export with a recorded request and its tokens."""
LEAST_AGREEMENT = 0.9
"""Smallest share of tokens, up to the first difference, that a repeated response must have.

Greedy decoding is deterministic on one processor; on others, rounding can change a close choice,
and every token after it.
"""
WARM_UP_LOAD = Load(concurrency=4)
"""The load of warm-up passes if timed requests are sent at a rate, which can be low."""
PASS_LOADS = 2
"""Requests in a pass, for each in progress: what is in progress at the ends of a block differs."""
PERCENTILES = (0, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99, 100)
"""What is kept of a distribution: 0 is the least value, 100 the largest."""
OPEN_LOOP_REQUESTS = 16
"""Fewest requests in a pass of an open loop, whose times are random."""


_CHECKED = tuple(
    name for name, sample in SLO_SAMPLES.items() if sample in (FIRST_TOKEN, BETWEEN_TOKENS)
)


class Generation(Interface[GenerationRequest, GenerationResponse, GenerationEndpoint]):
    """Generation under a load: a number of requests in progress, or a rate of requests."""

    name = "generation"
    metrics = GENERATION_METRICS
    unserved = "it has no tokenizer, which requests with texts need"
    checked = _CHECKED
    script_needs = ("transformers",)
    usage = """\
from tunefront.evaluators import load
from tunefront.evaluators.interfaces.generation import GenerationRequest, generate
engine = load("path/to/this/folder")
responses = generate(engine, [GenerationRequest(prompt=(1, 2, 3), new_tokens=8)])
engine.close()
"""

    def sample_script(self) -> str:
        """Return the end of run.py, which also answers a prompt as text."""
        return sample_script()

    def write(self, requests: Sequence[GenerationRequest], folder: Path) -> None:
        """Write `requests.json`."""
        rows = [asdict(one) for one in requests]
        (folder / PROMPTS).write_text(json.dumps(rows))

    def read(self, folder: Path) -> list[GenerationRequest]:
        """Read `requests.json`."""
        rows = json.loads((folder / PROMPTS).read_text())
        return [
            GenerationRequest(
                prompt=tuple(row["prompt"]),
                new_tokens=row["new_tokens"],
                stop=tuple(row["stop"]),
                messages=tuple(Message(**one) for one in row["messages"]),
                shared=row["shared"],
            )
            for row in rows
        ]

    def size(self, requests: Sequence[GenerationRequest]) -> PassSize:
        """Return the tokens to generate, and the tokens of the prompts."""
        return PassSize(
            items=sum(one.new_tokens for one in requests),
            tokens=sum(len(one.prompt) for one in requests),
        )

    def respond(
        self, endpoint: GenerationEndpoint, request: GenerationRequest
    ) -> GenerationResponse:
        """Run one request alone.

        Raises:
            EvaluationError: If it fails, or returns fewer tokens than requested (cause "invalid
                output").
        """
        return generate(endpoint, [request])[0]

    def least_requests(self, load: Load) -> int:
        """Return the fewest requests in a pass: `PASS_LOADS` times as many as are in progress."""
        return OPEN_LOOP_REQUESTS if load.open_loop else PASS_LOADS * load.concurrency

    def run_pass(
        self, endpoint: GenerationEndpoint, requests: Sequence[GenerationRequest], load: Load
    ) -> float:
        """Run all requests once under the load and return the seconds."""
        start = time.perf_counter()
        generate(endpoint, requests, load)
        return time.perf_counter() - start

    def warm_up(
        self,
        endpoint: GenerationEndpoint,
        requests: Sequence[GenerationRequest],
        load: Load,
        limit_s: float,
    ) -> float:
        """Run passes until they are steady; those of an open loop have `WARM_UP_LOAD`.

        A trace can be long: its first requests are run.
        """
        steady = WARM_UP_LOAD if load.open_loop else load
        some = requests[:OPEN_LOOP_REQUESTS] if load.replay else requests
        return until_steady(lambda: self.run_pass(endpoint, some, steady), limit_s)

    def run_block(
        self,
        endpoint: GenerationEndpoint,
        requests: Sequence[GenerationRequest],
        load: Load,
        least_s: float,
        watch: CpuClock,
    ) -> Block:
        """Time whole passes at the full load; see `timed_block`.

        Raises:
            EvaluationError: If the load generator limited the speed, see `check_generator`.
        """
        block = timed_block(endpoint, requests, load, least_s, watch)
        check_generator(block)
        return block

    def measurements(self, timing: Timing) -> Mapping[str, Measurement]:
        """Return the metrics that were measured; see `generation_measurements`."""
        return generation_measurements(timing)

    def distributions(self, timing: Timing) -> Mapping[str, Percentiles]:
        """Return `PERCENTILES` of the time to the first token and of the gaps between tokens."""
        found: dict[str, Percentiles] = {}
        for name, sample in SLO_SAMPLES.items():
            values = timing.request_values(sample).values if sample in (FIRST_TOKEN, GAPS) else ()
            if len(values):
                ends = np.percentile(values, PERCENTILES) * 1e3
                found[name] = tuple(zip(PERCENTILES, map(float, ends), strict=True))
        return found

    def warnings(self, timing: Timing, cores: int) -> Sequence[str]:
        """Return warnings about the load generator."""
        return generator_warnings(timing, cores)

    def not_measured(self, slo: Mapping[str, float], output_tokens: int | None) -> dict[str, str]:
        """Return the metrics that need limits or more tokens, and the capacity, with the reason."""
        found = {CAPACITY.name: NOT_OF_EVERY_TRIAL}
        if not slo:
            example = "{ttft_ms: 500, tpot_ms: 50}"
            found[GOODPUT.name] = f"it needs limits: add the key workload.slo, such as {example}"
        if output_tokens == 1:
            text = "a response of one token has no time between tokens; raise output_tokens"
            found |= {metric.name: text for metric in OF_SEVERAL_TOKENS}
        return found

    def write_sample(
        self, request: GenerationRequest, response: GenerationResponse, folder: Path
    ) -> None:
        """Write `sample.json`."""
        fields = {
            "prompt": list(request.prompt),
            "new_tokens": request.new_tokens,
            "tokens": list(response.tokens),
        }
        (folder / SAMPLE).write_text(json.dumps(fields) + "\n")

    def read_sample(self, folder: Path) -> tuple[GenerationRequest, GenerationResponse]:
        """Read `sample.json`.

        Raises:
            ExportError: If it can't be read.
        """
        try:
            fields = json.loads((folder / SAMPLE).read_text())
            request = GenerationRequest(
                prompt=tuple(fields["prompt"]), new_tokens=int(fields["new_tokens"])
            )
            return request, GenerationResponse(tokens=tuple(fields["tokens"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ExportError(f"{folder / SAMPLE} can't be read: {error}") from error

    def compare(
        self, recorded: GenerationResponse, now: GenerationResponse, allowed: float
    ) -> Comparison:
        """Compare tokens up to the first difference; see `LEAST_AGREEMENT`."""
        pairs = zip(recorded.tokens, now.tokens, strict=False)
        same = next((place for place, (a, b) in enumerate(pairs) if a != b), None)
        same = min(len(recorded.tokens), len(now.tokens)) if same is None else same
        wanted = len(recorded.tokens)
        return Comparison(
            holds=same >= LEAST_AGREEMENT * wanted,
            detail=f"{same} of {wanted} tokens are the recorded ones, up to the first difference "
            f"(at least {percent_text(LEAST_AGREEMENT)} needed)",
        )
