"""The interface `tensors`: requests of named arrays, their files, and timed blocks."""

import time
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.statistics.formatting import number_text
from tunefront.evaluators.statistics.intervals import (
    mean_interval,
    median_interval,
    quantile_interval,
    widened,
)
from tunefront.evaluators.statistics.measurement import Measurement
from tunefront.evaluators.statistics.timing import Block, Timing
from tunefront.spaces import TF32, EvaluationError, ExportError
from tunefront.spaces.metric import Metric

from .base import Comparison, CpuClock, Interface, PassSize, until_steady
from .endpoint import Endpoint
from .load import Load

LATENCY = Metric(
    name="latency_ms",
    unit="ms",
    direction="minimize",
    summary="median time of one request (one batch)",
    kind="speed",
    follows="time",
)
LATENCY_P90 = Metric(
    name="latency_p90_ms",
    unit="ms",
    direction="minimize",
    summary="time that 90 % of the requests stay under",
    kind="speed",
    percentile=0.90,
)
LATENCY_P99 = Metric(
    name="latency_p99_ms",
    unit="ms",
    direction="minimize",
    summary="time that 99 % of the requests stay under",
    kind="speed",
    percentile=0.99,
)
THROUGHPUT = Metric(
    name="throughput",
    unit="items/s",
    direction="maximize",
    summary="items finished in a second, over all replicas",
    kind="speed",
    follows="rate",
    reference_rate=True,
)
TOKENS_PER_SECOND = Metric(
    name="tokens_per_second",
    unit="tokens/s",
    direction="maximize",
    summary="tokens read in a second, over all replicas; text tasks only",
    kind="speed",
    follows="rate",
)
TENSOR_METRICS = (LATENCY, LATENCY_P90, LATENCY_P99, THROUGHPUT, TOKENS_PER_SECOND)
"""Metrics of the interface, in the order of their listings."""

Inputs = Mapping[str, Array]
"""One request: an array for every input of the module; the first dimension is the batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One input of the module.

    Attributes:
        name: The argument's name in the module's `forward`.
        dims: For each dimension its size, or a name if the size varies (`batch`, `sequence`).
    """

    name: str
    dims: tuple[str | int, ...]


Call = Callable[[Inputs], Sequence[Array]]


SAMPLES = "samples.npz"
"""File of an export with a recorded request and its outputs."""
TOLERANCE: Mapping[str, float] = {
    "fp32": 1e-3,
    TF32: 2e-3,
    "bf16": 3e-2,
    "fp16": 1e-2,
}
"""Largest allowed difference of an output, relative to the largest recorded output, by precision;
of ids the largest share that may differ.

Other processors round differently; on the same processor differences are close to zero.
"""


class TensorEndpoint(Endpoint):
    """An endpoint that maps named arrays to arrays."""

    @abstractmethod
    def call(self, inputs: Inputs) -> Sequence[Array]:
        """Run one request and return the module's outputs; floating-point outputs are fp32."""

    def __call__(self, inputs: Inputs) -> Sequence[Array]:
        """Run one request; the same as `call`."""
        return self.call(inputs)


_SAMPLE_SCRIPT = """

if __name__ == "__main__":
    samples = np.load(HERE / "samples.npz")
    output = run(load(), {n[6:]: samples[n] for n in samples if n.startswith("input_")})[0]
    difference = np.abs(output - samples["output_0"]).max()
    print("output", output.shape, "| largest difference", difference)
"""


class Tensors(Interface[Inputs, Sequence[Array], TensorEndpoint]):
    """Requests of named arrays, called one after another in one thread."""

    name = "tensors"
    in_parts = True
    metrics = TENSOR_METRICS
    unserved = (
        "its outputs are scores of tokens, which answer no request; search `task: text-generation` "
        "for a model that writes text"
    )
    checked = (LATENCY.name,)
    usage = """\
from tunefront.evaluators import load
model = load("path/to/this/folder")
outputs = model(inputs)  # inputs by name, as in samples.npz without "input_"; a list
"""

    def sample_script(self) -> str:
        """Return lines that run the recorded arrays."""
        return _SAMPLE_SCRIPT

    def write(self, requests: Sequence[Inputs], folder: Path) -> None:
        """Write one file of arrays for each request."""
        for place, inputs in enumerate(requests):
            np.savez(folder / f"request_{place:06}.npz", allow_pickle=False, **dict(inputs))

    def read(self, folder: Path) -> list[Inputs]:
        """Read the requests in the order of their names."""
        made: list[Inputs] = []
        for path in sorted(folder.glob("request_*.npz")):
            with np.load(path, allow_pickle=False) as arrays:
                made.append({name: arrays[name] for name in arrays.files})
        return made

    def size(self, requests: Sequence[Inputs]) -> PassSize:
        """Return the items and tokens of all requests; see `tokens_of`."""
        counts = [tokens_of(request) for request in requests]
        tokens = None if None in counts else sum(count for count in counts if count is not None)
        return PassSize(items=sum(items_of(request) for request in requests), tokens=tokens)

    def respond(self, endpoint: TensorEndpoint, request: Inputs) -> Sequence[Array]:
        """Run one request.

        Raises:
            EvaluationError: If an output is not finite (cause "invalid output").
        """
        outputs = endpoint.call(request)
        if not all(np.isfinite(output).all() for output in outputs):
            raise EvaluationError("outputs hold NaN or infinite values", cause="invalid output")
        return outputs

    def run_pass(self, endpoint: TensorEndpoint, requests: Sequence[Inputs], load: Load) -> float:
        """Run all requests once and return the seconds."""
        return sum(_one_pass(endpoint.call, requests))

    def run_block(
        self,
        endpoint: TensorEndpoint,
        requests: Sequence[Inputs],
        load: Load,
        least_s: float,
        watch: CpuClock,
    ) -> Block:
        """Time whole passes; see the function `run_block`."""
        return run_block(endpoint.call, requests, least_s, watch)

    def measurements(self, timing: Timing) -> Mapping[str, Measurement]:
        """Return the speed metrics; see `speed_of`."""
        return speed_of(timing)

    def write_sample(self, request: Inputs, response: Sequence[Array], folder: Path) -> None:
        """Write `samples.npz`."""
        arrays = {f"input_{name}": array for name, array in request.items()}
        arrays |= {f"output_{place}": array for place, array in enumerate(response)}
        np.savez(folder / SAMPLES, allow_pickle=False, **arrays)

    def read_sample(self, folder: Path) -> tuple[Inputs, Sequence[Array]]:
        """Read `samples.npz`.

        Raises:
            ExportError: If it can't be read.
        """
        try:
            with np.load(folder / SAMPLES, allow_pickle=False) as arrays:
                found = {name: arrays[name] for name in arrays.files}
        except (OSError, ValueError) as error:
            raise ExportError(f"{folder / SAMPLES} can't be read: {error}") from error
        inputs = {name[6:]: array for name, array in found.items() if name.startswith("input_")}
        places = sorted(int(name[7:]) for name in found if name.startswith("output_"))
        return inputs, [found[f"output_{place}"] for place in places]

    def compare(
        self, recorded: Sequence[Array], now: Sequence[Array], allowed: float
    ) -> Comparison:
        """Compare outputs by their largest difference; see `TOLERANCE`."""
        worst = 0.0
        if len(recorded) != len(now):
            return Comparison(holds=False, detail=f"{len(now)} outputs, recorded {len(recorded)}")
        for before, after in zip(recorded, now, strict=True):
            if before.shape != after.shape:
                detail = f"shape {after.shape}, recorded {before.shape}"
                return Comparison(holds=False, detail=detail)
            if not np.isfinite(after).all():
                return Comparison(holds=False, detail="outputs hold NaN or infinite values")
            worst = max(worst, _difference(before, after))
        return Comparison(
            holds=bool(worst <= allowed),
            detail=f"largest difference {number_text(worst)} of the largest output (allowed "
            f"{number_text(allowed)})",
        )


