"""Confirmation: finalists measured again, interleaved with the baseline, in fresh processes.

All finalists that fit into memory together with the baseline share one interleaved run; otherwise
they are split into groups, each with the baseline. Each round starts new processes. Confirmed
measurements can change the front, so finalists are confirmed in up to three passes.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tunefront.evaluators import EvaluationSettings, Gpus, Metric
from tunefront.evaluators.isolation.cores import Lessee
from tunefront.evaluators.measures.gpu_memory import GPU_MEMORY
from tunefront.evaluators.pipelines.base import RoundResult, RoundSettings
from tunefront.search.cluster.jobs import TurnsJob
from tunefront.search.cluster.supervisor import RayLost, RaySupervisor
from tunefront.search.experiment.experiment import Experiment
from tunefront.search.experiment.references import to_run
from tunefront.search.front.picks import Front, front_of
from tunefront.search.study.confirmation import Confirmation, Round, confirmed
from tunefront.search.study.live_stage import CONFIRMATION, delete_stage
from tunefront.search.study.study import Study
from tunefront.search.study.trial import Trial
from tunefront.spaces import Catalog, Configuration, resources_of

CONFIRMED_PRECISION = 0.01
"""Relative half-width of a speed-up's interval, over all rounds, at which measuring stops."""
CONFIRMATION_PASSES = 3
"""Maximum number of passes: confirmed measurements can change the front and add finalists."""
PASS_SHARE = 2 / 3
"""Share of the time left that a pass gets, so that later ones have time; the last one gets all."""
LEAST_TURNS = 6
"""Minimum number of turns of a round, even if its time is used up."""
GROUP_MEMORY_SHARE = 0.8
"""Share of the free memory of the machine, and of its GPUs, that a group can use."""
OnRound = Callable[[int, int], None]
"""Callback with the number of completed rounds and of planned rounds."""
Stopped = Callable[[], bool]
"""Callback that returns whether a stop was requested."""
Restart = Callable[[RayLost, int], None]
"""Callback that restarts Ray, with how it was lost and the number of consecutive restarts."""


class _Stopped(Exception):
    """A stop was requested; incomplete rounds are discarded."""


def finalists(experiment: Experiment, front: Front, trials: Sequence[Trial]) -> list[Trial]:
    """Return the baseline, at most `confirmation.finalists` other trials, and the references.

    Order: the picks, the rest of the front, then trials tied with the front; last the references
    that keep the limits.
    """
    ordered = [
        *(pick.trial for pick in front.picks),
        *front.trials,
        *(tied for trial in front.trials for tied in front.ties[trial.number]),
    ]
    chosen = {t.number: t for t in ordered if t.number != 0}
    baseline = [trial for trial in trials if trial.number == 0]
    most = list(chosen.values())[: experiment.confirmation.finalists]
    wanted = to_run(experiment.references, experiment.baseline)
    references = [t for t in trials if t.status == "ok" and t.configuration in wanted]
    return list({t.number: t for t in [*baseline, *most, *references]}.values())


