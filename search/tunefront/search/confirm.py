"""Finalists measured again, side by side: in turns with the baseline, in fresh processes.

Ratios are taken within a turn, so that a machine that drifts drags both figures along.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tunefront.evaluators import Evaluation, Measurement, Setting
from tunefront.spaces import STAGE_OF, Configuration

from .experiment import Experiment
from .job import Job, resources_of, run_job
from .picks import Front, front_of
from .study import Study
from .trial import Trial

REMEASURED = (
    "latency_ms",
    "latency_p90_ms",
    "latency_p99_ms",
    "throughput",
    "tokens_per_second",
    "peak_memory_mb",
    "model_memory_mb",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """What the rounds found.

    Attributes:
        rounds: For every finalist's number, the figures of each round by metric.
        asked: The finalists, those that failed a round included.
        alike: For a finalist's number, its throughput over that of the baseline's model run like
            it (its batch size, threads, replicas), a ratio a round. Absent where the baseline
            itself runs like it, or where its model can't.
    """

    rounds: Mapping[int, Sequence[Mapping[str, float]]]
    asked: Sequence[int] = ()
    alike: Mapping[int, Sequence[float]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "rounds": {str(n): [dict(r) for r in rounds] for n, rounds in self.rounds.items()},
            "asked": list(self.asked),
            "alike": {str(number): list(ratios) for number, ratios in self.alike.items()},
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Confirmation":
        """The inverse of `to_dict`; of nothing an empty one."""
        rounds = {int(number): found for number, found in fields.get("rounds", {}).items()}
        return cls(
            rounds=rounds,
            asked=fields.get("asked", ()),
            alike={int(number): ratios for number, ratios in fields.get("alike", {}).items()},
        )

    def speedup(self, number: int, baseline: int = 0) -> Measurement | None:
        """Throughput against the baseline's, within turns; None where either was not confirmed."""
        own, base = self.rounds.get(number, ()), self.rounds.get(baseline, ())
        return _ratio([o["throughput"] / b["throughput"] for o, b in zip(own, base, strict=False)])

    def speedup_alike(self, number: int) -> Measurement | None:
        """Throughput against the baseline's model run alike, within turns; None where unknown."""
        return _ratio(self.alike.get(number, ()))


def _ratio(ratios: Sequence[float]) -> Measurement | None:
    """The median ratio and the range of the rounds."""
    if not ratios:
        return None
    return Measurement(
        value=float(np.median(ratios)),
        unit="x",
        low=min(ratios),
        high=max(ratios),
        samples=len(ratios),
    )


def confirmed(trials: Sequence[Trial], confirmation: Confirmation) -> list[Trial]:
    """The record with the confirmed figures in place: the median round, and the rounds' range."""
    return [
        replace(trial, measurements={**trial.measurements, **_figures(trial, rounds)})
        if (rounds := confirmation.rounds.get(trial.number)) and trial.measured
        else trial
        for trial in trials
    ]


def _figures(trial: Trial, rounds: Sequence[Mapping[str, float]]) -> dict[str, Measurement]:
    figures: dict[str, Measurement] = {}
    for metric in REMEASURED:
        values = [found[metric] for found in rounds if metric in found]
        if values and metric in trial.measurements:
            figures[metric] = Measurement(
                value=float(np.median(values)),
                unit=trial.measurements[metric].unit,
                low=min(values),
                high=max(values),
                samples=len(values),
            )
    return figures


def finalists(experiment: Experiment, front: Front, trials: Sequence[Trial]) -> list[Trial]:
    """The baseline, the picks, the rest of the front, then near ties; as many as are wanted."""
    ordered = [
        *(pick.trial for pick in front.picks),
        *front.trials,
        *(tied for trial in front.trials for tied in front.ties[trial.number]),
    ]
    chosen = {t.number: t for t in ordered if t.number != 0}
    baseline = [trial for trial in trials if trial.number == 0]
    return baseline + list(chosen.values())[: experiment.confirmation.finalists]


def confirm(
    study: Study,
    setting: Setting,
    on_round: Callable[[int, int], None] = lambda done, of: None,
) -> Confirmation:
    """Measure the finalists again, in turns; Ray must be up.

    Args:
        study: The record; what is found is kept in it.
        setting: What all evaluations share.
        on_round: Called with the measurements done and those planned.
    """
    experiment = study.experiment
    trials = study.trials()
    chosen = finalists(experiment, front_of(experiment, trials), trials)
    if len(chosen) < 2:
        return Confirmation(rounds={})
    jobs = {trial.configuration: trial.number for trial in chosen} | twins_of(experiment, chosen)
    rounds: dict[Configuration, list[Mapping[str, float]]] = {job: [] for job in jobs}
    turns = [*jobs.items()] * experiment.confirmation.rounds
    for done, (configuration, number) in enumerate(turns, start=1):
        rounds[configuration].append(_remeasure(study, setting, number, configuration))
        on_round(done, len(turns))
    # Rounds are compared one by one: what failed in any has none to compare.
    whole = {configuration: found for configuration, found in rounds.items() if all(found)}
    confirmation = Confirmation(
        rounds={t.number: whole[t.configuration] for t in chosen if t.configuration in whole},
        asked=[trial.number for trial in chosen],
        alike=alike_ratios(experiment.baseline, chosen, whole),
    )
    study.set_confirmation(confirmation.to_dict())
    return confirmation


def twins_of(experiment: Experiment, chosen: Sequence[Trial]) -> dict[Configuration, int]:
    """The baseline's model as the finalists are run, each with the number of one of them."""
    twins = {twin_of(experiment.baseline, trial.configuration): trial.number for trial in chosen}
    known = {trial.configuration for trial in chosen}
    return {
        twin: number
        for twin, number in twins.items()
        if twin not in known and not experiment.space.obstacle(twin)
    }


def alike_ratios(
    baseline: Configuration,
    chosen: Sequence[Trial],
    rounds: Mapping[Configuration, Sequence[Mapping[str, float]]],
) -> dict[int, list[float]]:
    """How much of each finalist's gain is the model's, not its batch size's: a ratio a round."""
    ratios: dict[int, list[float]] = {}
    for trial in chosen:
        twin = twin_of(baseline, trial.configuration)
        alone = twin in (baseline, trial.configuration)
        if not alone and trial.configuration in rounds and twin in rounds:
            pairs = zip(rounds[trial.configuration], rounds[twin], strict=True)
            ratios[trial.number] = [own["throughput"] / base["throughput"] for own, base in pairs]
    return ratios


def twin_of(baseline: Configuration, other: Configuration) -> Configuration:
    """The baseline's model run as `other` is: its batch size, threads and replicas."""
    execution = {n: v for n, v in other.items() if STAGE_OF[n] == "execution"}
    return Configuration({**baseline, **execution})


def _remeasure(
    study: Study, setting: Setting, number: int, configuration: Configuration
) -> Mapping[str, float]:
    """One measurement in a worker; empty where it failed."""
    import ray

    job = Job(
        number=number,
        configuration=configuration,
        setting=setting,
        folder=study.experiment.results,
    )
    bundle = resources_of(configuration).bundles[0]
    task = ray.remote(run_job).options(num_cpus=bundle.get("CPU", 1), num_gpus=bundle.get("GPU", 0))
    evaluation = Evaluation.from_dict(ray.get(task.remote(job.to_dict())))
    if evaluation.status == "failed":
        return {}
    return {name: m.value for name, m in evaluation.measurements.items() if name in REMEASURED}
