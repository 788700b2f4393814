"""How long and how well speed is measured, and when it is enough."""

from dataclasses import dataclass

from tunefront.evaluators.statistics.timing import SLOW_TURNS, Timing, half_width


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How long and how well speed is measured.

    Attributes:
        seconds: Time for the timed turns; warm-up may take as long again.
        precision: Half-width of the 95 % interval of the median, relative, at which to stop.
        turns: Turns at the least.
        requests: Different requests in a pass.
        block_s: Seconds of a block at the least.
        wait_s: Seconds to wait, at the most, for a machine that others keep busy.
        reference: Whether the baseline is measured beside every candidate, in turns.
    """

    seconds: float = 5.0
    precision: float = 0.03
    turns: int = 7
    requests: int = 4
    block_s: float = 0.1
    wait_s: float = 60.0
    reference: bool = True


def enough(
    timing: Timing, elapsed_s: float, protocol: Protocol, beside: Timing | None = None
) -> bool:
    """Whether the turns so far will do; with a reference beside it what counts is their ratio."""
    turns = len(timing.blocks)
    if elapsed_s >= 3 * protocol.seconds and turns >= SLOW_TURNS:
        return True
    if turns < protocol.turns or timing.clean.sum() < min(turns, protocol.turns):
        return False
    return elapsed_s >= protocol.seconds or half_width(timing, beside) <= protocol.precision
