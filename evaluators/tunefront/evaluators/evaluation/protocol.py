"""The measurement protocol of speed: duration, precision, and the stopping rule."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tunefront.evaluators.statistics.intervals import values_needed
from tunefront.evaluators.statistics.timing import SLOW_TURNS, Timing, half_width, undisturbed_turns

PERCENTILE_TIME = 4.0
"""Factor of the longest time for a slow candidate while requests for a percentile are missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """Duration and precision of speed measurements.

    Attributes:
        seconds: Seconds for the timed turns of all candidates together at each load level, three
            times as many for slow candidates; also the limit of each candidate's warm-up there.
        precision: Relative half-width of the 95 % interval of the rate, or of its ratio to the
            baseline's, at which measuring stops.
        turns: Minimum number of turns; slow candidates can have fewer.
        requests: Number of parts of the sample that candidates are timed with, one after the other:
            turn k with part k modulo this number.
        part_items: Items of each part; a multiple of all batch sizes of a search, so that all of
            them are timed with the same items.
        percentiles: The largest percentile of requests among objectives and limits, as a share, by
            load level (an empty name if there is one); none if it is 0 or missing. Measuring
            continues until enough requests are timed for its interval.
        block_s: Minimum seconds of a block.
        wait_s: Longest total wait in seconds while other processes keep the machine busy.
        reference: Whether the baseline is measured interleaved with every candidate.
    """

    seconds: float = 5.0
    precision: float = 0.03
    turns: int = 7
    requests: int = 4
    part_items: int = 8
    percentiles: Mapping[str, float] = field(default_factory=dict)
    block_s: float = 0.1
    wait_s: float = 60.0
    reference: bool = True

    def percentile(self, level: str) -> float:
        """Return the percentile that decides at a load level; 0 if there is none."""
        return self.percentiles.get(level, 0.0)

    def requests_needed(self, level: str) -> int:
        """Return the number of independent requests that the interval of `percentile` takes."""
        share = self.percentile(level)
        return values_needed(share) if share else 0


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
        elapsed_s: Seconds since the first turn, without waiting, divided by the number of load
            levels.
        protocol: The measurement protocol.
        baseline: Timing of the baseline in the same turns; then the interval is that of the ratio.
    """
    turns = len(timing.blocks)
    share, needed = protocol.percentile(timing.level), protocol.requests_needed(timing.level)
    missing = needed > 0 and timing.independent_requests(share) < needed
    longest_s = 3 * protocol.seconds * (PERCENTILE_TIME if missing else 1.0)
    if elapsed_s >= longest_s and turns >= SLOW_TURNS:
        return True
    undisturbed = int(undisturbed_turns(timing, baseline).sum())
    if missing or turns < protocol.turns or undisturbed < protocol.turns:
        return False
    return elapsed_s >= protocol.seconds or half_width(timing, baseline) <= protocol.precision
