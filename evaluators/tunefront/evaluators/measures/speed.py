"""Speed: blocks of passes, warmed up until steady, repeated until the interval is narrow.

A pass runs every request once; a block is some passes in a row, long enough for the clocks. What is
summarised are blocks, so that a candidate may be timed in turns with others. Nothing here knows
processes or runtimes.
"""

import time
from collections.abc import Sequence

from tunefront.evaluators.evaluation.protocol import Protocol, enough
from tunefront.evaluators.interfaces.tensors import Call, Inputs, no_collection, run_block, warm_up
from tunefront.evaluators.statistics.timing import Block, Timing

from .machine import OwnWatch


def time_alone(call: Call, requests: Sequence[Inputs], protocol: Protocol) -> Timing:
    """Warm up, then time blocks until the protocol is satisfied, with nobody to take turns with."""
    blocks: list[list[Block]] = []
    with no_collection():
        warm_up(call, requests, protocol.seconds)
        watch = OwnWatch()
        start = time.perf_counter()
        while not blocks or not enough(
            Timing(blocks=tuple(blocks), requests=requests), time.perf_counter() - start, protocol
        ):
            blocks.append([run_block(call, requests, protocol.block_s, watch)])
    return Timing(blocks=blocks, requests=requests)
