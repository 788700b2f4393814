"""Views of trials: texts and numbers that all outputs show, computed once per trial of a result.

Terminal, MLflow and report read a `TrialView`; none of them computes its parts again.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tunefront.evaluators import Measurement
from tunefront.evaluators.statistics.formatting import percent_text, with_unit
from tunefront.search.experiment.experiment import Experiment, bound
from tunefront.search.experiment.metrics import QUALITY_DROP
from tunefront.search.experiment.objective import Limit
from tunefront.search.experiment.references import names_of
from tunefront.search.front.intervals import is_unconfirmed
from tunefront.search.front.picks import Front, Pick
from tunefront.search.study.confirmation import Confirmation
from tunefront.search.study.trial import Trial

from .sentence import (
    comparison_sentence,
    failure_sentence,
    marked,
    memory_saving_of,
    speedup_of,
)

MOST_TIES = 5
"""Maximum number of tied trials that a text names."""

TrialRole = Literal[
    "recommended", "baseline", "front", "dominated", "infeasible", "failed", "running"
]
"""Role of a trial. A trial that was picked although only a tied one is on the front has the role
`front`; the recommended baseline has the role `recommended`."""

Trust = Literal["confirmed", "single", "unconfirmed", "none"]
"""Reliability of a trial's measurements.

