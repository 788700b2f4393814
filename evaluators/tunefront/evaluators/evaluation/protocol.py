"""The measurement protocol of speed: duration, precision, and the stopping rule."""

from dataclasses import dataclass

from tunefront.evaluators.statistics.intervals import values_needed
from tunefront.evaluators.statistics.timing import SLOW_TURNS, Timing, half_width, undisturbed_turns

PERCENTILE_TIME = 4.0
"""Factor of the longest time for a slow candidate while requests for a percentile are missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """Duration and precision of speed measurements.

    Attributes:
        seconds: Seconds for the timed turns of all candidates together, three times as many for
            slow candidates; also the limit of each candidate's warm-up.
        precision: Relative half-width of the 95 % interval of the rate, or of its ratio to the
            baseline's, at which measuring stops.
        turns: Minimum number of turns; slow candidates can have fewer.
        requests: Number of parts of the sample that candidates are timed with, one after the other:
            turn k with part k modulo this number.
        part_items: Items of each part; a multiple of all batch sizes of a search, so that all of
            them are timed with the same items.
        percentile: The largest percentile of requests among objectives and limits, as a share; 0
            if there is none. Measuring continues until enough requests are timed for its interval.
        block_s: Minimum seconds of a block.
        wait_s: Longest total wait in seconds while other processes keep the machine busy.
        reference: Whether the baseline is measured interleaved with every candidate.
    """

    seconds: float = 5.0
    precision: float = 0.03
    turns: int = 7
    requests: int = 4
    part_items: int = 8
    percentile: float = 0.0
    block_s: float = 0.1
    wait_s: float = 60.0
    reference: bool = True

    @property
    def requests_needed(self) -> int:
        """Number of independent requests that the interval of `percentile` takes."""
        return values_needed(self.percentile) if self.percentile else 0


def enough(
    timing: Timing, elapsed_s: float, protocol: Protocol, baseline: Timing | None = None
) -> bool:
    """Return whether the turns so far suffice.

    They do if at least `turns` of them are undisturbed (see `undisturbed_turns`), and either
    `seconds` have passed or the interval is narrow enough; also after three times `seconds`, with
    at least `SLOW_TURNS` turns.
    If a percentile decides, they must also have enough independent requests, for which slow
    candidates get `PERCENTILE_TIME` times as long.

    Args:
        timing: Timing of the candidate.
        elapsed_s: Seconds since the first turn, without waiting.
        protocol: The measurement protocol.
        baseline: Timing of the baseline in the same turns; then the interval is that of the ratio.
    """
    turns = len(timing.blocks)
    needed = protocol.requests_needed
    missing = needed > 0 and timing.independent_requests < needed
    longest_s = 3 * protocol.seconds * (PERCENTILE_TIME if missing else 1.0)
    if elapsed_s >= longest_s and turns >= SLOW_TURNS:
        return True
    undisturbed = int(undisturbed_turns(timing, baseline).sum())
    if missing or turns < protocol.turns or undisturbed < protocol.turns:
        return False
    return elapsed_s >= protocol.seconds or half_width(timing, baseline) <= protocol.precision
