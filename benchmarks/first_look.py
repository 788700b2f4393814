"""What first looks at speed save, and whom they would have cost: a recorded search replayed.

    python benchmarks/first_look.py EXPERIMENT [--seeds 10] [--json FILE]

The record must hold a first look and all turns of every trial (`measurement: {early_stop: false}`,
as experiments/minilm-exhaustive has). Its trials are taken in the sampler's order and in random
ones; each is asked what its first look says beside those before it, as the search does. What ends
that nothing in the whole record beats was ended wrongly.
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
    """What first looks did in one order of the trials.

    Attributes:
        trials: That had a first look.
        ended: Trials that ended there.
        turns_saved: Share of all turns that were not taken.
        wrong: Of the ended ones, those on the whole record's front.
        correlation: Of the ranks by first look and by all turns, over all trials.
    """

    trials: int
    ended: int
    turns_saved: float
    wrong: int
    correlation: float


def replay(experiment: Experiment, trials: Sequence[Trial]) -> Replayed:
    """Ask every trial's first look beside the trials before it; the first one is the baseline."""
    front = {trial.number for trial in nondominated_trials(trials, experiment.objectives)}
    so_far: list[Trial] = []
    taken, wrong, ended = 0, 0, 0
    for number, trial in enumerate(trials):
        kept = ended_at_look(experiment, so_far, replace(trial, number=number))
        so_far.append(kept)
        look = interim_result_of(kept)
        over = look is not None and look.ended
        ended += over
        wrong += over and trial.number in front
        taken += INTERIM_TURNS if over else turns(trial)
    return Replayed(
        trials=sum(interim_result_of(trial) is not None for trial in trials),
        ended=ended,
        turns_saved=1 - taken / sum(map(turns, trials)),
        wrong=wrong,
        correlation=reliability_of(trials, experiment.objectives).correlation,
    )


def ended_at_look(experiment: Experiment, so_far: Sequence[Trial], trial: Trial) -> Trial:
    """The trial with what its first look says; as few turns where that ends it."""
    thresholds, look = thresholds_for(experiment, so_far, trial.number), interim_result_of(trial)
    if thresholds is None or look is None or trial.evaluation is None:
        return trial
    early = replace(trial.evaluation, relative=look.speed)
    seen = thresholds.interim_result(early)
    return replace(
        trial, evaluation=replace(early if seen.ended else trial.evaluation, first_look=seen)
    )


def turns(trial: Trial) -> int:
    """How many it had."""
    return len(trial.evaluation.blocks) if trial.evaluation is not None else 0


def main() -> None:
    """Print what was saved, in the record's order and in random ones."""
    parser = argparse.ArgumentParser(description="What first looks at speed save")
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
            f"{name:10} {one.ended:4} of {one.trials} ended, {one.turns_saved:.0%} of the turns "
            f"saved, {one.wrong} wrong"
        )
    print(f"ranks by first look and by all turns: {found['recorded'].correlation:.3f}")
    print(f"median saved {statistics.median(one.turns_saved for one in found.values()):.0%}")
    if options.json:
        told = {name: asdict(one) for name, one in found.items()}
        options.json.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
