"""What benchmarks/trust.py runs in other processes: models of known depth, the plain way, a load.

`python benchmarks/trust_parts.py SECONDS SEED` is the load: other people's work that comes and goes
on random cores, for so many seconds or until whoever started it is gone.
"""

import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

WIDTH, TOKENS = 256, 32
BUSY_S, IDLE_S = 3.0, 5.0
"""Mean seconds that the load lasts, and that it stays away."""
WARM_UPS, REPEATS = 10, 20
"""The plain way's, as the field's tools have them."""


def __getattr__(name: str) -> Callable[[], Any]:
    """`depth_N` returns a module of N equal blocks: time goes with N."""
    word, _, depth = name.partition("_")
    if word != "depth" or not depth.isdigit():
        raise AttributeError(name)
    return lambda: stack(int(depth))


def stack(depth: int) -> Any:  # a torch module; torch is not imported where it is not needed
    """So many residual feed-forward blocks."""
    import torch

    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = torch.nn.Linear(WIDTH, 4 * WIDTH)
            self.down = torch.nn.Linear(4 * WIDTH, WIDTH)

        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = hidden + self.down(torch.relu(self.up(hidden)))
            return found

    class Stack(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = torch.nn.ModuleList(Block() for _ in range(depth))

        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            for block in self.blocks:
                hidden = block(hidden)
            return hidden

    torch.manual_seed(0)
    module = Stack().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(0.1)
    return module


def inputs(batch_size: int, count: int) -> list[Mapping[str, np.ndarray]]:
    """Random requests, the same ones at every call."""
    draw = np.random.default_rng(0)
    return [
        {"hidden": draw.standard_normal((batch_size, TOKENS, WIDTH)).astype(np.float32)}
        for _ in range(count)
    ]


def quality(run: Callable[[Mapping[str, np.ndarray]], list[np.ndarray]]) -> float:
    """Nothing that matters here."""
    return float(np.isfinite(run(inputs(1, 1)[0])[0]).mean())


def plain(payload: Mapping[str, Any]) -> dict[str, object]:
    """The plain way: warm up ten times, time twenty requests by the wall clock, in one process."""
    from tunefront.evaluators import load
    from tunefront.evaluators.interfaces.builtin import read_request_sets
    from tunefront.evaluators.interfaces.tensors import TensorEndpoint

    candidate = load(payload["candidate"], threads=int(payload["threads"]))
    assert isinstance(candidate, TensorEndpoint)
    made = read_request_sets(Path(payload["requests"]))[""].requests
    for repeat in range(WARM_UPS):
        candidate(made[repeat % len(made)])
    seconds: list[float] = []
    for repeat in range(REPEATS):
        start = time.perf_counter()
        candidate(made[repeat % len(made)])
        seconds.append(time.perf_counter() - start)
    candidate.close()
    return {"ms": [1e3 * value for value in seconds], "mean_ms": 1e3 * statistics.mean(seconds)}


def load_machine(seconds: float, seed: int) -> None:
    """Burn one or two cores for a while, stay away for a while, again and again."""
    draw = random.Random(seed)
    deadline, parent = time.monotonic() + seconds, os.getppid()
    while time.monotonic() < deadline and os.getppid() == parent:
        burners = [
            subprocess.Popen([sys.executable, __file__, "burn", str(draw.expovariate(1 / BUSY_S))])
            for _ in range(draw.choice((1, 2)))
        ]
        for burner in burners:
            burner.wait()
        time.sleep(draw.expovariate(1 / IDLE_S))


def burn(seconds: float) -> None:
    """Multiply matrices on one thread."""
    matrix = np.random.default_rng(0).random((300, 300))
    deadline, parent = time.monotonic() + min(seconds, 30.0), os.getppid()
    while time.monotonic() < deadline and os.getppid() == parent:
        matrix = matrix @ matrix
        matrix /= matrix.max()


if __name__ == "__main__":
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    if sys.argv[1] == "burn":
        burn(float(sys.argv[2]))
    else:
        load_machine(float(sys.argv[1]), int(sys.argv[2]))
