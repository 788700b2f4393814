"""The interface `generation`: prompts of tokens in, streams of tokens out."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from tunefront.evaluators.interfaces.base import Comparison, PassSize, Percentiles
from tunefront.evaluators.interfaces.polled.capacity import CAPACITY, NOT_OF_EVERY_TRIAL
from tunefront.evaluators.interfaces.polled.interface import PolledInterface, time_distributions
from tunefront.evaluators.interfaces.polled.metrics import (
    GOODPUT,
    SLO_SAMPLES,
    generator_warnings,
)
from tunefront.evaluators.interfaces.polled.timed_block import BETWEEN_TOKENS, FIRST_TOKEN, GAPS
from tunefront.evaluators.statistics.formatting import percent_text
from tunefront.evaluators.statistics.measurement import Measurement
from tunefront.evaluators.statistics.timing import Timing
from tunefront.spaces import ExportError

from .endpoint import GenerationEndpoint
from .metrics import GENERATION_METRICS, OF_SEVERAL_TOKENS, generation_measurements
from .requests import GenerationRequest, GenerationResponse, Message, distinct_requests
from .run_script import sample_script

PROMPTS = "requests.json"
SAMPLE = "sample.json"
"""File of an export with a recorded request and its tokens."""
LEAST_AGREEMENT = 0.9
"""Smallest share of tokens, up to the first difference, that a repeated response must have.

Greedy decoding is deterministic on one processor; on others, rounding can change a close choice,
and every token after it.
"""


_CHECKED = tuple(
    name for name, sample in SLO_SAMPLES.items() if sample in (FIRST_TOKEN, BETWEEN_TOKENS)
)


class Generation(PolledInterface[GenerationRequest, GenerationResponse, GenerationEndpoint]):
    """Generation under a load: a number of requests in progress, or a rate of requests."""

    name = "generation"
    metrics = GENERATION_METRICS
    unserved = "it has no tokenizer, which requests with texts need"
    checked = _CHECKED
    slo_example = "{ttft_ms: 500, tpot_ms: 50}"
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

    def repeated(
        self, requests: Sequence[GenerationRequest], seed: int, start: int, step: int
    ) -> Iterator[GenerationRequest]:
        """Yield requests again and again, with other beginnings; see `distinct_requests`."""
        return distinct_requests(requests, seed, start, step)

    def measurements(self, timing: Timing) -> Mapping[str, Measurement]:
        """Return the metrics that were measured; see `generation_measurements`."""
        return generation_measurements(timing)

    def distributions(self, timing: Timing) -> Mapping[str, Percentiles]:
        """Return `PERCENTILES` of the time to the first token and of the gaps between tokens."""
        return time_distributions(timing, (FIRST_TOKEN, GAPS))

    def warnings(self, timing: Timing, cores: int) -> Sequence[str]:
        """Return warnings about the load generator."""
        return generator_warnings(timing, cores, "time to the first token")

    def not_measured(self, slo: Mapping[str, float], output_tokens: int | None) -> dict[str, str]:
        """Return the metrics that need limits or more tokens, and the capacity, with the reason."""
        found = {CAPACITY.name: NOT_OF_EVERY_TRIAL}
        if not slo:
            text = f"it needs limits: add the key workload.slo, such as {self.slo_example}"
            found[GOODPUT.name] = text
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
