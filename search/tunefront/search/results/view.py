"""Views of trials: texts and numbers that all outputs show, computed once per trial of a result.

Terminal, MLflow and report read a `TrialView`; none of them computes its parts again.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tunefront.evaluators import Measurement
from tunefront.search.experiment.experiment import Experiment, bound
from tunefront.search.experiment.metrics import QUALITY_DROP
from tunefront.search.experiment.objective import Limit
from tunefront.search.front.intervals import is_unconfirmed
from tunefront.search.front.picks import Front, Pick, ratio
from tunefront.search.study.confirmation import Confirmation
from tunefront.search.study.trial import Trial

SAME = 1.05
"""Ratios between 1 / SAME and SAME are reported as the same."""
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
        sentence: The comparison with the baseline (`4.4x the throughput, 2.1x less memory, ...`),
            or the failure.
        trust: The reliability of its measurements.
        warnings: Warnings about its measurements.
        chance: Probability that it is on the front and keeps all limits, given the intervals of the
            measurements; None if it was not measured. For an unconfirmed trial it holds only if
            its measurements are confirmed.
        ties: Numbers of the trials that are indistinguishable from it in every objective. Of a
            trial that is not unconfirmed, only those that are not either.
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
    warnings: tuple[str, ...] = ()
    chance: float | None = None
    ties: tuple[int, ...] = ()
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
    def label(self) -> str:
        """The choices that differ from their defaults (`openvino int8-static b8 t2`)."""
        return self.name.partition(" ")[2]

    @property
    def shortlisted(self) -> bool:
        """Whether the trial is on the shortlist: the front and the baseline."""
        return self.on_front or self.number == 0

    @property
    def role_text(self) -> str:
        """The names of its picks, else its role."""
        return ", ".join(pick.name for pick in self.picks) or self.role

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
        text = f"front {100 * self.chance:.0f} %"
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
        """The texts on missed limits and on warnings."""
        missed = ", ".join(miss.text for miss in self.misses)
        parts = (("beyond limits", missed), ("warnings", ", ".join(self.warnings)))
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
        speedup, saving = self._relative(trial) if measured else (None, None)
        return TrialView(
            trial=trial,
            name=trial.name(),
            short_name=trial.short_name(),
            role=self._role(trial, on_front, misses),
            on_front=on_front,
            sentence=self._sentence(trial, speedup, saving),
            trust=self._trust(trial),
            warnings=trial.evaluation.warnings if trial.evaluation is not None else (),
            chance=self._front.chances.get(number),
            ties=tuple(tied.number for tied in self._front.ties.get(number, ())),
            picks=picks,
            misses=misses,
            speedup=speedup,
            memory_saving=saving,
            error_bars=self._error_bars(trial) if measured else {},
        )

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
                value = f"{found.value:.4g} {self._experiment.metrics[limit.metric].unit}".rstrip()
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

    def _relative(self, trial: Trial) -> tuple[float | None, float | None]:
        """Return the improvement factors of the rate and of the memory over the baseline."""
        if self._baseline is None:
            return None, None
        rate, size = self._experiment.rate, self._experiment.size
        confirmed = self._confirmation.speedup(trial.number)
        speedup = None if rate is None else ratio(trial, self._baseline, rate)
        if confirmed is not None:
            speedup = confirmed.value
        saving = None if size is None else ratio(trial, self._baseline, size)
        return speedup, saving

    def _sentence(self, trial: Trial, speedup: float | None, saving: float | None) -> str:
        evaluation = trial.evaluation
        if evaluation is not None and evaluation.status == "failed":
            message = evaluation.message.splitlines()[0] if evaluation.message else ""
            return f"failed at {evaluation.stage} ({trial.cause}): {message}"
        if not trial.measured:
            return trial.status
        if trial.number == 0:
            return "the baseline"
        if self._baseline is None:
            return "not compared: the baseline was not measured"
        size = "" if saving is None else _times(saving, "memory", "less", "more")
        parts = [self._speed(trial, speedup), size, _quality(trial)]
        return ", ".join(part for part in parts if part)

    def _speed(self, trial: Trial, speedup: float | None) -> str:
        rate = self._experiment.rate
        if speedup is None or rate is None:
            return ""
        text = _times(speedup, rate.name, "the", "less")
        same_execution = self._confirmation.same_execution_speedup(trial.number)
        if same_execution is not None:
            text += f" ({same_execution.value:.1f}x at the same batch size and threads)"
        return text


def _times(value: float, what: str, more: str, less: str) -> str:
    """Return a text such as `4.4x the throughput`, `2.1x less memory`, `the same memory`."""
    if 1 / SAME < value < SAME:
        return f"the same {what}"
    factor, word = (value, more) if value >= 1 else (1 / value, less)
    return f"{factor:.0f}x {word} {what}" if factor >= 100 else f"{factor:.1f}x {word} {what}"


def _quality(trial: Trial) -> str:
    drop = trial.measurements.get(QUALITY_DROP.name)
    if drop is None:
        return ""
    half = (drop.high - drop.low) / 2
    if abs(drop.value) < 0.05 and half < 0.05:
        return "the same quality"
    spread = f" ± {half:.1f}" if half > 0 else ""
    change = round(-drop.value, 1)
    text = f"quality {change:+.1f} %{spread}" if change else f"quality 0.0 %{spread}"
    evaluated, items = evaluated_items(trial)
    return f"{text} on {evaluated} of {items} items" if evaluated < items else text


def evaluated_items(trial: Trial) -> tuple[int, int]:
    """Return the number of items a trial was evaluated on, and of all; less if stopped early."""
    facts = trial.evaluation.facts if trial.evaluation is not None else {}
    return int(facts.get("evaluated_items", 0)), int(facts.get("items", 0))
