"""How the checks of this folder run: on a GPU, within a time, with figures in a file.

Three variables:

* `TUNEFRONT_GPU_FIGURES` names the folder of `figures.json`, where every check writes what it
  measured before it asserts; without it the folder is one of the test run.
* `TUNEFRONT_GPU_SECONDS` is the time for all checks (480 s): one that would not fit is skipped.
* `TUNEFRONT_TEST_GPU_MECHANICS=1` runs the checks on the CPU, with small models: their figures say
  nothing then, but the checks themselves are run.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tunefront.evaluators import (
    BUILTIN_MEASURES,
    Evaluation,
    EvaluationSettings,
    Isolation,
    Measure,
    Protocol,
    Store,
    WorkloadSpec,
    builtin_catalog,
    candidate_key,
    evaluate,
)
from tunefront.evaluators.measures.energy import Energy
from tunefront.spaces import Configuration, Value

MECHANICS = "TUNEFRONT_TEST_GPU_MECHANICS"
FIGURES = "TUNEFRONT_GPU_FIGURES"
SECONDS = "TUNEFRONT_GPU_SECONDS"
DEFAULT_SECONDS = 480.0
QUICK = Protocol(seconds=1.0, turns=5, requests=2, block_s=0.1, wait_s=2.0)
BODY_TIMEOUT_S = 240.0
WITHOUT_ENERGY = tuple(one for one in BUILTIN_MEASURES if not isinstance(one, Energy))
"""The measures of most checks: energy on a GPU needs blocks of several seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """Where the checks run.

    Attributes:
        device: The device of configurations: `cuda`, or `cpu` for the mechanics.
        uuid: UUID of the GPU; empty on the CPU.
        memory_mb: Its memory in MB; 0 on the CPU.
        gpus: Number of visible GPUs; 0 on the CPU.
    """

    device: str
    uuid: str = ""
    memory_mb: int = 0
    gpus: int = 0

    @property
    def on_gpu(self) -> bool:
        return self.device == "cuda"

    @property
    def devices(self) -> tuple[str, ...]:
        """The names of the GPUs of a task."""
        return (self.uuid,) if self.uuid else ()

    def size(self, real: int, small: int) -> int:
        """A size on the GPU, and one that a CPU manages."""
        return real if self.on_gpu else small

    def need_gpu(self, why: str) -> None:
        """Skip what makes no sense on a CPU."""
        if not self.on_gpu:
            pytest.skip(f"needs a GPU: {why}")

    def need_gpus(self, count: int) -> None:
        """Skip what needs more GPUs than there are; on a CPU its processes share the cores."""
        if self.on_gpu and self.gpus < count:
            pytest.skip(f"needs {count} GPUs, and {self.gpus} is visible")

    def configuration(self, **values: Value) -> Configuration:
        """A complete configuration on the device; on the CPU in fp32."""
        chosen = {"device": self.device, "runtime": "torch", "threads": 1, **values}
        if not self.on_gpu:
            chosen["precision"] = "fp32"
        return builtin_catalog().complete(chosen)


class Figures:
    """The figures of all checks, in one file that is written again with every one of them."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "figures.json"
        self._checks: dict[str, dict[str, Any]] = {}

    def note(self, check: str, **values: Any) -> None:
        self._checks.setdefault(check, {}).update(values)
        text = json.dumps(self._checks, indent=1, default=str)
        partial = self.path.with_suffix(".partial")
        partial.write_text(text + "\n")
        partial.rename(self.path)


class CheckFigures:
    """The figures of one check."""

    def __init__(self, figures: Figures, check: str) -> None:
        self._figures, self._check = figures, check

    def __call__(self, **values: Any) -> None:
        """Write some values at once."""
        self._figures.note(self._check, **values)


class Budget:
    """The time for all checks together."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._start = seconds, time.monotonic()

    def skip_unless_it_fits(self, seconds: float) -> None:
        left = self._seconds - (time.monotonic() - self._start)
        if seconds > left:
            pytest.skip(
                f"takes about {seconds:g} s, and {left:.0f} of {self._seconds:g} s are left"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What a check evaluates candidates with: one store for all of them.

    Attributes:
        mode: Where they run.
        store: Folder of the store.
        isolation: Starts the processes.
        log: File for their output.
    """

    mode: Mode
    store: Path
    isolation: Isolation
    log: Path

    def settings(
        self, spec: WorkloadSpec, baseline: Configuration | None = None, **changes: Any
    ) -> EvaluationSettings:
        """The settings of a workload, whose name stands for the fingerprint of its content."""
        return EvaluationSettings(
            workload=spec,
            fingerprint=f"{spec.task}-{spec.model}",
            store=str(self.store),
            **{"protocol": QUICK, "baseline": dict(baseline or {}), **changes},
        )

    def evaluate(
        self,
        settings: EvaluationSettings,
        configuration: Configuration,
        measures: Sequence[Measure] = WITHOUT_ENERGY,
    ) -> Evaluation:
        return evaluate(settings, configuration, self.isolation, self.log, measures=measures)

    def candidate(self, settings: EvaluationSettings, configuration: Configuration) -> Path:
        """The folder of a candidate that was built."""
        folder = Store(Path(settings.store)).find(candidate_key(settings, configuration))
        assert folder is not None
        return folder


def values_of(found: Evaluation) -> dict[str, Any]:
    """What the figures keep of an evaluation."""
    return {
        "status": found.status,
        "cause": found.cause,
        "stage": found.stage,
        "message": found.message,
        "log": list(found.log[-5:]) if found.status == "failed" else [],
        "values": {name: one.value for name, one in found.measurements.items()},
        "relative": found.relative.value if found.relative else None,
        "facts": dict(found.facts),
        "machine": dict(found.machine),
        "warnings": list(found.warnings),
        "seconds": dict(found.seconds),
    }


def body(
    name: str,
    *,
    timeout_s: float = BODY_TIMEOUT_S,
    environment: Mapping[str, str] | None = None,
    **arguments: Any,
) -> dict[str, Any]:
    """Run a function of `bodies.py` in a fresh process; return what it returns."""
    done = subprocess.run(
        body_command(name, **arguments),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env={**os.environ, **(environment or {})},
        check=False,
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and lines, f"{name}: {done.stderr.strip()[-2000:]}"
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def body_command(name: str, **arguments: Any) -> list[str]:
    """The command that runs a function of `bodies.py`."""
    return [sys.executable, "-P", "-m", "tests.gpu.bodies", name, json.dumps(arguments)]


def gpu_pids() -> list[int]:
    """The processes with a context on any GPU, where NVML lists them."""
    import pynvml

    pynvml.nvmlInit()
    try:
        handles = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))
        return [
            int(one.pid)
            for handle in handles
            for one in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
        ]
    finally:
        pynvml.nvmlShutdown()


def used_mb(uuid: str) -> float:
    """The memory in use on a GPU, of all processes, in MB."""
    import pynvml

    pynvml.nvmlInit()
    try:
        handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        return float(pynvml.nvmlDeviceGetMemoryInfo(handle).used) / 2**20
    finally:
        pynvml.nvmlShutdown()


def wait_for_memory(uuid: str, most_mb: float, limit_s: float = 10.0) -> float:
    """Wait until no more than `most_mb` is in use; return the seconds, infinite if it never is."""
    start = time.monotonic()
    while used_mb(uuid) > most_mb:
        if time.monotonic() - start > limit_s:
            return float("inf")
        time.sleep(0.1)
    return time.monotonic() - start
