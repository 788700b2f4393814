"""How long the morning's commands take to answer from a night of 1,000 trials.

    python benchmarks/answers.py [--trials 1000] [--json FILE]

A real study on sqlite, filled through its own `ask` and `tell` with made-up figures; then `show`,
`pick` and `compare` as processes of their own, by the wall clock and by the CPU's, beside a process
that only imports Optuna, which none of them needs.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tunefront.evaluators import Evaluation, Measurement, WorkloadDescription
from tunefront.search import load_experiment
from tunefront.search.results.metadata import write_record
from tunefront.search.study.study import Study
from tunefront.spaces import Configuration

EXPERIMENT = """\
name: answers
workload: {task: causal-lm, model: nowhere, data: nowhere.jsonl}
space:
  precision: [fp32, bf16]
  quantization_bits: [16, 8]
  batch_size: {low: 1, high: 1000}
  threads: [1, 2]
baseline: {runtime: torch, precision: fp32, quantization_bits: 16, batch_size: 1, threads: 1}
objectives: {throughput: maximize, peak_memory_mb: minimize, perplexity: minimize}
limits: {quality_drop: "<= 5%"}
budget: {trials: 1000}
"""
ITEMS = 200
"""That quality was judged on."""
REPEATS = 3
LIMIT_S = 2.0
"""What an answer may take."""


def around(value: float, unit: str, spread: float) -> Measurement:
    """A figure with its interval."""
    half = spread * value
    return Measurement(value=value, unit=unit, low=value - half, high=value + half, samples=7)


def evaluation(configuration: Configuration, random: np.random.Generator) -> Evaluation:
    """Figures that follow from the choices, with noise, and as much beside them as in earnest."""
    batch, threads = configuration.number("batch_size"), configuration.number("threads")
    small = 0.5 if configuration["quantization_bits"] == 8 else 1.0
    noise = random.normal(size=3)
    speed = 20 * threads**0.5 * (1 + np.log(batch)) / small * (1 + 0.02 * noise[0])
    memory = 300 * small + 0.5 * batch + 20 * threads + 4 * noise[1]
    loss = (1 - small) * 6 + (configuration["precision"] == "bf16") * 2 + 0.3 * noise[2]
    items = 2.3 + loss / 100 + 0.05 * random.normal(size=ITEMS)
    return Evaluation(
        status="ok",
        measurements={
            "throughput": around(speed, "items/s", 0.02),
            "tokens_per_second": around(50 * speed, "tokens/s", 0.02),
            "latency_ms": around(1000 * batch / speed, "ms", 0.02),
            "latency_p90_ms": around(1100 * batch / speed, "ms", 0.03),
            "latency_p99_ms": around(1300 * batch / speed, "ms", 0.05),
            "peak_memory_mb": Measurement.exact(memory, "MB"),
            "weights_mb": Measurement.exact(100 * small, "MB"),
            "perplexity": around(float(np.exp(items.mean())), "", 0.01),
        },
        items=(tuple(items.tolist()), (1.0,) * ITEMS),
        relative=around(speed / 20, "x", 0.02),
        facts={
            "runtime": "torch",
            "threads": int(threads),
            "evaluated_items": ITEMS,
            "items": ITEMS,
        },
        machine={"load": 1.0, "steal": 0.0, "foreign": 0.01},
        blocks=tuple(random.normal(10, 0.1, size=30).tolist()),
        seconds={"prepare": 0.1, "build": 4.0, "quality": 2.0, "measure": 5.0, "total": 11.1},
    )


def make(folder: Path, trials: int) -> None:
    """A night of so many trials."""
    (folder / "experiment.yaml").write_text(EXPERIMENT)
    experiment = load_experiment(folder)
    enumeration = experiment.space.enumerate()
    random = np.random.default_rng(0)
    order = random.permutation(len(enumeration.runnable))
    others = [enumeration.runnable[int(place)] for place in order]
    chosen = [experiment.baseline, *(c for c in others if c != experiment.baseline)][:trials]
    study = Study.open(experiment, {"model and data": "made up"})
    write_record(experiment, enumeration, WorkloadDescription(fingerprint="made up"))
    for configuration in chosen:
        number = study.ask(configuration, reason="to fill the record")
        study.tell(number, evaluation(configuration, random))


def seconds(command: Sequence[str]) -> tuple[float, float]:
    """The median wall-clock seconds of a command, and CPU seconds."""
    wall: list[float] = []
    cpu: list[float] = []
    for _ in range(REPEATS):
        start, before = time.perf_counter(), os.times()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        after = os.times()
        wall.append(time.perf_counter() - start)
        used = after.children_user + after.children_system
        cpu.append(used - before.children_user - before.children_system)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
    return statistics.median(wall), statistics.median(cpu)


def main() -> int:
    """Print the table; 1 where an answer took too long."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--folder", type=Path, help="where the study is kept; a temporary one else")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tunefront-answers-") as name:
        folder = options.folder or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "results").is_dir():
            make(folder, options.trials)
        cli = [sys.executable, "-m", "tunefront.search.cli"]
        bound = ["--limit", "quality_drop<=2", "--prefer", "throughput"]
        found = {
            "import optuna": seconds([sys.executable, "-c", "import optuna"]),
            "show": seconds([*cli, "show", str(folder)]),
            "pick": seconds([*cli, "pick", str(folder), *bound]),
            "compare": seconds([*cli, "compare", str(folder), "baseline", "recommended"]),
        }
    alone = found["import optuna"][0]
    load = os.getloadavg()[0]
    print(f"{options.trials} trials, load {load:.1f}, median of {REPEATS}; limit {LIMIT_S:g} s")
    for command, (wall, cpu) in found.items():
        print(f"{command:14} {wall:6.2f} s, {cpu:5.2f} s of a CPU, {wall / alone:4.1f} x Optuna's")
    if options.json:
        options.json.write_text(json.dumps({"load": load, **found}, indent=2) + "\n")
    return int(max(wall for wall, _ in found.values()) > LIMIT_S)


if __name__ == "__main__":
    sys.exit(main())
