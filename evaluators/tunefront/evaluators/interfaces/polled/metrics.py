"""Metrics of requests: their times and rate, and the rate that keeps the SLO."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from tunefront.evaluators.statistics.arrays import Floats
from tunefront.evaluators.statistics.formatting import percent_text
from tunefront.evaluators.statistics.intervals import (
    median_interval,
    quantile_interval,
    share_interval,
    widened,
)
from tunefront.evaluators.statistics.measurement import Measurement
from tunefront.evaluators.statistics.request_values import RequestValues
from tunefront.evaluators.statistics.timing import REQUEST, Timing
from tunefront.spaces.metric import Metric

from .timed_block import BETWEEN_TOKENS, FIRST_TOKEN, GAPS, GENERATOR_CPU, LATE

Interval = tuple[float, float, float]
_SAMPLES = {
    "ttft": (FIRST_TOKEN, "time from a request to its first token"),
    "tpot": (BETWEEN_TOKENS, "mean time between the tokens of a request"),
    "itl": (GAPS, "time between two tokens of a request (0 if they arrive together)"),
    "e2e_latency": (REQUEST, "time from a request to the end of its response"),
}
"""Samples of a block by the beginning of their metrics' names, with a description."""


def _times() -> dict[Metric, str]:
    """Return the metrics of times, each with its sample: median, 90 % and 99 %."""
    found: dict[Metric, str] = {}
    for name, (sample, text) in _SAMPLES.items():
        for suffix, percentile in (("", None), ("_p90", 0.90), ("_p99", 0.99)):
            stays = "" if percentile is None else f", which {percent_text(percentile)} stay under"
            metric = Metric(
                name=f"{name}{suffix}_ms",
                unit="ms",
                direction="minimize",
                summary=f"{text}{stays}" if stays else f"median {text}",
                kind="speed",
                percentile=percentile,
            )
            found[metric] = sample
    return found


REQUEST_TIMES: Mapping[Metric, str] = _times()
"""The metrics of times, each with its sample."""
REQUESTS_PER_SECOND = Metric(
    name="requests_per_second",
    unit="requests/s",
    direction="maximize",
    summary="requests in a second, over all replicas",
    kind="speed",
    follows="rate",
)
GOODPUT = Metric(
    name="goodput",
    unit="requests/s",
    direction="maximize",
    summary="requests in a second that keep every limit of `slo`",
    kind="speed",
)
SLO_SAMPLES: Mapping[str, str] = {
    metric.name: sample for metric, sample in REQUEST_TIMES.items() if metric.percentile is None
}
"""What an SLO can limit, with the sample of each request that is compared with the limit.

Of the gaps between a request's tokens the largest one is compared; their mean is `tpot_ms`.
"""
MOST_LATE = 0.05
"""Share of the time to the first part of a response by which requests are sent too late without a
warning."""
MOST_GENERATOR_CPU = 0.1
"""Share of the tested cores' time that the load generator takes without a warning."""


def measured_times(timing: Timing, samples: Iterable[str]) -> dict[str, Measurement]:
    """Return the metrics of samples by name, from the included turns.

    Medians are medians over the turns, percentiles are of single requests or gaps. The intervals
    also cover the choice of the timed requests. Samples without a value have no metric.
    """
    return {
        name: one for sample in samples for name, one in _times_of_sample(timing, sample).items()
    }


def _times_of_sample(timing: Timing, sample: str) -> dict[str, Measurement]:
    """Return the metrics of a sample by name; none if no request has a value."""
    values = timing.request_values(sample)
    if not values.values.size:
        return {}
    found: dict[str, Measurement] = {}
    for metric in (one for one, name in REQUEST_TIMES.items() if name == sample):
        if metric.percentile is None:
            interval = median_interval(timing.turn_medians(sample) * 1e3)
            interval, count = _covering(interval, values.interval_of_choice()), len(values.values)
        else:
            count = values.independent_at(metric.percentile)
            interval = quantile_interval(values.values * 1e3, metric.percentile, count)
        found[metric.name] = _measurement(metric, interval, count)
    return found


