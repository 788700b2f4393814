"""A night of 1,000 quick trials: does anything grow that should not?

    python benchmarks/soak.py [--trials 1000] [--json FILE]

Real Ray, study, MLflow and evaluations of a small model. Memory and descriptors of the driver and
of the process that holds Ray, files of the search, and time a trial are noted at every trial; the
table compares the trials around the hundredth with the last ones. What the driver works for a trial
is told in CPU seconds, too, which others on the machine don't lengthen.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from tunefront.search import run_search
from tunefront.search.cluster.supervisor import processes_of, ray_folder_of
from tunefront.search.run.events import Event, TrialFinished
from tunefront.search.terminal.events import event_text

HERE = Path(__file__).parent
EXPERIMENT = """\
name: soak
workload: {task: custom, model: "mine:model", inputs: "mine:inputs", quality: "mine:quality"}
space:
  precision: [fp32, bf16]
  batch_size: {low: 1, high: 1000}
  threads: [1, 2]
baseline: {runtime: torch, precision: fp32, batch_size: 1, threads: 1}
objectives: {score: maximize, throughput: maximize}
budget: {trials: TRIALS}
sampler: SAMPLER
measurement: {seconds: 0.05, turns: 3, requests: 2, wait: 0, reference: false}
confirmation: {finalists: 0}
"""
WINDOW = 50
"""Trials that a figure is taken over."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What there was when a trial ended."""

    at_s: float
    driver_cpu_s: float
    driver_mb: float
    ray_mb: float
    descriptors: int
    files: int
    megabytes: float


class Watch:
    """Takes a sample whenever a trial ends."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self.samples: list[Sample] = []

    def __call__(self, event: Event) -> None:
        """Print every event but those of trials, of which one in 50; sample after each trial."""
        text = event_text(event)
        if text and (not isinstance(event, TrialFinished) or len(self.samples) % 50 == 0):
            print(text, flush=True)
        if not isinstance(event, TrialFinished):
            return
        own = psutil.Process()
        services = [p for p in own.children() if "cluster.service" in " ".join(p.cmdline())]
        files = files_of(self.results) + files_of(ray_folder_of(self.results))
        self.samples.append(
            Sample(
                at_s=time.monotonic(),
                driver_cpu_s=sum(own.cpu_times()[:2]),
                driver_mb=own.memory_info().rss / 2**20,
                ray_mb=sum(p.memory_info().rss for p in services) / 2**20,
                descriptors=sum(p.num_fds() for p in [own, *services]),
                files=len(files),
                megabytes=sum(files) / 2**20,
            )
        )


def files_of(folder: Path) -> list[int]:
    """Sizes of all files below; those that vanish meanwhile don't count."""
    sizes: list[int] = []
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                sizes.append(os.lstat(os.path.join(parent, name)).st_size)
            except FileNotFoundError:
                continue
    return sizes


def figures(samples: Sequence[Sample], last: int) -> Mapping[str, float]:
    """Medians of the window that ends at a trial."""
    window = samples[max(0, last - WINDOW) : last]
    pairs = list(zip(window, window[1:], strict=False))
    gaps = [after.at_s - before.at_s for before, after in pairs]
    works = [after.driver_cpu_s - before.driver_cpu_s for before, after in pairs]
    found = {
        name: statistics.median(getattr(sample, name) for sample in window)
        for name in ("driver_mb", "ray_mb", "descriptors", "files", "megabytes")
    }
    return {
        "seconds a trial": statistics.median(gaps),
        "driver's CPU seconds": statistics.fmean(works),
        **found,
    }


def main() -> None:
    """Run, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description="Does anything grow over a long night?")
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--sampler", default="ehvi")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tunefront-soak-") as name:
        folder = Path(name)
        os.environ["TUNEFRONT_CACHE"] = str(folder / "cache")
        (folder / "mine.py").write_text((HERE.parent / "tests" / "faults" / "mine.py").read_text())
        written = EXPERIMENT.replace("TRIALS", str(options.trials))
        (folder / "experiment.yaml").write_text(written.replace("SAMPLER", options.sampler))
        watch = Watch(folder / "results" / "soak")
        result = run_search(folder, on_event=watch)
        left = processes_of(watch.results)
    early, late = (figures(watch.samples, last) for last in (100, len(watch.samples)))
    print(f"{len(watch.samples)} trials, {result.seconds / 60:.1f} min, {len(left)} processes left")
    for key, before in early.items():
        print(f"  {key:20} {before:9.3g} -> {late[key]:9.3g}   x {late[key] / before:.2f}")
    if options.json:
        options.json.write_text(
            json.dumps(
                {"early": early, "late": late, "samples": [asdict(s) for s in watch.samples]}
            )
        )


if __name__ == "__main__":
    main()
