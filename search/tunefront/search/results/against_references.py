"""The recommended trial against the references: defaults of runtimes, and the current settings."""

from collections.abc import Sequence
from dataclasses import replace

from tunefront.evaluators import Measurement, Metric
from tunefront.evaluators.statistics.formatting import multiple_ends, multiple_text
from tunefront.search.experiment.experiment import Experiment
from tunefront.search.experiment.objective import Limit
from tunefront.search.experiment.references import CURRENT_SETTINGS, ReferenceConfiguration
from tunefront.search.front.intervals import seen
from tunefront.search.front.picks import within
from tunefront.search.study.trial import Trial

from .change import quotient

_SPEED = ("faster than", "slower than", "the same speed as")
"""Words for a ratio above 1, below 1 and of about 1."""


def against_references(
    experiment: Experiment, trials: Sequence[Trial], recommended: Trial, limits: Sequence[Limit]
) -> str:
    """Compare the recommended trial with the fastest default and with the current settings.

    Return a text such as `1.3x faster than the fastest default (004, default of openvino; 1.2 to
    1.4)`; empty if the experiment has no reference that was measured, or measures no speed.

    Args:
        experiment: The experiment.
        trials: All trials, with confirmed measurements if there are any.
        recommended: The recommended trial.
        limits: The limits that the front keeps; a default beyond them is not compared with.
    """
    rate = experiment.rate
    if rate is None or not _has(recommended, rate):
        return ""
    known = {one.configuration for one in experiment.references}
    found = within([trial for trial in trials if trial.configuration in known], limits)
    kept = [trial for trial in found if _has(trial, rate)]
    groups: dict[bool, list[ReferenceConfiguration]] = {False: [], True: []}
    for one in experiment.references:
        groups[one.name == CURRENT_SETTINGS].append(one)
    parts = (
        _compared(recommended, kept, groups[False], rate, "the fastest default"),
        _compared(recommended, kept, groups[True], rate, "the current settings"),
    )
    return ", ".join(filter(None, parts))


def _has(trial: Trial, rate: Metric) -> bool:
    return rate.name in trial.measurements and trial.value(rate.name) > 0


def _compared(
    own: Trial,
    kept: Sequence[Trial],
    references: Sequence[ReferenceConfiguration],
    rate: Metric,
    name: str,
) -> str:
    """Compare a trial with the fastest of some references; empty if none was measured."""
    named = {one.configuration: one.name for one in references if one.configuration is not None}
    found = [trial for trial in kept if trial.configuration in named]
    if not found:
        return ""
    best = max(found, key=lambda trial: trial.value(rate.name))
    if best.number == own.number:
        return f"it is {name}"
    ratio = _ratio(own, best, rate)
    what = named[best.configuration]
    place = f"{best.number:03}" if what in name else f"{best.number:03}, {what}"
    inside = "; ".join(filter(None, [place, multiple_ends(ratio)]))
    return f"{multiple_text(ratio.value, *_SPEED)} {name} ({inside})"


def _ratio(own: Trial, best: Trial, rate: Metric) -> Measurement:
    value, low, high = quotient(seen(own, rate), seen(best, rate))
    return replace(own.measurements[rate.name], value=value, low=low, high=high, unit="x")
