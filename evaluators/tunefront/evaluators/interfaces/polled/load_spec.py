"""The load of a workload as written: when requests arrive, how long they are, their limits."""

from collections.abc import Mapping, Sequence
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
        concurrency: Requests in progress at a time (a closed loop): the load levels, one or
            several. A single level of 1 if neither this nor `rate` is given.
        rate: Requests in a second, at random times (an open loop with Poisson arrivals): the load
            levels.
        trace: A file with the times of requests, which are replayed (an open loop), and perhaps
            with their lengths.
        shared_prefix: Tokens at the beginning of every prompt that all prompts share; none if None.
        input_tokens: Tokens of every prompt; as in the data if None.
        output_tokens: Tokens of every response; the workload decides if None.

    Raises:
        WorkloadError: If values are out of range, or several kinds of load are given.
    """

    concurrency: tuple[int, ...] = ()
    rate: tuple[float, ...] = ()
    trace: str | None = None
    shared_prefix: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None

    def __post_init__(self) -> None:
        kinds = {
            "concurrency": _listed(self.concurrency),
            "rate": _listed(self.rate),
            "trace": self.trace or "",
        }
        given = [f"{name} {text}" for name, text in kinds.items() if text]
        if len(given) > 1:
            raise WorkloadError(
                "load: concurrency (requests in progress), rate (requests a second) and trace "
                f"(times in a file) are kinds of load, but got {' and '.join(given)}; keep one"
            )
        for rate in self.rate:
            if rate <= 0:
                raise WorkloadError(
                    f"load.rate: must be above 0 requests a second, but got {rate:g}; write how "
                    "many arrive in a second, or concurrency for a number in progress"
                )
        wholes = [("concurrency", level) for level in self.concurrency]
        wholes += [(name, getattr(self, name)) for name in _NEXT_STEP if name != "concurrency"]
        for name, value in wholes:
            if value is not None and value < 1:
                raise WorkloadError(
                    f"load.{name}: must be at least 1, but got {value}; {_NEXT_STEP[name]}"
                )
        for name, levels in (("concurrency", self.concurrency), ("rate", self.rate)):
            if len(set(levels)) < len(levels):
                raise WorkloadError(
                    f"load.{name}: every level can be listed once, but got {_listed(levels)}; "
                    "remove the second one"
                )

        if self.shared_prefix and self.input_tokens and self.shared_prefix >= self.input_tokens:
            raise WorkloadError(
                f"load.shared_prefix: must be below input_tokens, {self.input_tokens}, but got "
                f"{self.shared_prefix}; prompts need tokens of their own"
            )

    def loads(self, times_s: Sequence[float] = ()) -> tuple[Load, ...]:
        """Return when requests are sent, at each level from the lowest on.

        Args:
            times_s: The times of the trace, if there is one: seconds from its first request.

        Raises:
            WorkloadError: If there is a trace, whose times are not given.
        """
        if self.trace and not times_s:
            raise WorkloadError(
                "load.trace: this task does not replay traces; write concurrency or rate"
            )
        if self.trace:
            return (Load(times_s=tuple(times_s)),)
        if self.rate:
            return tuple(Load(rate_per_s=rate) for rate in sorted(self.rate))
        return tuple(Load(concurrency=number) for number in sorted(self.concurrency) or (1,))


def _listed(levels: Sequence[float]) -> str:
    return ", ".join(f"{level:g}" for level in levels)


_NEXT_STEP = {
    "concurrency": "1 sends one request after another",
    "shared_prefix": "remove the key for prompts that share nothing",
    "input_tokens": "remove the key for prompts as long as in the data",
    "output_tokens": f"remove the key for the length in the data, or {DEFAULT_OUTPUT_TOKENS}",
}


SLO_PRESETS: Mapping[str, Mapping[str, float]] = {
    "mlperf-server": {"ttft_ms": 2000.0, "tpot_ms": 200.0},
    "mlperf-interactive": {"ttft_ms": 450.0, "tpot_ms": 40.0},
}
"""Named limits: those of Llama 2 70B in MLPerf Inference (loadgen/mlperf.conf of
mlcommons/inference, `llama2-70b.Server` and `llama2-70b-interactive.Server`)."""


def slo_of(written: str | Mapping[str, float]) -> Mapping[str, float]:
    """Return the limits of the key `workload.slo`, which can be the name of a preset.

    Raises:
        WorkloadError: If there is no preset of that name.
    """
    if not isinstance(written, str):
        return written
    if written not in SLO_PRESETS:
        raise WorkloadError(
            f"slo: unknown preset {written!r}{did_you_mean(written, SLO_PRESETS)}; presets are "
            f"{' and '.join(SLO_PRESETS)}, or write limits such as {{ttft_ms: 500, tpot_ms: 50}}"
        )
    return SLO_PRESETS[written]


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