def counterpart_of(
    baseline: Configuration, other: Configuration, catalog: Catalog
) -> Configuration:
    """Return the baseline at the execution settings of `other`: batch size, threads, replicas."""
    execution = {n: v for n, v in other.items() if catalog.stages[n] == "execution"}
    return Configuration({**baseline, **execution})


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Finalists that are measured in one interleaved run.

    Attributes:
        finalists: The finalists, without the baseline.
        configurations: Everything that runs: the baseline first, then the finalists, then the
            baseline at each finalist's execution settings.
    """

    finalists: tuple[Trial, ...]
    configurations: tuple[Configuration, ...]


def group_memory_mb(
    metrics: Iterable[Metric], share: float = GROUP_MEMORY_SHARE, *, gpus: int = 1
) -> dict[str, float]:
    """Return the memory that a group can use, in MB, by metric: of the machine, and of each GPU.

    Args:
        metrics: The metrics of the experiment, of which some are memory that a candidate occupies.
        share: Share of the free memory that a group can use.
        gpus: Number of GPUs of the widest configuration; the emptiest GPUs count.
    """
    import psutil

    free = {"host": psutil.virtual_memory().available / 2**20, "gpu": Gpus().free_mb(gpus)}
    available = {metric.name: free.get(metric.occupies) for metric in metrics}
    return {name: share * mb for name, mb in available.items() if mb is not None}


def groups_of(
    experiment: Experiment, chosen: Sequence[Trial], available: Mapping[str, float]
) -> list[Group]:
    """Split the finalists into groups that fit into memory.

    Each finalist comes with the baseline at its execution settings.

    Args:
        experiment: The experiment; supplies the baseline and the space.
        chosen: The trials to confirm, the baseline first.
        available: Memory that a group can use, in MB, by the metric of a trial's use, as
            `group_memory_mb` returns it. A finalist that exceeds it alone is a separate group.
    """
    base, *others = chosen
    groups: list[Group] = []
    together: list[Trial] = []

    def close() -> None:
        if together:
            configurations = _members(experiment, together)
            groups.append(Group(finalists=tuple(together), configurations=configurations))
            together.clear()

    for trial in others:
        wider = [*together, trial]
        members = _members(experiment, wider)
        if any(_peak_mb(m, base, wider, members) > limit for m, limit in available.items()):
            close()
        together.append(trial)
    close()
    return groups


def _members(experiment: Experiment, together: Sequence[Trial]) -> tuple[Configuration, ...]:
    baseline = experiment.baseline
    counterparts = [
        counterpart_of(baseline, trial.configuration, trial.catalog) for trial in together
    ]
    own = [trial.configuration for trial in together]
    able = [
        counterpart for counterpart in counterparts if not experiment.space.obstacle(counterpart)
    ]
    return tuple(dict.fromkeys([experiment.baseline, *own, *able]))


def _peak_mb(
    metric: str,
    base: Trial,
    together: Sequence[Trial],
    configurations: Sequence[Configuration],
) -> float:
    """Return a group's memory by one metric, in MB; variants of the baseline count like it.

    Memory on GPUs is that on each GPU: a trial's is the sum over all of its GPUs.
    """

    def taken(trial: Trial) -> float:
        whole = trial.value(metric) if metric in trial.measurements else 0.0
        return whole / max(1, _gpus_of(trial)) if metric == GPU_MEMORY.name else whole

    known = {trial.configuration: taken(trial) for trial in together}
    return sum(known.get(configuration, taken(base)) for configuration in configurations)


def _gpus_of(trial: Trial) -> int:
    return resources_of(trial.catalog.complete(trial.configuration)).gpus


def confirm(
    study: Study,
    settings: EvaluationSettings,
    supervisor: RaySupervisor,
    restart: Restart,
    *,
    on_round: OnRound = lambda done, of: None,
    seconds_left: float | None = None,
    stopped: Stopped = lambda: False,
) -> Confirmation:
    """Measure the finalists again, interleaved with the baseline.

    There are up to `CONFIRMATION_PASSES` passes. The first measures the finalists. A later one
    measures the trials that have joined the front since, and again the finalists in whose group the
    baseline failed; their groups use half the memory then.

    Args:
        study: The record; the confirmation is stored in it after every pass.
        settings: The evaluation settings shared by all evaluations.
        supervisor: The Ray supervisor that runs the rounds.
        restart: Called if Ray exits while a group is measured, which is measured again then; an
            error that it raises ends the confirmation.
        on_round: Called with the number of completed and of planned rounds.
        seconds_left: Seconds until the deadline; None without a deadline. No round is started that
            cannot be expected to end in time, except the first one; what the deadline interrupts
            is discarded.
        stopped: Queried before each group of each round. If it returns True, the rounds of the
            current pass are discarded and left to the next run.
    """
    experiment = study.experiment
    start = time.monotonic()
    deadline = math.inf if seconds_left is None else start + seconds_left
    turns = _Turns(study, settings, supervisor, restart, stopped, deadline)
    confirmation, share = study.confirmation(), GROUP_MEMORY_SHARE
    for number in range(CONFIRMATION_PASSES):
        trials = study.trials()
        chosen = to_confirm(experiment, trials, confirmation)
        if len(chosen) < 2 or not turns.another_fits():
            break
        spent = time.monotonic() - start
        planned = max(0.0, confirmation_seconds(experiment, trials, seconds_left) - spent)
        seconds = planned if number == CONFIRMATION_PASSES - 1 else PASS_SHARE * planned
        widest = max(1, *map(_gpus_of, chosen))
        available = group_memory_mb(experiment.metrics.values(), share, gpus=widest)
        groups = groups_of(experiment, chosen, available)
        try:
            found, incomplete = turns.rounds(groups, seconds, on_round)
        except _Stopped:
            break
        if incomplete:
            share /= 2
        confirmation = confirmation.with_rounds(found, incomplete)
        study.set_confirmation(confirmation)
    return confirmation


def to_confirm(
    experiment: Experiment, trials: Sequence[Trial], confirmation: Confirmation
) -> list[Trial]:
    """Return the baseline and the finalists that have not been confirmed yet.

    The front is computed from confirmed measurements, so a trial that joins it because another one
    was confirmed to be worse becomes a finalist too.
    """
    known = confirmed(trials, confirmation, experiment.metrics)
    chosen = finalists(experiment, front_of(experiment, known), trials)
    new = [trial for trial in chosen[1:] if trial.number not in confirmation.finalists]
    return [*chosen[:1], *new]


class _Turns:
    """Runner of the rounds of all groups, one after the other on Ray."""

    def __init__(
        self,
        study: Study,
        settings: EvaluationSettings,
        supervisor: RaySupervisor,
        restart: Restart,
        stopped: Stopped,
        deadline: float,
    ) -> None:
        self._study = study
        self._settings = replace(settings, protocol=replace(settings.protocol, turns=LEAST_TURNS))
        self._supervisor = supervisor
        self._restart = restart
        self._stopped = stopped
        self._deadline = deadline
        self._last_round_s: float | None = None

    def another_fits(self) -> bool:
        """Return whether a round as long as the last one ends in time; the first only begins."""
        if self._last_round_s is None:
            return time.monotonic() < self._deadline
        return time.monotonic() + self._last_round_s <= self._deadline

    def rounds(
        self, groups: Sequence[Group], seconds: float, on_round: OnRound
    ) -> tuple[dict[int, list[Round | None]], set[int]]:
        """Run the rounds of a pass, at least one, until all are done or no further one fits.

        Returns:
            The rounds by trial number, the baseline's once per group, and the numbers of the
            finalists in whose group the baseline failed in a round.
        """
        rounds = self._study.experiment.confirmation.rounds
        found: dict[int, list[Round | None]] = {}
        incomplete: set[int] = set()
        for done in range(rounds):
            start = time.monotonic()
            for group in groups:
                if self._seconds_left() == 0:
                    break
                target_results = self._play(group, seconds / rounds / len(groups), done)
                measured = rounds_of(group, target_results)
                if not measured:
                    incomplete |= {trial.number for trial in group.finalists}
                for number, result in measured.items():
                    found.setdefault(number, []).append(result)
            if time.monotonic() > self._deadline:  # it has interrupted this round
                break
            on_round(done + 1, rounds)
            self._last_round_s = time.monotonic() - start
            if not self.another_fits():
                break
        return found, incomplete

    def _play(self, group: Group, seconds: float, done: int) -> Sequence[RoundResult | None]:
        """Run one round of one group; run it again if Ray exits.

        Raises:
            _Stopped: If a stop was requested.
        """
        restarts = 0
        while not self._stopped():
            try:
                return self._supervisor.turns(self._job(group, seconds, done))
            except RayLost as error:
                restarts += 1
                self._restart(error, restarts)
            finally:
                delete_stage(self._study.experiment.results, CONFIRMATION)
        raise _Stopped

    def _job(self, group: Group, seconds: float, done: int) -> TurnsJob:
        experiment = self._study.experiment
        return TurnsJob(
            configurations=group.configurations,
            settings=self._settings,
            folder=experiment.results,
            log=experiment.results / "logs" / f"confirmation-{done}.log",
            lessee=Lessee.this_process(experiment.name),
            seconds_left=self._seconds_left(),
            wanted=RoundSettings(
                number=done,
                seconds=seconds,
                precision=CONFIRMED_PRECISION * experiment.confirmation.rounds**0.5,
            ),
        )

    def _seconds_left(self) -> float | None:
        """Return the seconds until the deadline, at least 0; None without one."""
        left = self._deadline - time.monotonic()
        return None if left == math.inf else max(0.0, left)


def confirmation_seconds(
    experiment: Experiment, trials: Sequence[Trial], seconds_left: float | None
) -> float:
    """Return the seconds for confirmation: its share of the total, at most the seconds left.

    With t seconds spent on trials and share s, confirmation gets t s / (1 - s).
    """
    share = experiment.confirmation.share
    spent = sum(t.evaluation.own_s for t in trials if t.evaluation is not None)
    planned = spent * share / (1 - share)
    return planned if seconds_left is None else max(0.0, min(planned, seconds_left))


def rounds_of(
    group: Group, target_results: Sequence[RoundResult | None]
) -> dict[int, Round | None]:
    """Return a round's ratios and measurements by trial number; None for a finalist that failed.

    The result is empty if the baseline failed: nothing is known of the finalists then.

    Args:
        group: The group that was measured.
        target_results: The result of each configuration of the group; None if it failed.
    """
    results = dict(zip(group.configurations, target_results, strict=True))
    baseline = group.configurations[0]
    base = results[baseline]
    if base is None:
        return {}
    found: dict[int, Round | None] = {0: _round(base, base, None)}
    for trial in group.finalists:
        own = results[trial.configuration]
        counterpart = counterpart_of(baseline, trial.configuration, trial.catalog)
        same = None if counterpart in (baseline, trial.configuration) else results.get(counterpart)
        found[trial.number] = None if own is None else _round(own, base, same)
    return found


def _round(own: RoundResult, base: RoundResult, same: RoundResult | None) -> Round:
    """Return the round of a candidate.

    Args:
        own: Its result.
        base: The baseline's result.
        same: The result of the baseline at the candidate's execution settings; None without one.
    """
    return Round(
        ratios=own.ratios_to(base),
        same_execution_ratios=own.ratios_to(same) if same else (),
        values=own.values,
        undisturbed=own.undisturbed_with(base)
        and all(rates.undisturbed_with(base.levels[name]) for name, rates in own.levels.items()),
        baseline_values=base.values,
        ratios_at={name: rates.ratios_to(base.levels[name]) for name, rates in own.levels.items()},
    )
