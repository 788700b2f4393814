"""The result of a search, and the texts about its trials that all outputs share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tunefront.evaluators import Measurement
from tunefront.search.experiment.experiment import Experiment
from tunefront.search.experiment.metrics import QUALITY_DROP
from tunefront.search.experiment.objective import Limit, Objective
from tunefront.search.front.picks import Front, front_of, ratio
from tunefront.search.sampling.early_stopping.reliability import fidelity_of
from tunefront.search.study.confirmation import Confirmation, confirmed
from tunefront.search.study.inferred_failures import InferredFailure, lessons_of, ruled_out_by
from tunefront.search.study.trial import Trial
from tunefront.search.text import counted
from tunefront.spaces import show

SAME = 1.05
"""Ratios between 1 / SAME and SAME are reported as the same."""


@dataclass(frozen=True, kw_only=True)  # no slots: a cached property needs a __dict__
class Result:
    """The result of a search so far.

    Attributes:
        experiment: The experiment.
        trials: All recorded trials, with confirmed measurements if there are any.
        front: The front within limits, and its picks.
        confirmation: The result of the confirmation.
    """

    experiment: Experiment
    trials: tuple[Trial, ...]
    front: Front
    confirmation: Confirmation

    @property
    def baseline(self) -> Trial | None:
        """Trial 0; None if it was not measured."""
        return next((t for t in self.trials if t.number == 0 and t.measured), None)

    @cached_property
    def lessons(self) -> list[InferredFailure]:
        """The inferred failures: configurations that failed trials exclude."""
        return lessons_of(self.trials)

    @cached_property
    def ruled_out(self) -> list[tuple[InferredFailure, int]]:
        """Inferred failures, each with the number (> 0) of untried configurations it excludes."""
        return ruled_out_by(self.experiment.space, self.trials)

    @property
    def skipped(self) -> int:
        """The number of untried configurations that inferred failures exclude."""
        return sum(count for _, count in self.ruled_out)

    def counts(self) -> str:
        """Return a text such as `12 trials, 2 failed, 5 skipped, 3 on the front`."""
        failed = sum(trial.status == "failed" for trial in self.trials)
        parts = [(failed, "failed"), (self.skipped, "skipped")]
        told = [f"{count} {word}" for count, word in parts if count]
        trials = counted(len(self.trials), "trial")
        return ", ".join([trials, *told, f"{len(self.front.trials)} on the front"])

    def headline(self) -> str:
        """Describe the recommended trial in one line, or the reason why there is none."""
        recommended = self.front.recommended
        if self.baseline is None and self.trials and self.trials[0].status == "failed":
            return f"the baseline {self.sentence(self.trials[0])}"
        if recommended is None:
            return "nothing keeps the limits" if self.trials else "nothing has been run"
        return f"{recommended.name()}: {self.sentence(recommended)}"

    def sentence(self, trial: Trial) -> str:
        """Describe a trial against the baseline: `4.4x the throughput, 2.1x less memory, ...`."""
        if trial.evaluation is not None and trial.evaluation.status == "failed":
            message = trial.evaluation.message.splitlines()[0]
            return f"failed at {trial.evaluation.stage} ({trial.cause}): {message}"
        if not trial.measured:
            return trial.status
        baseline = self.baseline
        if baseline is None or trial.number == 0:
            return "the baseline"
        parts = [self._speed(trial, baseline), self._size(trial, baseline), _quality(trial)]
        return ", ".join(part for part in parts if part)

    def trust(self, trial: Trial) -> str:
        """Describe how reliable a trial's measurements are, and its probability to be on the front.

        `confirmed`: measured again in interleaved rounds; `once`: measured by its own trial only;
        `doubted`: measured with warnings, by its own trial or, if confirmed, in most of its rounds;
        `-`: not measured.
        """
        if not trial.measured:
            return "-"
        chance = self.front.chances.get(trial.number)
        told = "" if chance is None else f", front {100 * chance:.0f} %"
        if trial.number in self.confirmation.rounds:
            noisy = self.confirmation.doubt(trial.number)
            return f"{'doubted' if noisy else 'confirmed'}{told}"
        doubts = trial.evaluation.doubts if trial.evaluation is not None else ()
        return f"{'doubted' if doubts else 'once'}{told}"

    def _speed(self, trial: Trial, baseline: Trial) -> str:
        factor = self.confirmation.speedup(trial.number)
        rate = self.experiment.rate
        if rate is None:
            return ""
        value = factor.value if factor else ratio(trial, baseline, rate)
        if value is None:
            return ""
        told = _times(value, rate.name, "the", "less")
        alike = self.confirmation.speedup_alike(trial.number)
        if alike is not None:
            told += f" ({alike.value:.1f}x at the same batch size and threads)"
        return told

    def _size(self, trial: Trial, baseline: Trial) -> str:
        size = self.experiment.size
        value = None if size is None else ratio(trial, baseline, size)
        return "" if value is None else _times(value, "memory", "less", "more")


def result_of(
    experiment: Experiment,
    trials: Sequence[Trial],
    confirmation: Confirmation,
    limits: Sequence[Limit] | None = None,
    prefer: str | None = None,
) -> Result:
    """Compute the result from recorded trials.

    Args:
        experiment: The experiment.
        trials: All recorded trials.
        confirmation: The result of the confirmation.
        limits: Limits; the experiment's if None.
        prefer: Metric that decides the recommendation; the experiment's if None.
    """
    figures = confirmed(trials, confirmation, experiment.metrics)
    return Result(
        experiment=experiment,
        trials=tuple(figures),
        front=front_of(experiment, figures, limits, prefer),
        confirmation=confirmation,
    )


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
    told = f"quality {change:+.1f} %{spread}" if change else f"quality 0.0 %{spread}"
    judged, items = judged_items(trial)
    return f"{told} on {judged} of {items} items" if judged < items else told


def judged_items(trial: Trial) -> tuple[int, int]:
    """Return the number of items a trial was evaluated on, and of all; less if stopped early."""
    facts = trial.evaluation.facts if trial.evaluation is not None else {}
    return int(facts.get("judged", 0)), int(facts.get("items", 0))


def early_ends(trials: Sequence[Trial], objectives: Sequence[Objective]) -> str:
    """Describe what early stopping has saved; empty if no trial was stopped early."""
    told = (_judging_ends(trials), fidelity_of(trials, objectives).told())
    return "; ".join(filter(None, told))


def _judging_ends(trials: Sequence[Trial]) -> str:
    counts = [judged_items(trial) for trial in trials]
    ended = sum(judged < items for judged, items in counts)
    if not ended:
        return ""
    share = 1 - sum(judged for judged, _ in counts) / sum(items for _, items in counts)
    return f"judging ended early in {ended} of {len(counts)} trials: {share:.0%} of the items saved"


def figure(measurement: Measurement) -> str:
    """Format a value with four significant digits (from 10,000 on as an integer), without unit."""
    value = measurement.value
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def rounded(value: float) -> float:
    """Round to four significant digits."""
    return float(f"{value:.4g}")


def choices_of(trial: Trial, names: Sequence[str]) -> Mapping[str, str]:
    """Return the values of the named choices as text, `-` for a choice that is not active."""
    return {
        name: show(trial.configuration[name]) if name in trial.configuration else "-"
        for name in names
    }