`confirmed`: measured again in interleaved rounds; `single`: measured by its own trial only;
`unconfirmed`: measured with warnings, by its own trial or, if confirmed, in most of its rounds;
`none`: not measured.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """A limit that a trial does not keep.

    Attributes:
        limit: The limit.
        measurement: The measured value; None if the metric was not measured.
        text: The value and the limit, with units: `quality_drop 3.2 % (limit quality_drop <= 1 %)`.
    """

    limit: Limit
    measurement: Measurement | None
    text: str

    @property
    def excess(self) -> float | None:
        """How far the value exceeds the bound, in the metric's unit; None if not measured."""
        return None if self.measurement is None else self.limit.violation(self.measurement.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialView:
    """The texts and numbers that all outputs show for one trial.

    Attributes:
        trial: The trial, with confirmed measurements if there are any.
        name: Number and label (`038 openvino int8-static b8 t2`).
        short_name: The abbreviated name for narrow columns (`038 ov int8s b8 t2`).
        role: The role of the trial in the result.
        on_front: Whether it is on the front, or was picked in place of a tied front trial.
        sentence: The comparison with the baseline (`4.4x faster (4.3 to 4.5), 2.1x less memory`),
            with its warnings if it is unconfirmed, or the failure.
        trust: The reliability of its measurements.
        front: The front of its result, which computes probabilities and ties on access.
        warnings: Warnings about its measurements.
        reference: What it is besides a trial of the search: `default of openvino`,
            `current settings`; empty if nothing.
        picks: The picks that chose it.
        misses: The limits that it does not keep.
        speedup: Throughput / baseline throughput, confirmed if possible; None if unknown.
        memory_saving: Baseline peak memory / peak memory; None if unknown.
        error_bars: Lengths of the intervals below and above the value, by objective. For the
            primary quality metric this is the paired interval of the change against the baseline on
            the same items, because the spread between items is shared by all trials and does not
            affect their order.
    """

    trial: Trial
    name: str
    short_name: str
    role: TrialRole
    on_front: bool
    sentence: str
    trust: Trust
    front: Front = field(repr=False, compare=False)
    warnings: tuple[str, ...] = ()
    reference: str = ""
    picks: tuple[Pick, ...] = ()
    misses: tuple[Miss, ...] = ()
    speedup: float | None = None
    memory_saving: float | None = None
    error_bars: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def number(self) -> int:
        """The number of the trial."""
        return self.trial.number

    @property
    def chance(self) -> float | None:
        """Probability that it is on the front and keeps all limits; None if it was not measured.

        Given the intervals of the measurements; for an unconfirmed trial, if they are confirmed.
        """
        return self.front.chances.get(self.number)

    @property
    def ties(self) -> tuple[int, ...]:
        """Numbers of the trials that are indistinguishable from it in every objective.

        Of a trial that is not unconfirmed, only those that are not either.
        """
        return tuple(tied.number for tied in self.front.ties.get(self.number, ()))

    @property
    def label(self) -> str:
        """The choices that differ from their defaults (`openvino int8-static b8 t2`)."""
        return self.name.partition(" ")[2]

    @property
    def shortlisted(self) -> bool:
        """Whether the trial is on the shortlist: the front, the baseline and the references."""
        return self.on_front or self.number == 0 or bool(self.reference) and self.trial.measured

    @property
    def role_text(self) -> str:
        """The names of its picks, else its role; then what it is as a reference."""
        names = [pick.name for pick in self.picks] or [self.role]
        return ", ".join(filter(None, [*names, self.reference]))

    @property
    def trust_text(self) -> str:
        """Its trust and its probability to be on the front; `-` if it was not measured."""
        if self.trust == "none":
            return "-"
        return ", ".join(filter(None, [self.trust, self.chance_text]))

    @property
    def chance_text(self) -> str:
        """Its probability to be on the front, and its condition; empty if unknown."""
        if self.chance is None:
            return ""
        text = f"front {percent_text(self.chance, decimals=0)}"
        return f"{text} if confirmed" if self.trust == "unconfirmed" else text

    @property
    def trust_note(self) -> str:
        """Its trust and warnings, for outputs that show the probability as a plain number."""
        chance = self.chance_text if self.trust == "unconfirmed" else ""
        reasons = "; ".join(filter(None, [chance, *self.warnings]))
        return ": ".join(filter(None, [self.trust, reasons]))

    @property
    def ties_text(self) -> str:
        """The text on tied trials; empty without ties."""
        named = ", ".join(f"{number:03}" for number in self.ties[:MOST_TIES])
        return f"tied with {named}" if named else ""

    @property
    def remarks(self) -> tuple[str, ...]:
        """The texts on missed limits and on warnings that its sentence does not have."""
        missed = ", ".join(miss.text for miss in self.misses)
        left = ", ".join(warning for warning in self.warnings if warning not in self.sentence)
        parts = (("beyond limits", missed), ("warnings", left))
        return tuple(f"{head}: {text}" for head, text in parts if text)


class TrialViews(Mapping[int, TrialView]):
    """The views of all trials of a result, by number; each is computed on first access.

    Args:
        experiment: The experiment.
        trials: All recorded trials, with confirmed measurements if there are any.
        front: The front within the limits.
        confirmation: The result of the confirmation.
        limits: The limits that the front keeps.
    """

    def __init__(
        self,
        experiment: Experiment,
        trials: Sequence[Trial],
        front: Front,
        confirmation: Confirmation,
        limits: Sequence[Limit],
    ) -> None:
        self._experiment = experiment
        self._primary = experiment.primary
        self._trials = {trial.number: trial for trial in trials}
        self._front = front
        self._confirmation = confirmation
        self._limits = limits
        self._on_front = {trial.number for trial in front.trials}
        self._picks: dict[int, tuple[Pick, ...]] = {}
        for pick in front.picks:
            self._picks[pick.trial.number] = (*self._picks.get(pick.trial.number, ()), pick)
        self._recommended = front.picks[0].trial.number if front.picks else None
        baseline = self._trials.get(0)
        self._baseline = baseline if baseline is not None and baseline.measured else None
        self._known: dict[int, TrialView] = {}

    def __getitem__(self, number: int) -> TrialView:
        """Return the view of a trial; KeyError if the result has no such trial."""
        if number not in self._known:
            self._known[number] = self._view(self._trials[number])
        return self._known[number]

    def __iter__(self) -> Iterator[int]:
        """Iterate over the trial numbers, in the order of the trials."""
        return iter(self._trials)

    def __len__(self) -> int:
        """Return the number of trials."""
        return len(self._trials)

    def _view(self, trial: Trial) -> TrialView:
        number, measured = trial.number, trial.measured
        picks = self._picks.get(number, ())
        on_front = bool(picks) or number in self._on_front
        misses = tuple(self._misses(trial)) if measured else ()
        speedup, saving = self._speedup(trial), self._saving(trial)
        return TrialView(
            trial=trial,
            name=trial.name(),
            short_name=trial.short_name(),
            role=self._role(trial, on_front, misses),
            on_front=on_front,
            sentence=self._sentence(trial, speedup, saving),
            trust=self._trust(trial),
            warnings=self._warnings(trial),
            reference=names_of(self._experiment.references, trial.configuration),
            front=self._front,
            picks=picks,
            misses=misses,
            speedup=speedup.value if speedup is not None else None,
            memory_saving=saving.value if saving is not None else None,
            error_bars=self._error_bars(trial) if measured else {},
        )

    def _warnings(self, trial: Trial) -> tuple[str, ...]:
        """Return the warnings about its measurements, and why it has no capacity."""
        own = trial.evaluation.warnings if trial.evaluation is not None else ()
        searched = self._confirmation.capacities.get(trial.number)
        return tuple(filter(None, [*own, "" if searched is None else searched.shortfall]))

    def _role(self, trial: Trial, on_front: bool, misses: Sequence[Miss]) -> TrialRole:
        if trial.status in ("failed", "running"):
            return "failed" if trial.status == "failed" else "running"
        if trial.number == self._recommended:
            return "recommended"
        if trial.number == 0:
            return "baseline"
        if on_front:
            return "front"
        return "infeasible" if misses else "dominated"

    def _trust(self, trial: Trial) -> Trust:
        if not trial.measured:
            return "none"
        if is_unconfirmed(trial, self._confirmation):
            return "unconfirmed"
        return "confirmed" if trial.number in self._confirmation.rounds else "single"

    def _misses(self, trial: Trial) -> Iterator[Miss]:
        for limit in self._limits:
            found = trial.measurements.get(limit.metric)
            if found is None:
                value = "not measured"
            elif limit.kept(found.value):
                continue
            else:
                value = with_unit(found, apart_from=limit.bound)
            text = f"{limit.metric} {value} (limit {bound(self._experiment, limit)})"
            yield Miss(limit=limit, measurement=found, text=text)

    def _error_bars(self, trial: Trial) -> dict[str, tuple[float, float]]:
        names = [objective.metric for objective in self._experiment.objectives]
        return {name: self._error_bar(trial, name) for name in names if name in trial.measurements}

    def _error_bar(self, trial: Trial, metric: str) -> tuple[float, float]:
        found = trial.measurements[metric]
        drop, baseline = trial.measurements.get(QUALITY_DROP.name), self._baseline
        primary = self._primary
        if metric != primary.name or drop is None or baseline is None:
            return max(found.value - found.low, 0.0), max(found.high - found.value, 0.0)
        percent = abs(baseline.value(metric)) / 100
        better, worse = (drop.value - drop.low) * percent, (drop.high - drop.value) * percent
        return (better, worse) if primary.direction == "minimize" else (worse, better)

    def _speedup(self, trial: Trial) -> Measurement | None:
        if self._baseline is None or not trial.measured:
            return None
        return speedup_of(trial, self._baseline, self._experiment, self._confirmation)

    def _saving(self, trial: Trial) -> Measurement | None:
        if self._baseline is None or not trial.measured:
            return None
        return memory_saving_of(trial, self._baseline, self._experiment)

    def _sentence(
        self, trial: Trial, speedup: Measurement | None, saving: Measurement | None
    ) -> str:
        if not trial.measured:
            return failure_sentence(trial)
        warnings = self._unconfirmed_by(trial)
        if trial.number == 0:
            return marked("the baseline", warnings)
        if self._baseline is None:
            return marked("not compared: the baseline was not measured", warnings)
        same_execution = self._confirmation.same_execution_speedup(trial.number)
        rate = self._experiment.rate
        level = "" if rate is None else rate.level
        return comparison_sentence(trial, speedup, same_execution, saving, warnings, level)

    def _unconfirmed_by(self, trial: Trial) -> Sequence[str]:
        """Return the warnings because of which a trial is unconfirmed; empty if it is not.

        A confirmation replaces what the trial itself measured, and with it the trial's warnings.
        """
        if trial.number in self._confirmation.rounds:
            warning = self._confirmation.warning(trial.number)
            return [warning] if warning else []
        return trial.evaluation.warnings if trial.evaluation is not None else ()