def measured_rate(
    timing: Timing, metric: Metric, number: float | Floats, chosen: RequestValues
) -> Measurement:
    """Return the metric of a rate, the median over the included turns.

    Args:
        timing: The timing.
        metric: The metric.
        number: What it counts in a pass: one number, or one for each included turn.
        chosen: What each request contributes, for the error of the choice of requests.
    """
    rate = timing.rate[timing.kept]
    interval = _covering(median_interval(rate * number), chosen.interval_of_choice())
    return _measurement(metric, interval, len(rate))


def request_rates(timing: Timing) -> dict[str, Measurement]:
    """Return the rate of requests, and with an SLO the rate of those that keep it, by name."""
    seconds = timing.request_values()
    rate = measured_rate(
        timing, REQUESTS_PER_SECOND, timing.blocks[0][0].request_s.shape[1], seconds
    )
    found = {REQUESTS_PER_SECOND.name: rate}
    if timing.slo:
        found[GOODPUT.name] = _goodput(timing, rate)
    return found


def _goodput(timing: Timing, requests: Measurement) -> Measurement:
    """Return the rate of requests times the share of them that keeps the SLO.

    The ends of its interval are the products of the ends of both intervals.
    """
    kept = keeps_slo(timing)
    share, low, high = share_interval(float(kept.values.mean()), kept.independent)
    interval = (requests.value * share, requests.low * low, requests.high * high)
    return _measurement(GOODPUT, interval, kept.independent)


def keeps_slo(timing: Timing) -> RequestValues:
    """Return for every request 1 if it keeps all limits of the SLO, else 0."""
    samples = [timing.block_values(SLO_SAMPLES[name]) for name in timing.slo]
    limits_s = [limit / 1e3 for limit in timing.slo.values()]
    return RequestValues.of(
        [
            replace(block[0], values=_all_within([one.values for one in block], limits_s))
            for block in zip(*samples, strict=True)
        ]
    )


def _all_within(samples: Sequence[Floats], limits: Sequence[float]) -> Floats:
    """Return 1 where no value of a request is above its limit, else 0; of shape `(p, requests)`."""
    above = [values > limit for values, limit in zip(samples, limits, strict=True)]
    broken = [one.any(axis=2) if one.ndim == 3 else one for one in above]
    kept: Floats = 1.0 - np.any(broken, axis=0)
    return kept


def generator_warnings(
    timing: Timing, cores: int, waited: str = "time to the first token"
) -> tuple[str, ...]:
    """Return warnings about the load generator: it was late, or needed much CPU time.

    Args:
        timing: The timing.
        cores: Cores of each replica under test.
        waited: Name of the time until the first part of a response.
    """
    blocks = [block for turn in timing.blocks for block in turn]
    late, first, own_s = (
        sum(float(block.samples[name].sum()) for block in blocks)
        for name in (LATE, FIRST_TOKEN, GENERATOR_CPU)
    )
    share = own_s / (cores * sum(block.wall_s for block in blocks))
    found: list[str] = []
    if late > MOST_LATE * first:
        found.append(
            f"the load generator sent requests too late, by {percent_text(late / first)} of the "
            f"{waited}; lower the rate"
        )
    if share > MOST_GENERATOR_CPU:
        found.append(
            f"the load generator needed {percent_text(share)} of the CPU time of the tested cores"
        )
    return tuple(found)


def _measurement(metric: Metric, interval: Interval, samples: int) -> Measurement:
    value, low, high = interval
    return Measurement(value=value, unit=metric.unit, low=low, high=high, samples=samples)


def _covering(interval: Interval, other: Interval) -> Interval:
    """Return an interval that also covers the relative error of another one, see `widened`.

    It is unchanged if an end is 0, as of gaps between tokens that arrive together.
    """
    return interval if min(interval[1], other[1]) <= 0 else widened(interval, other)
