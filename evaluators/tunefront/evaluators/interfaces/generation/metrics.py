"""Metrics of generation: times of requests and tokens, and rates."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tunefront.evaluators.interfaces.polled.metrics import (
    GOODPUT,
    REQUEST_TIMES,
    REQUESTS_PER_SECOND,
    SLO_SAMPLES,
    measured_rate,
    measured_times,
    request_rates,
)
from tunefront.evaluators.interfaces.polled.timed_block import BETWEEN_TOKENS, GAPS
from tunefront.evaluators.statistics.measurement import Measurement
from tunefront.evaluators.statistics.request_values import RequestValues
from tunefront.evaluators.statistics.timing import REQUEST, Timing
from tunefront.spaces.metric import Metric

OUTPUT_TOKENS_PER_SECOND = Metric(
    name="output_tokens_per_second",
    unit="tokens/s",
    direction="maximize",
    summary="generated tokens in a second, over all requests and replicas",
    kind="speed",
    follows="rate",
    reference_rate=True,
)
INPUT_TOKENS_PER_SECOND = Metric(
    name="input_tokens_per_second",
    unit="tokens/s",
    direction="maximize",
    summary="tokens of prompts in a second, over all requests and replicas",
    kind="speed",
    follows="rate",
)
GENERATION_METRICS = (
    OUTPUT_TOKENS_PER_SECOND,
    *REQUEST_TIMES,
    INPUT_TOKENS_PER_SECOND,
    REQUESTS_PER_SECOND,
    GOODPUT,
)
"""Metrics of the interface, in the order of their listings."""
OF_SEVERAL_TOKENS = tuple(m for m, name in REQUEST_TIMES.items() if name in (BETWEEN_TOKENS, GAPS))
"""Metrics of the time between tokens."""


def generation_measurements(timing: Timing) -> dict[str, Measurement]:
    """Return the measurements of `GENERATION_METRICS` from the included turns.

    Medians and rates are medians over the turns, percentiles are of single requests or gaps. The
    intervals also cover the choice of the timed requests: other prompts take other times.
    Times between tokens are left out if requests have a single one, the goodput without an SLO.
    """
    found = measured_times(timing, SLO_SAMPLES.values()) | request_rates(timing)
    found |= {metric.name: one for metric, one in _token_rates(timing).items()}
    return {
        metric.name: found[metric.name] for metric in GENERATION_METRICS if metric.name in found
    }


def _token_rates(timing: Timing) -> Mapping[Metric, Measurement]:
    """Return the metrics of the rates of tokens."""
    seconds = _seconds_per_token(timing)
    found = {
        OUTPUT_TOKENS_PER_SECOND: measured_rate(
            timing, OUTPUT_TOKENS_PER_SECOND, timing.items, seconds
        )
    }
    if timing.tokens is not None:
        number = np.array(timing.tokens)[timing.kept]
        found[INPUT_TOKENS_PER_SECOND] = measured_rate(
            timing, INPUT_TOKENS_PER_SECOND, number, timing.request_values()
        )
    return found


def _seconds_per_token(timing: Timing) -> RequestValues:
    """Return the seconds of each request divided by its tokens."""
    pairs = zip(timing.block_values(REQUEST), timing.block_values(GAPS), strict=True)
    return RequestValues.of(
        [
            replace(block, values=block.values / (np.isfinite(gaps.values).sum(axis=2) + 1))
            for block, gaps in pairs
        ]
    )
