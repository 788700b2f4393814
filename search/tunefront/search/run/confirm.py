"""Finalists measured again, side by side: in turns with the baseline, in fresh processes.

Everybody who fits into memory beside the baseline takes part in the same turns; where not all do,
they come in groups, the baseline with each. A round starts all processes anew.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tunefront.evaluators import Gpus, Setting, kept_turns
from tunefront.search.cluster.jobs import TurnsJob
from tunefront.search.cluster.supervisor import Host, HostLost
from tunefront.search.experiment.experiment import Experiment
from tunefront.search.front.picks import Front, front_of
from tunefront.search.study.confirmation import Confirmation, Round, confirmed
from tunefront.search.study.study import Study
from tunefront.search.study.trial import Trial
from tunefront.spaces import STAGE_OF, Configuration

CONFIRMED_PRECISION = 0.01
"""Half-width of a speed-up's interval at which there have been turns enough."""
FINALIST_ATTEMPTS = 3
"""How often new finalists are looked for, when confirmed figures have changed the front."""
LEAST_TURNS = 6
"""Turns of a round, whatever the time."""
GROUP_MEMORY_SHARE = 0.8
"""Of the free memory of the machine, and of its GPUs, that a group may take."""
OnRound = Callable[[int, int], None]
"""Called with the rounds done and those planned."""
Stopped = Callable[[], bool]
"""Whether somebody asked for the end."""


class _Stopped(Exception):
    """Somebody asked for the end; rounds that are not complete are no confirmation."""


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


def twin_of(baseline: Configuration, other: Configuration) -> Configuration:
    """The baseline's model run as `other` is: its batch size, threads and replicas."""
    execution = {n: v for n, v in other.items() if STAGE_OF[n] == "execution"}
    return Configuration({**baseline, **execution})


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Who takes turns together.

    Attributes:
        finalists: The finalists, without the baseline.
        configurations: All that run, the baseline first: finalists and their twins.
    """

    finalists: tuple[Trial, ...]
    configurations: tuple[Configuration, ...]


def rooms_mb() -> dict[str, float]:
    """What a group may take of this machine's memory and of its GPUs', by the metric of both."""
    import psutil

    rooms = {"peak_memory_mb": psutil.virtual_memory().available / 2**20}
    gpu_mb = Gpus().free_mb()
    if gpu_mb is not None:
        rooms["gpu_device_mb"] = gpu_mb
    return {metric: GROUP_MEMORY_SHARE * room for metric, room in rooms.items()}


def groups_of(
    experiment: Experiment, chosen: Sequence[Trial], rooms: Mapping[str, float]
) -> list[Group]:
    """The finalists in groups that fit into memory, each finalist with its twin.

    Args:
        experiment: Its baseline and space.
        chosen: The baseline's trial first.
        rooms: What a group may take, in MB, by the metric that says what each took; a finalist that
            exceeds it is a group of its own.
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
        if any(_peak_mb(m, base, wider, members) > room for m, room in rooms.items()):
            close()
        together.append(trial)
    close()
    return groups


def _members(experiment: Experiment, together: Sequence[Trial]) -> tuple[Configuration, ...]:
    twins = [twin_of(experiment.baseline, trial.configuration) for trial in together]
    own = [trial.configuration for trial in together]
    able = [twin for twin in twins if not experiment.space.obstacle(twin)]
    return tuple(dict.fromkeys([experiment.baseline, *own, *able]))


def _peak_mb(
    metric: str,
    base: Trial,
    together: Sequence[Trial],
    configurations: Sequence[Configuration],
) -> float:
    """Memory of a group by one metric; a twin counts like the baseline."""

    def taken(trial: Trial) -> float:
        return trial.value(metric) if metric in trial.measurements else 0.0

    known = {trial.configuration: taken(trial) for trial in together}
    return sum(known.get(configuration, taken(base)) for configuration in configurations)


def confirm(
    study: Study,
    setting: Setting,
    host: Host,
    *,
    on_round: OnRound = lambda done, of: None,
    seconds_left: float | None = None,
    stopped: Stopped = lambda: False,
) -> Confirmation:
    """Measure the finalists again, in turns.

    Args:
        study: The record; what is found is kept in it.
        setting: What all evaluations share.
        host: Where rounds are run.
        on_round: Called with the rounds done and those planned.
        seconds_left: Until the deadline; None where there is none.
        stopped: Asked before every round; what is not complete then is left for the next run.

    Raises:
        HostLost: If Ray is gone twice in a round.
    """
    experiment = study.experiment
    start = time.monotonic()
    confirmation = Confirmation.from_dict(study.confirmation())
    for attempt in range(FINALIST_ATTEMPTS):
        trials = study.trials()
        chosen = to_confirm(experiment, trials, confirmation)
        spent = time.monotonic() - start
        planned = confirmation_seconds(experiment, trials, seconds_left) - spent
        if len(chosen) < 2 or (attempt and planned <= 0):
            break
        groups = groups_of(experiment, chosen, rooms_mb())
        turns = _Turns(study, setting, host, stopped)
        try:
            found = turns.rounds(groups, max(planned, 0.0), on_round)
        except _Stopped:
            break
        confirmation = confirmation.with_rounds(found)
        study.set_confirmation(confirmation.to_dict())
    return confirmation


