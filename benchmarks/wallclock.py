"""Time to the front for real: `tunefront run`, then Ray Tune's OptunaSearch with TPE.

    python benchmarks/wallclock.py EXPERIMENT TABLE.json [--seed 0] [--hours 1] [--json FILE]

TABLE.json is the truth of the same space (staged.py --from makes it of an exhaustive search); of
both sides counts what they tried, at the truth's figures, against seconds since their start. Both
begin with nothing built. Theirs is what a user of Ray Tune would write: choices as a box, every
trial built, judged whole and measured once, without the baseline beside it; a combination that
can't run costs them nothing, and is told as the baseline's figures far beyond the limit. Each side
ends at 95 % of the exhaustive front.
"""

import argparse
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rival import LOSS, RAN
from rival import trial as rival_trial
from staged import CANT_RUN, SHARE, Replay, read_rows

from tunefront.evaluators import EvaluationSettings, builtin_catalog
from tunefront.evaluators.isolation.codec import to_plain
from tunefront.search import load_experiment
from tunefront.search.experiment.experiment import Experiment
from tunefront.search.experiment.objective import Limit
from tunefront.search.run.preflight import check_workload, prepare
from tunefront.search.study.study import STUDY_FILE, Study
from tunefront.spaces import Configuration

if TYPE_CHECKING:
    import optuna

POLL_S = 1.0


class Clock:
    """What was tried when, and the share of the front after it."""

    def __init__(self, name: str, replay: Replay, most_s: float) -> None:
        self.name = name
        self.replay = replay
        self.most_s = most_s
        self.start = time.monotonic()
        self.tried: list[int] = []
        self.curve: list[tuple[float, float]] = []

    def ended(self, configuration: Configuration) -> None:
        """A trial has ended."""
        self.tried.append(self.replay.place[configuration])
        at_s, share = time.monotonic() - self.start, self.replay.share(self.tried)
        self.curve.append((at_s, share))
        label = self.replay.rows[self.tried[-1]].configuration.label()
        print(f"{self.name} {at_s:6.0f} s  {share:.3f}  {label}", flush=True)

    @property
    def over(self) -> bool:
        """Whether the side is there, or its time is up."""
        there = bool(self.curve) and self.curve[-1][1] >= SHARE
        return there or time.monotonic() - self.start > self.most_s

    @property
    def found(self) -> dict[str, Any]:
        """Seconds to the share (none where it was not reached), trials, and the whole curve."""
        reached = next((at for at, share in self.curve if share >= SHARE), None)
        return {"seconds": reached, "trials": len(self.curve), "curve": self.curve}


def ours(experiment: Experiment, clock: Clock, seed: int) -> None:
    """The command, as a user gives it, in a process of its own; looked at from outside."""
    overrides = ["sampler=ehvi", f"seed={seed}", "measurement.early_stop=true"]
    words = [word for text in overrides for word in ("--set", text)]
    command = [sys.executable, "-m", "tunefront.search.cli", "run", str(experiment.path), *words]
    clock.start = time.monotonic()
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    seen: set[int] = set()
    while process.poll() is None:
        time.sleep(POLL_S)
        if not (experiment.results / STUDY_FILE).is_file():
            continue
        try:
            trials = Study.read(experiment).trials()
        except Exception as error:  # it may be just being made
            print(f"  {error}", file=sys.stderr)
            continue
        for trial in trials:
            if trial.status != "running" and trial.number not in seen:
                seen.add(trial.number)
                clock.ended(trial.configuration)
        if clock.over:
            break
    for _ in range(2):  # the second drops what is running
        process.send_signal(signal.SIGTERM)
        time.sleep(2)
    process.wait(timeout=120)


class Violations:
    """How far a trial of Optuna's breaks each limit; Ray keeps it in a file, so it has a name.

    Args:
        limits: On the loss of quality.
    """

    def __init__(self, limits: Sequence[Limit]) -> None:
        self.limits = limits
        self.losses: dict[str, float] = {}

    def __call__(self, frozen: "optuna.trial.FrozenTrial") -> Sequence[float]:
        """Not positive where a limit is kept."""
        loss = self.losses.get(_key(frozen.params), 0.0)
        return [limit.violation(loss) for limit in self.limits]


