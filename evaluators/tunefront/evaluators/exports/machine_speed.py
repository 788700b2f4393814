"""A fixed piece of work that times this machine: a matrix product and a copy.

`python -m tunefront.evaluators.exports.machine_speed` prints milliseconds as JSON. It runs on one
thread, in a separate process, so that it does not change the memory of what is measured.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable

MATRIX_WIDTH = 384
"""Width of the multiplied matrices, which fit into a core's cache."""
MEGABYTES = 32
"""Size of the copied array, which does not fit."""
REPEATS = 15


def probe() -> dict[str, float]:
    """Return the median ms of a matrix product in the cache, and of a copy through main memory."""
    import numpy as np

    matrix = np.full((MATRIX_WIDTH, MATRIX_WIDTH), 0.5, dtype=np.float32)
    product = np.empty_like(matrix)
    source = np.zeros(MEGABYTES * 2**18, dtype=np.float32)
    target = np.ones_like(source)
    return {
        "compute_ms": _median_ms(lambda: np.matmul(matrix, matrix, out=product)),
        "memory_ms": _median_ms(lambda: np.copyto(target, source)),
    }


def _median_ms(work: Callable[[], object]) -> float:
    seconds: list[float] = []
    work()
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return 1e3 * statistics.median(seconds)


if __name__ == "__main__":
    os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
    json.dump(probe(), sys.stdout)