def to_confirm(
    experiment: Experiment, trials: Sequence[Trial], confirmation: Confirmation
) -> list[Trial]:
    """The baseline and the finalists that nobody has measured again yet.

    The front is that of the confirmed figures: whoever comes onto it when others fall back is a
    finalist too.
    """
    known = confirmed(trials, confirmation)
    chosen = finalists(experiment, front_of(experiment, known), trials)
    new = [trial for trial in chosen[1:] if trial.number not in confirmation.asked]
    return [*chosen[:1], *new]


class _Turns:
    """Rounds of groups, one after the other, wherever Ray is."""

    def __init__(self, study: Study, setting: Setting, host: Host, stopped: Stopped) -> None:
        self._study = study
        self._setting = replace(setting, protocol=replace(setting.protocol, turns=LEAST_TURNS))
        self._host = host
        self._stopped = stopped

    def rounds(
        self, groups: Sequence[Group], seconds: float, on_round: OnRound
    ) -> dict[int, list[Round | None]]:
        """What each finalist found, the baseline with any group."""
        rounds = self._study.experiment.confirmation.rounds
        found: dict[int, list[Round | None]] = {}
        for done in range(rounds):
            for group in groups:
                sittings = self._play(group, seconds / rounds / len(groups), done)
                for number, seen in rounds_of(group, sittings).items():
                    found.setdefault(number, []).append(seen)
            on_round(done + 1, rounds)
        return found

    def _play(self, group: Group, seconds: float, done: int) -> Sequence[Mapping[str, Any]]:
        """One round of one group; once more where Ray is gone."""
        if self._stopped():
            raise _Stopped
        job = TurnsJob(
            configurations=group.configurations,
            setting=self._setting,
            log=self._study.experiment.results / "logs" / f"confirmation-{done}.log",
            seconds=seconds,
            precision=CONFIRMED_PRECISION * self._study.experiment.confirmation.rounds**0.5,
        )
        try:
            return self._host.turns(job)
        except HostLost:
            self._host.restart()
            return self._host.turns(job)


def confirmation_seconds(
    experiment: Experiment, trials: Sequence[Trial], seconds_left: float | None
) -> float:
    """The confirmation's share of the whole, given what the trials took."""
    share = experiment.confirmation.share
    spent = sum(t.evaluation.own_s for t in trials if t.evaluation is not None)
    planned = spent * share / (1 - share)
    return planned if seconds_left is None else max(0.0, min(planned, seconds_left))


def rounds_of(group: Group, sittings: Sequence[Mapping[str, Any]]) -> dict[int, Round | None]:
    """What a round showed, by trial number; None where the finalist failed.

    Args:
        group: Who took part.
        sittings: For each of its configurations `rates` (items/s of every turn), `clean` (whether
            nobody was in the way) and `figures`; nothing where it failed.
    """
    seen = dict(zip(group.configurations, sittings, strict=True))
    baseline = group.configurations[0]
    base = seen[baseline]
    found: dict[int, Round | None] = {0: None}
    if base:
        ratios = [1.0] * len(base["rates"])
        found[0] = Round(ratios=ratios, figures=base["figures"], quiet=_quiet(base, base))
    for trial in group.finalists:
        own = seen[trial.configuration]
        twin = twin_of(baseline, trial.configuration)
        alone = twin in (baseline, trial.configuration) or not seen.get(twin)
        found[trial.number] = (
            Round(
                ratios=_ratios(own, base),
                alike=() if alone else _ratios(own, seen[twin]),
                figures=own["figures"],
                quiet=_quiet(own, base),
            )
            if own and base
            else None
        )
    return found


def _ratios(own: Mapping[str, Any], base: Mapping[str, Any]) -> list[float]:
    """Turn by turn, those in which nobody was in the way where they are enough."""
    kept = kept_turns(_clean(own, base))
    return [own["rates"][turn] / base["rates"][turn] for turn in np.flatnonzero(kept)]


def _quiet(own: Mapping[str, Any], base: Mapping[str, Any]) -> bool:
    """Whether the turns that count are such in which nobody was in the way."""
    clean = _clean(own, base)
    return bool(clean[kept_turns(clean)].all())


def _clean(own: Mapping[str, Any], base: Mapping[str, Any]) -> npt.NDArray[np.bool_]:
    """Turn by turn, whether nobody was in the way of either."""
    turns = min(len(own["rates"]), len(base["rates"]))
    both: npt.NDArray[np.bool_] = np.array(own["clean"][:turns]) & np.array(base["clean"][:turns])
    return both
