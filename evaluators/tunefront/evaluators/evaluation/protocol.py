"""The measurement protocol of speed: duration, precision, and the stopping rule."""

from dataclasses import dataclass

from tunefront.evaluators.statistics.timing import SLOW_TURNS, Timing, half_width, undisturbed_turns


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """Duration and precision of speed measurements.

    Attributes:
        seconds: Seconds for the timed turns of all candidates together, three times as many for
            slow candidates; also the limit of each candidate's warm-up.
        precision: Relative half-width of the 95 % interval of the rate, or of its ratio to the
            baseline's, at which measuring stops.
        turns: Minimum number of turns; slow candidates can have fewer.
        requests: Number of different requests in a pass.
        block_s: Minimum seconds of a block.
        wait_s: Longest total wait in seconds while other processes keep the machine busy.
        reference: Whether the baseline is measured interleaved with every candidate.
    """

    seconds: float = 5.0
    precision: float = 0.03
    turns: int = 7
    requests: int = 4
    block_s: float = 0.1
    wait_s: float = 60.0
    reference: bool = True


def enough(
    timing: Timing, elapsed_s: float, protocol: Protocol, baseline: Timing | None = None
) -> bool:
    """Return whether the turns so far suffice.

    They do if at least `turns` of them are undisturbed (see `undisturbed_turns`), and either
    `seconds` have passed or the interval is narrow enough; also after three times `seconds`, with
    at least `SLOW_TURNS` turns.

    Args:
        timing: Timing of the candidate.
        elapsed_s: Seconds since the first turn, without waiting.
        protocol: The measurement protocol.
        baseline: Timing of the baseline in the same turns; then the interval is that of the ratio.
    """
    turns = len(timing.blocks)
    if elapsed_s >= 3 * protocol.seconds and turns >= SLOW_TURNS:
        return True
    if turns < protocol.turns or undisturbed_turns(timing, baseline).sum() < protocol.turns:
        return False
    return elapsed_s >= protocol.seconds or half_width(timing, baseline) <= protocol.precision
