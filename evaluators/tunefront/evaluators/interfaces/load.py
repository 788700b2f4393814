"""The load: when requests are sent."""

from collections.abc import Sequence
from dataclasses import dataclass

from tunefront.spaces import WorkloadError


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """When the requests of a timed block are sent.

    Attributes:
        concurrency: Requests in progress at the same time (a closed loop): the next one is sent
            when one has ended.
        rate_per_s: Requests a second, sent as a Poisson process whether or not earlier ones have
            ended (an open loop); None for another load.
        times_s: Seconds from the first request to each of them, ascending, at which they are sent
            (an open loop, the replay of a trace); empty for another load.
        seed: Number that the times of an open loop and the beginnings of prompts depend on: that
            of the turn, so that all candidates of a turn have the same.
    """

    concurrency: int = 1
    rate_per_s: float | None = None
    times_s: tuple[float, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise WorkloadError(f"load: concurrency must be at least 1, but got {self.concurrency}")
        if self.rate_per_s is not None and self.rate_per_s <= 0:
            raise WorkloadError(f"load: rate_per_s must be above 0, but got {self.rate_per_s:g}")

    @property
    def level(self) -> str:
        """The name of the load among several: the requests in progress, or those a second."""
        return f"{self.concurrency if self.rate_per_s is None else self.rate_per_s:g}"

    @property
    def open_loop(self) -> bool:
        """Whether requests are sent at given times."""
        return self.rate_per_s is not None or self.replay

    @property
    def replay(self) -> bool:
        """Whether the times are those of a trace."""
        return bool(self.times_s)


def level_names(loads: Sequence[Load]) -> tuple[str, ...]:
    """Return the names of load levels; an empty one if there is only one level."""
    return tuple(load.level for load in loads) if len(loads) > 1 else ("",)
