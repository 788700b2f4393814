"""The load of a workload as written: when requests arrive, how long they are, their limits."""

from collections.abc import Mapping
from dataclasses import dataclass

from tunefront.evaluators.interfaces.load import Load
from tunefront.spaces import WorkloadError, did_you_mean

from .metrics import SLO_SAMPLES

DEFAULT_OUTPUT_TOKENS = 64
"""Tokens that a response has if neither the load nor the data has a number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSpec:
    """The key `workload.load`.

    Attributes:
        concurrency: Requests in progress at a time (a closed loop); 1 if neither this nor `rate`
            is given.
        rate: Requests in a second, at random times (an open loop with Poisson arrivals).
        input_tokens: Tokens of every prompt; as in the data if None.
        output_tokens: Tokens of every response; the workload decides if None.

    Raises:
        WorkloadError: If values are out of range, or both kinds of load are given.
    """

    concurrency: int | None = None
    rate: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None

    def __post_init__(self) -> None:
        if self.concurrency is not None and self.rate is not None:
            raise WorkloadError(
                "load: concurrency (requests in progress) and rate (requests a second) are two "
                f"kinds of load, but got both, {self.concurrency} and {self.rate:g}; remove one"
            )
        if self.rate is not None and self.rate <= 0:
            raise WorkloadError(
                f"load.rate: must be above 0 requests a second, but got {self.rate:g}; write how "
                "many arrive in a second, or concurrency for a number in progress"
            )
        for name in ("concurrency", "input_tokens", "output_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise WorkloadError(
                    f"load.{name}: must be at least 1, but got {value}; {_NEXT_STEP[name]}"
                )

    def arrivals(self) -> Load:
        """Return when requests are sent."""
        return Load(concurrency=self.concurrency or 1, rate_per_s=self.rate)


_NEXT_STEP = {
    "concurrency": "1 sends one request after another",
    "input_tokens": "remove the key for prompts as long as in the data",
    "output_tokens": f"remove the key for the length in the data, or {DEFAULT_OUTPUT_TOKENS}",
}


def check_slo(slo: Mapping[str, float]) -> None:
    """Check the key `workload.slo`: limits of single requests, in ms by metric.

    Raises:
        WorkloadError: If a metric is unknown or a limit is not positive.
    """
    for name, limit in slo.items():
        if name not in SLO_SAMPLES:
            raise WorkloadError(
                f"slo: a request has no {name!r}{did_you_mean(name, SLO_SAMPLES)}; limits can be "
                f"set for {', '.join(SLO_SAMPLES)}"
            )
        if not limit > 0:
            raise WorkloadError(
                f"slo.{name}: must be above 0 ms, but got {limit:g}; write the longest time that "
                "is acceptable, or remove the key"
            )