def theirs(experiment: Experiment, settings: EvaluationSettings, clock: Clock, seed: int) -> None:
    """Ray Tune with `OptunaSearch(TPESampler)`, every trial evaluated whole."""
    import optuna
    import ray
    from ray import tune
    from ray.tune.search import ConcurrencyLimiter
    from ray.tune.search.optuna import OptunaSearch

    plain = replace(
        settings,
        baseline={},
        quality_limit=None,
        protocol=replace(settings.protocol, reference=False),
    )
    violations = Violations(experiment.limits)

    class Told(tune.Callback):
        """Tells the clock, and the sampler how far a limit is broken."""

        def on_trial_result(
            self, iteration: int, trials: Any, trial: Any, result: Mapping[str, Any], **_: Any
        ) -> None:
            violations.losses[_key(trial.config)] = result[LOSS]
            if result[RAN]:
                clock.ended(experiment.space.member(trial.config))

    class Over(tune.Stopper):
        """Ends the search where the clock does."""

        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            return False

        def stop_all(self) -> bool:
            return clock.over

    clock.start = time.monotonic()
    ray.init(
        address="local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
    )
    search = OptunaSearch(
        metric=[o.metric for o in experiment.objectives],
        mode=["max" if o.direction == "maximize" else "min" for o in experiment.objectives],
        sampler=optuna.samplers.TPESampler(seed=seed, constraints_func=violations),
        points_to_evaluate=[_box(experiment, experiment.baseline)],
    )
    figures = clock.replay.baseline.figures
    cant_run = {**{o.metric: figures[o.metric] for o in experiment.objectives}, LOSS: CANT_RUN}
    body = tune.with_parameters(
        rival_trial,
        path=str(experiment.path),
        settings=to_plain(plain),
        base=clock.replay.base,
        cant_run=cant_run,
    )
    tuner = tune.Tuner(
        tune.with_resources(body, {"cpu": float(os.cpu_count() or 1)}),
        param_space={c.name: tune.choice(list(c.values)) for c in experiment.space.choices},
        tune_config=tune.TuneConfig(
            num_samples=10 * len(clock.replay.rows),
            search_alg=ConcurrencyLimiter(search, max_concurrent=1),
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            callbacks=[Told()], stop=Over(), verbose=0, storage_path=os.environ["TUNEFRONT_CACHE"]
        ),
    )
    tuner.fit()
    ray.shutdown()


def _box(experiment: Experiment, configuration: Configuration) -> dict[str, Any]:
    """A value for every choice, defaults included: what can't be left out of a box."""
    values = builtin_catalog().complete(configuration)
    return {choice.name: values[choice.name] for choice in experiment.space.choices}


def _key(values: Mapping[str, Any]) -> str:
    """The same for equal values, whatever their order."""
    return json.dumps(dict(sorted(values.items())))


def main() -> None:
    """Both sides, one after the other."""
    parser = argparse.ArgumentParser(description="Time to 95 % of the exhaustive front, for real")
    parser.add_argument("experiment", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hours", type=float, default=1.0, help="for each side, at the most")
    parser.add_argument("--only", choices=("ours", "theirs"), help="one side")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore", FutureWarning)  # of the way that Ray's search knows
    rows = read_rows(json.loads(options.table.read_text()))
    found: dict[str, Mapping[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="tunefront-wallclock-") as name:
        os.environ["TUNEFRONT_CACHE"] = name
        folder = options.experiment.absolute()
        copy = Path(name, "experiments")  # the truth's own record stays as it is
        shutil.copytree(folder.parent, copy, ignore=shutil.ignore_patterns("results"))
        experiment = load_experiment(copy / folder.name)
        prepare(experiment.prepare, print)
        settings, _ = check_workload(experiment, print)
        replay = Replay(experiment, rows)
        sides: Mapping[str, Callable[[Clock], None]] = {
            "ours": lambda clock: ours(experiment, clock, options.seed),
            "theirs": lambda clock: theirs(experiment, settings, clock, options.seed),
        }
        for side, start in sides.items():
            if options.only not in (None, side):
                continue
            clock = Clock(side, replay, 3600 * options.hours)
            start(clock)
            found[side] = clock.found
    for side, told in found.items():
        seconds = "not reached" if told["seconds"] is None else f"{told['seconds']:.0f} s"
        print(f"{side:7} {seconds}, {told['trials']} trials")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
