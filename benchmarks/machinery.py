"""What a trial costs beside building and measuring: our machinery, and what it replaces.

    python benchmarks/machinery.py [--trials 40]

Two comparisons, each with both sides in one run, in turns:

1. a fresh process for a step: forked from the fork server, against a new interpreter that imports
   the same libraries;
2. a trial that does nothing, through Ray Tune, the study and MLflow, against the same trial with a
   Ray actor of its own.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunefront.evaluators import (
    Evaluation,
    EvaluationSettings,
    Isolation,
    Measurement,
    builtin_catalog,
)
from tunefront.evaluators.isolation.preload import BUILD_IMPORTS, open_imports
from tunefront.evaluators.isolation.task import Task
from tunefront.search.cluster.session import ray_session
from tunefront.search.cluster.supervisor import RaySupervisor
from tunefront.search.experiment.experiment import Experiment
from tunefront.search.experiment.resolver import load_experiment
from tunefront.search.run.runner import Runner
from tunefront.search.run.sampler_factory import build_sampler
from tunefront.search.run.stopping import Stopping
from tunefront.search.study.study import Study

CATALOG = builtin_catalog()
IMPORTS = {
    "build": BUILD_IMPORTS,
    **{name: open_imports(CATALOG, name) for name in CATALOG.names("runtime")},
}
"""What fork servers import."""
SPACE = """\
name: machinery
workload: {task: causal-lm, model: m, data: d.jsonl}
space:
  runtime: [torch, inductor]
  precision: [fp32, bf16]
  quantization_bits: [16, 8]
  quantization_method: [dynamic, rtn]
  batch_size: {low: 1, high: 64}
baseline: {runtime: torch, precision: fp32, batch_size: 1}
objectives: {throughput: maximize, perplexity: minimize}
"""
REPEATS = 7


def no_trial(job: Mapping[str, Any]) -> Evaluation:
    """A trial that does nothing and says something plausible."""
    number = float(job["number"])
    measurements = {
        "throughput": Measurement.exact(10.0 + number % 7, "items/s"),
        "peak_memory_mb": Measurement.exact(100.0 + number % 5, "MB"),
        "perplexity": Measurement.exact(5.0 + number % 3, ""),
    }
    return Evaluation(status="ok", measurements=measurements)


def timed(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def fresh_processes(kit: str, folder: Path) -> tuple[list[float], list[float]]:
    """Seconds of a fresh process from the fork server, and of a new interpreter, in turns."""
    isolation = Isolation()
    task = Task(
        function="builtins:dict",  # the least that a task can do
        request={},
        result=dict,
        imports=IMPORTS[kit],
        log=folder / "log",
        timeout_s=120,
    )
    modules = [name for name in IMPORTS[kit] if ":" not in name]
    imports = "; ".join(f"import {name}" for name in modules)
    isolation.run(task)
    forked: list[float] = []
    started: list[float] = []
    for _ in range(REPEATS):
        forked.append(timed(lambda: isolation.run(task)))
        started.append(timed(lambda: subprocess.run([sys.executable, "-c", imports], check=True)))
    isolation.close()
    return forked, started


def trials_through_the_house(experiment: Experiment, count: int) -> tuple[float, float]:
    """Seconds a trial through Tune and the study, and seconds a trial to project it to MLflow."""
    from tunefront.search.results.result import result_of
    from tunefront.search.study.confirmation import Confirmation
    from tunefront.search.tracking.projection import Projection

    study = Study.open(experiment, {"benchmark": "machinery"})
    runnable = experiment.space.enumerate().runnable
    runner = Runner(
        study,
        build_sampler(experiment, runnable),
        runnable,
        EvaluationSettings(workload=experiment.workload, fingerprint="none", store="none"),
        concurrent=1,
        stopping=Stopping(trials=count),
        on_trial=lambda trial: None,
        body="benchmarks.machinery:no_trial",
    )
    ends: list[float] = []
    runner.on_trial = lambda trial: ends.append(time.perf_counter())
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])  # where workers find the body
    with RaySupervisor(experiment.results, 2) as host:
        runner.run(host)
    # The first trials carry the start of the worker.
    gaps = [after - before for before, after in zip(ends[1:], ends[2:], strict=False)]
    projection = Projection(experiment, study.search_id)
    trials = study.trials()
    result = result_of(experiment, trials, Confirmation(rounds={}))
    project = timed(lambda: projection.write_trials(trials, result))
    return statistics.median(gaps), project / count


def trials_with_actors_of_their_own(experiment: Experiment, count: int) -> float:
    """Seconds a trial where each has a fresh Ray actor."""
    import ray

    class Worker:
        """A worker for one trial."""

        def work(self, job: Mapping[str, Any]) -> Evaluation:
            """The trial."""
            return no_trial(job)

    remote: Any = ray.remote(Worker)
    seconds: list[float] = []
    for number in range(count):

        def one(number: int = number) -> None:
            actor = remote.remote()
            ray.get(actor.work.remote({"number": number}))
            ray.kill(actor)

        seconds.append(timed(one))
    return statistics.median(seconds)


def spread(values: Sequence[float]) -> str:
    """Median and range in milliseconds."""
    return (
        f"{1e3 * statistics.median(values):7.0f} ms "
        f"({1e3 * min(values):.0f} to {1e3 * max(values):.0f}, n={len(values)})"
    )


def main() -> None:
    """Run both comparisons and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=40)
    trials = parser.parse_args().trials
    with tempfile.TemporaryDirectory(prefix="tunefront-") as name:
        folder = Path(name)
        print("a fresh process for a step")
        for kit in ("torch", "onnxruntime", "openvino", "build"):
            forked, started = fresh_processes(kit, folder)
            ratio = statistics.median(started) / statistics.median(forked)
            print(f"  {kit:12} forked  {spread(forked)}")
            print(f"  {'':12} started {spread(started)}   {ratio:.0f} times as long")
        file = folder / "experiment.yaml"
        file.write_text(SPACE)
        experiment = load_experiment(file)
        ours, projected = trials_through_the_house(experiment, trials)
        with ray_session(2):
            actors = trials_with_actors_of_their_own(experiment, 8)
        print(f"a trial that does nothing, {trials} of them")
        print(f"  through Tune and the study   {1e3 * ours:7.0f} ms (median)")
        print(f"  projected to MLflow          {1e3 * projected:7.0f} ms (mean, beside the search)")
        print(f"  with a Ray actor of its own  {1e3 * actors:7.0f} ms (median)")
        print(f"  an actor of its own alone takes {actors / ours:.1f} times as long")


if __name__ == "__main__":
    main()
