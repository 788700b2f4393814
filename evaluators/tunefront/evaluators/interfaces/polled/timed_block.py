"""A timed block under a load: whole passes, all of them at the full load."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np

from tunefront.evaluators.interfaces.base import CpuClock
from tunefront.evaluators.interfaces.load import Load
from tunefront.evaluators.statistics.arrays import Floats
from tunefront.evaluators.statistics.formatting import percent_text
from tunefront.evaluators.statistics.timing import Block
from tunefront.spaces import EvaluationError

from .endpoint import PolledEndpoint, Repeat, RepeatedT, TimedResponse
from .load_generator import LoadGenerator, SentRequest

FIRST_TOKEN, BETWEEN_TOKENS, GAPS = "first_token_s", "between_tokens_s", "gaps_s"
"""Samples of a block: seconds to the first token, or whole response, and mean seconds between
tokens, shape `(passes, requests)`; each gap between two tokens, shape `(passes, requests, gaps)`.
NaN where there is none.
"""
LATE, GENERATOR_CPU = "late_s", "generator_cpu_s"
"""Samples of a block: seconds by which the load generator sent each request too late, shape
`(passes, requests)`; its own CPU seconds in the block, shape `(1,)`."""

MOST_BUSY = 0.5
"""Largest share of a block's time that the load generator's own work, in one thread, may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """What happened between the first timed request and the first one after the timed ones.

    Attributes:
        span_s: Its wall seconds.
        parts: Parts of responses that arrived, such as tokens, of timed and untimed requests.
        cpu_s: CPU seconds of the candidate's processes.
        wait_s: Seconds that their threads waited for a core.
        generator_s: CPU seconds of the load generator itself.
    """

    span_s: float
    parts: int
    cpu_s: float
    wait_s: float
    generator_s: float


def timed_block(
    endpoint: PolledEndpoint[RepeatedT, Any],
    requests: Sequence[RepeatedT],
    load: Load,
    least_s: float,
    watch: CpuClock,
    repeated: Repeat[RepeatedT],
) -> Block:
    """Time whole passes under a load for at least `least_s` seconds.

    The load is the same during all timed requests. Untimed requests are sent before them, until as
    many have ended as are in progress at a time, or in an open loop one. More follow after them
    while a timed one is in progress; then these are cancelled.

    Rates are taken between the sending of the first timed request and that of the first one after
    them. In a closed loop both follow the end of a request, so that as many requests are sent as
    end, and what is in progress at the two ends is alike. All parts that arrive in this time
    (tokens, or whole responses) count, of whatever request: where N requests are in progress, a
    count of whole requests is wrong by up to N - 1 parts of one.

    Every turn begins with another request: which of those in progress is the first to be read
    belongs to the load, not to the request.

    The replay of a trace is timed as it is: from its first request to the end of its last response,
    without others before and after.

    Args:
        endpoint: The endpoint.
        requests: The requests of a pass.
        load: When they are sent.
        least_s: Seconds that the passes take at least.
        watch: The clock of the CPU time of the endpoint's processes.
        repeated: Yields the requests again and again.
    """
    run = LoadGenerator(endpoint, load)
    first = 0 if load.replay else load.seed % len(requests)
    turned = [*requests[first:], *requests[:first]]
    timed = repeated(turned, load.seed, 0, 2)
    others = repeated(turned, load.seed, 1, 2)
    before = 0 if load.replay else 1 if load.open_loop else load.concurrency
    while run.ended < before:
        run.submit(next(others))
        run.wait()
    watch.start()
    run.resume()  # reading the CPU times of processes takes long on a busy machine
    start_s, parts, generator_s = time.perf_counter(), run.parts, run.own_cpu_s
    numbers: list[int] = []
    for place in count():
        whole = place > 0 and place % len(requests) == 0
        if whole and time.perf_counter() - start_s >= least_s:
            break
        numbers.append(run.submit(next(timed)))
        run.wait()
    if load.replay:
        run.finish()
    span_s = time.perf_counter() - start_s
    cpu_s, wait_s = watch.stop()
    window = _Window(
        span_s=span_s,
        parts=run.parts - parts,
        cpu_s=cpu_s,
        wait_s=wait_s,
        generator_s=run.own_cpu_s - generator_s,
    )
    while run.runs_any(numbers):
        run.submit(next(others))
        run.wait(until=lambda: not run.runs_any(numbers))
    run.cancel_rest()
    return replace(_block(run.sent(numbers), len(requests), window, run.parts), first=first)


def check_generator(block: Block) -> None:
    """Refuse a block in which the load generator limited the speed.

    Raises:
        EvaluationError: If it computed for more than `MOST_BUSY` of the time.
    """
    check_busy(float(block.samples[GENERATOR_CPU].sum()), block.wall_s)


def check_busy(own_s: float, wall_s: float) -> None:
    """Refuse a run in which the load generator limited the speed.

    Args:
        own_s: CPU seconds of the load generator itself.
        wall_s: Seconds of the run.

    Raises:
        EvaluationError: If it computed for more than `MOST_BUSY` of the time.
    """
    busy = own_s / wall_s
    if busy > MOST_BUSY:
        raise EvaluationError(
            f"the load generator itself computed for {percent_text(busy, decimals=0)} of the time, "
            f"so that it limits the speed (at most {percent_text(MOST_BUSY, decimals=0)} are "
            "allowed); lower load.concurrency or load.rate"
        )


def _block(sent: Sequence[SentRequest[Any]], places: int, window: _Window, parts: int) -> Block:
    """Return the block of timed requests.

    Args:
        sent: The timed requests, in the order of sending.
        places: Number of requests in a pass.
        window: What happened meanwhile.
        parts: All parts that arrived, also before and after.
    """
    responses = [one.response() for one in sent]
    own = sum(len(one.arrival_s) for one in responses)
    shape = (-1, places)
    return Block(
        request_s=np.array([one.arrival_s[-1] for one in responses]).reshape(shape),
        cpu_s=window.cpu_s,
        wait_s=window.wait_s,
        untimed=(parts - own) * len(sent) / own,
        span_s=window.span_s,
        passes=max(window.parts, 1) * len(sent) / (own * places),
        samples={
            FIRST_TOKEN: np.array([one.arrival_s[0] for one in responses]).reshape(shape),
            BETWEEN_TOKENS: np.array([_between_s(one) for one in responses]).reshape(shape),
            GAPS: _gaps(responses, places),
            LATE: np.array([one.late_s for one in sent]).reshape(shape),
            GENERATOR_CPU: np.array([window.generator_s]),
        },
    )


def _between_s(response: TimedResponse) -> float:
    """Return the mean seconds between tokens after the first; NaN for a single token."""
    arrival_s = response.arrival_s
    if len(arrival_s) < 2:
        return float("nan")
    return (arrival_s[-1] - arrival_s[0]) / (len(arrival_s) - 1)


def _gaps(responses: Sequence[TimedResponse], places: int) -> Floats:
    """Return the seconds between two tokens, shape `(passes, places, gaps)`, NaN past the last."""
    most = max(len(one.arrival_s) for one in responses) - 1
    gaps: Floats = np.full((len(responses), most), np.nan)
    for row, one in zip(gaps, responses, strict=True):
        row[: len(one.arrival_s) - 1] = np.diff(one.arrival_s)
    return gaps.reshape(len(responses) // places, places, most)
