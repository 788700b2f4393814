"""Measured peaks of this machine with this process's threads: a matrix product and a copy."""

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from tunefront.spaces import FP8

from .profile import Roofline

if TYPE_CHECKING:
    import torch

SIZES = {"cpu": (512, 1024, 2048), "cuda": (4096, 8192)}
"""Widths of the square matrices; the fastest one depends on the caches."""
COPIED_BYTES = {"cpu": 128 * 2**20, "cuda": 1024 * 2**20}
EACH_S = 0.15
"""Minimum seconds of repetition of each matrix size and of the copy."""
INTEGER = ("dynamic", "static")
"""Methods that multiply integers; weight-only ones multiply floating-point numbers."""


def measure_roofline(device: str, precision: str, method: str, threads: int) -> Roofline:
    """Measure both peaks; takes about one second.

    Args:
        device: `cpu` or `cuda`.
        precision: Precision of the candidate.
        method: Quantization method of the candidate; empty if it is not quantized.
        threads: Number of threads to use.
    """
    import torch

    from tunefront.evaluators.interfaces.torch_tensors import DTYPES, switch_tf32

    torch.set_num_threads(threads)
    switch_tf32(precision, device)
    with torch.inference_mode():
        found = _integer_peak(device) if method in INTEGER else None
        if method == FP8:
            found = _fp8_peak(device)
        if found is None:
            dtype = DTYPES[precision]
            found = _peak(device, precision, lambda size: _random(size, dtype, device), torch.mm)
        gflops, product = found
        return Roofline(peak_gflops=gflops, peak_gb_s=_copy_gb_s(device), matmul=product)


def _random(size: int, dtype: "torch.dtype", device: str) -> "torch.Tensor":
    import torch

    return torch.rand(size, size, device=device).to(dtype)


def _integer_peak(device: str) -> tuple[float, str] | None:
    """Measure int8 matrix products; None if torch does not support them on the device."""
    import torch

    def made(size: int) -> torch.Tensor:
        return torch.randint(-100, 100, (size, size), dtype=torch.int8, device=device)

    try:
        return _peak(device, "int8", made, vars(torch)["_int_mm"])  # missing in torch's type stubs
    except RuntimeError:
        return None


def _fp8_peak(device: str) -> tuple[float, str] | None:
    """Measure fp8 matrix products with scales by row; None if torch does not support them there."""
    import torch

    def made(size: int) -> torch.Tensor:
        return _random(size, torch.float8_e4m3fn, device)

    def multiply(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        scales = torch.ones(len(a), 1, device=device)
        product: torch.Tensor = scaled_mm(a, b, scales, scales.t(), out_dtype=torch.bfloat16)
        return product

    scaled_mm: Any = vars(torch)["_scaled_mm"]  # missing in torch's type stubs
    try:
        return _peak(device, FP8, made, multiply)
    except RuntimeError:
        return None


def _peak(
    device: str,
    name: str,
    made: Callable[[int], "torch.Tensor"],
    multiply: Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"],
) -> tuple[float, str]:
    """Return GFLOP/s at the fastest size, and a description of the product."""
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
    """Return the shortest time of repeated runs in seconds."""
    import torch

    def once() -> float:
        start = time.perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    once()  # warm-up: libraries select kernels and pack data in the first run
    best, started = once(), time.perf_counter()
    while time.perf_counter() - started < EACH_S:
        best = min(best, once())
    return best