def _difference(before: Array, after: Array) -> float:
    """Return the largest difference relative to the largest value; of ids the share that differs.

    Rounding changes an id, such as that of the most likely token, where two are about as likely.
    """
    if np.issubdtype(before.dtype, np.integer):
        return float(np.mean(before != after))
    scale = max(float(np.abs(before).max()), 1e-12)
    return float(np.abs(after - before).max()) / scale


def warm_up(call: Call, requests: Sequence[Inputs], limit_s: float) -> float:
    """Run passes until they are steady; return the seconds taken, see `until_steady`."""
    return until_steady(lambda: sum(_one_pass(call, requests)), limit_s)


def run_block(call: Call, requests: Sequence[Inputs], least_s: float, watch: CpuClock) -> Block:
    """Time whole passes for at least `least_s` seconds, after one untimed request.

    The untimed request refills the CPU caches, which other candidates' turns have emptied.
    """
    call(requests[0])
    passes: list[list[float]] = []
    start = time.perf_counter()
    watch.start()
    while not passes or time.perf_counter() - start < least_s:
        passes.append(_one_pass(call, requests))
    cpu_s, wait_s = watch.stop()
    mean = sum(items_of(request) for request in requests) / len(requests)
    untimed = items_of(requests[0]) / mean
    return Block(request_s=np.array(passes), cpu_s=cpu_s, wait_s=wait_s, untimed=untimed)


def _one_pass(call: Call, requests: Sequence[Inputs]) -> list[float]:
    seconds: list[float] = []
    for request in requests:
        start = time.perf_counter_ns()
        call(request)
        seconds.append((time.perf_counter_ns() - start) / 1e9)
    return seconds


def speed_of(timing: Timing) -> dict[str, Measurement]:
    """Return the speed metrics of one candidate, from its included turns.

    Percentiles are of single requests, by the same clock as the median. The intervals also cover
    the choice of the timed items: other items of the data take other times. Requests that are
    repeated, or that a slow moment of the machine made alike, count for a percentile by how much
    their times differ among themselves.
    """
    kept, times = timing.kept, timing.request_times
    turns, pooled = int(kept.sum()), np.concatenate(times) * 1e3
    each = np.array([one.mean() for one in times])
    percentiles = {
        metric: (metric.percentile or 0.0, timing.independent_requests(metric.percentile or 0.0))
        for metric in (LATENCY_P90, LATENCY_P99)
    }
    latency = median_interval(timing.latency_s[kept] * 1e3)
    rate = median_interval(timing.rate[kept] * timing.items)
    measured = {
        LATENCY: (widened(latency, median_interval(each)), len(pooled)),
        **{
            metric: (quantile_interval(pooled, share, independent), independent)
            for metric, (share, independent) in percentiles.items()
        },
        THROUGHPUT: (widened(rate, mean_interval(each)), turns),
    }
    if timing.tokens is not None:
        tokens = np.array(timing.tokens)[kept]
        measured[TOKENS_PER_SECOND] = (median_interval(timing.rate[kept] * tokens), turns)
    return {
        metric.name: Measurement(value=value, unit=metric.unit, low=low, high=high, samples=samples)
        for metric, ((value, low, high), samples) in measured.items()
    }


def items_of(request: Inputs) -> int:
    """Return the number of items in a request: the size of its first dimension."""
    return len(next(iter(request.values())))


def tokens_of(request: Inputs) -> int | None:
    """Return the tokens in a request without padding; None if it has no `attention_mask`."""
    mask = request.get("attention_mask")
    return None if mask is None else int(mask.sum())
