"""What early stopping saves and which trials it stops wrongly: a replay of a recorded search.

    python benchmarks/early_stopping.py EXPERIMENT [--seeds 10] [--json FILE]

The record must contain an interim result and all turns of every trial, as that of
experiments/minilm-exhaustive does (`measurement: {early_stop: false}`). The trials are replayed in
the recorded order and in random orders; as in a search, each is stopped early or not given the
trials before it. A trial was stopped wrongly if it is on the front of the whole record.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from tunefront.evaluators.benchmark.interleaved import INTERIM_TURNS
from tunefront.search import Experiment, Trial, load_experiment, recorded_result
from tunefront.search.sampling.early_stopping.reliability import (
    interim_result_of,
    nondominated_trials,
    reliability_of,
)
from tunefront.search.sampling.early_stopping.thresholds import thresholds_for


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """The result of early stopping in one order of the trials.

    Attributes:
        trials: Number of trials with an interim result.
        stopped: Number of trials stopped early.
        turns_saved: Share of all turns that were not measured.
        wrong: Number of trials stopped early that are on the front of the whole record.
        correlation: Rank correlation of interim and final speeds over all trials.
    """

    trials: int
    stopped: int
    turns_saved: float
    wrong: int
    correlation: float


def replay(experiment: Experiment, trials: Sequence[Trial]) -> Replayed:
    """Replay the trials in this order with early stopping; the first one is the baseline."""
    front = {trial.number for trial in nondominated_trials(trials, experiment.objectives)}
    so_far: list[Trial] = []
    measured, wrong, stopped = 0, 0, 0
    for number, trial in enumerate(trials):
        replayed = with_early_stopping(experiment, so_far, replace(trial, number=number))
        so_far.append(replayed)
        interim = interim_result_of(replayed)
        early = interim is not None and interim.stopped
        stopped += early
        wrong += early and trial.number in front
        measured += INTERIM_TURNS if early else turns(trial)
    return Replayed(
        trials=sum(interim_result_of(trial) is not None for trial in trials),
        stopped=stopped,
        turns_saved=1 - measured / sum(map(turns, trials)),
        wrong=wrong,
        correlation=reliability_of(trials, experiment.objectives).correlation,
    )


def with_early_stopping(experiment: Experiment, so_far: Sequence[Trial], trial: Trial) -> Trial:
    """Return the trial with the decision on its interim result; with interim speed if stopped."""
    thresholds, interim = thresholds_for(experiment, so_far, trial.number), interim_result_of(trial)
    if thresholds is None or interim is None or trial.evaluation is None:
        return trial
    early = replace(trial.evaluation, relative=interim.speed)
    decided = thresholds.interim_result(early)
    return replace(
        trial, evaluation=replace(early if decided.stopped else trial.evaluation, interim=decided)
    )


def turns(trial: Trial) -> int:
    """Return the number of turns of a trial."""
    return len(trial.evaluation.blocks) if trial.evaluation is not None else 0


def main() -> None:
    """Print what early stopping saves in the recorded order and in random orders."""
    parser = argparse.ArgumentParser(description="What early stopping saves")
    parser.add_argument("experiment", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    experiment = replace(load_experiment(options.experiment), early_stop=True)
    trials = [trial for trial in recorded_result(experiment).trials if trial.measured]
    orders = {"recorded": trials}
    for seed in range(options.seeds):
        mixed = np.random.default_rng(seed).permutation(len(trials) - 1) + 1
        orders[f"random {seed}"] = [trials[0], *(trials[place] for place in mixed)]
    found = {name: replay(experiment, order) for name, order in orders.items()}
    for name, one in found.items():
        print(
            f"{name:10} {one.stopped:4} of {one.trials} stopped, {one.turns_saved:.0%} of "
            f"the turns saved, {one.wrong} wrong"
        )
    print(f"rank correlation of interim and final speeds: {found['recorded'].correlation:.3f}")
    print(f"median saved {statistics.median(one.turns_saved for one in found.values()):.0%}")
    if options.json:
        record = {name: asdict(one) for name, one in found.items()}
        options.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
