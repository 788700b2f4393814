"""What this machine reaches with the threads of this process: a matrix product, and a copy."""

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from .profile import Roofline

if TYPE_CHECKING:
    import torch

SIZES = {"cpu": (512, 1024, 2048), "cuda": (4096, 8192)}
"""Of square matrices; which one is fastest depends on caches."""
COPIED_BYTES = {"cpu": 128 * 2**20, "cuda": 1024 * 2**20}
EACH_S = 0.15
"""Time for each of them."""
INTEGER = ("int8-dynamic", "int8-static")
"""Quantizations that multiply integers; weight-only ones multiply floating-point numbers."""


def measure_roofline(device: str, precision: str, quantization: str, threads: int) -> Roofline:
    """Measure both peaks, in a second or so.

    Args:
        device: `cpu` or `cuda`.
        precision: The candidate's.
        quantization: The candidate's.
        threads: Threads to use.
    """
    import torch

    from tunefront.evaluators.interfaces.torch_tensors import DTYPES

    torch.set_num_threads(threads)
    with torch.inference_mode():
        found = _integer_peak(device) if quantization in INTEGER else None
        if found is None:
            dtype = DTYPES[precision]
            found = _peak(device, precision, lambda size: _random(size, dtype, device), torch.mm)
        gflops, told = found
        return Roofline(peak_gflops=gflops, peak_gb_s=_copy_gb_s(device), matmul=told)


def _random(size: int, dtype: "torch.dtype", device: str) -> "torch.Tensor":
    import torch

    return torch.rand(size, size, device=device).to(dtype)


def _integer_peak(device: str) -> tuple[float, str] | None:
    """Of int8 matrices; None where torch can't multiply them here."""
    import torch

    def made(size: int) -> torch.Tensor:
        return torch.randint(-100, 100, (size, size), dtype=torch.int8, device=device)

    try:
        return _peak(device, "int8", made, vars(torch)["_int_mm"])  # missing in torch's own types
    except RuntimeError:
        return None


def _peak(
    device: str,
    name: str,
    made: Callable[[int], "torch.Tensor"],
    multiply: Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"],
) -> tuple[float, str]:
    """Billions of operations a second at the best size, and what was multiplied."""
    rates: list[tuple[float, int]] = []
    for size in SIZES[device]:
        a, b = made(size), made(size).t()
        seconds = _best_s(device, partial(multiply, a, b))
        rates.append((2.0 * size**3 / seconds / 1e9, size))
    best, size = max(rates)
    return best, f"{name} matrices of {size} x {size}, by torch"


def _copy_gb_s(device: str) -> float:
    import torch

    count = COPIED_BYTES[device] // 4
    source = torch.ones(count, dtype=torch.float32, device=device)
    target = torch.zeros_like(source)
    seconds = _best_s(device, lambda: target.copy_(source))
    return 2.0 * COPIED_BYTES[device] / seconds / 1e9


def _best_s(device: str, run: Callable[[], object]) -> float:
    """The shortest run of some."""
    import torch

    def once() -> float:
        start = time.perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    once()  # libraries choose and pack at the first run
    best, started = once(), time.perf_counter()
    while time.perf_counter() - started < EACH_S:
        best = min(best, once())
    return best
