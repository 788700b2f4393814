"""The load: when requests are sent."""

from dataclasses import dataclass

from tunefront.spaces import WorkloadError


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """When the requests of a timed block are sent.

    Attributes:
        concurrency: Requests in progress at the same time (a closed loop): the next one is sent
            when one has ended.
        rate_per_s: Requests a second, sent as a Poisson process whether or not earlier ones have
            ended (an open loop); None for a closed loop.
        seed: Number that the times of an open loop and the beginnings of prompts depend on: that
            of the turn, so that all candidates of a turn have the same.
    """

    concurrency: int = 1
    rate_per_s: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise WorkloadError(f"load: concurrency must be at least 1, but got {self.concurrency}")
        if self.rate_per_s is not None and self.rate_per_s <= 0:
            raise WorkloadError(f"load: rate_per_s must be above 0, but got {self.rate_per_s:g}")

    @property
    def open_loop(self) -> bool:
        """Whether requests are sent at given times."""
        return self.rate_per_s is not None
