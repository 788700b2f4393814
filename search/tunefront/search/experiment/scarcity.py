"""Scarce data: a limit on quality that the number of items can't show."""

from collections.abc import Sequence
from dataclasses import dataclass

from tunefront.evaluators import QualitySample
from tunefront.evaluators.statistics.formatting import number_text
from tunefront.spaces import ExperimentError, show

from .experiment import Experiment
from .metrics import QUALITY_DROP
from .objective import Limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Scarcity:
    """Too few items for the limit of the quality drop.

    Attributes:
        items: Number of items.
        smallest: Smallest change that they can show, in percent of the baseline's quality.
        limit: The limit of the quality drop, in percent.
        needed: Number of items that can show the limit; None if no number can.
    """

    items: int
    smallest: float
    limit: float
    needed: int | None

    def __str__(self) -> str:
        smallest = number_text(self.smallest, digits=2)
        text = (
            f"{self.items:,} items: a change of quality below about {smallest} % can't be "
            f"seen, the limit is {show(self.limit)} %"
        )
        return text if self.needed is None else f"{text}; about {self.needed:,} items would do"


def scarcity_of(limits: Sequence[Limit], sample: QualitySample | None) -> Scarcity | None:
    """Return how the items are too few for the limit of the quality drop; None if they suffice.

    Args:
        limits: The limits.
        sample: The items; None if they are not known.
    """
    bounds = (one.bound for one in limits if one.metric == QUALITY_DROP.name)
    bound = next(bounds, None)
    if bound is None or sample is None or sample.near_zero:
        return None
    smallest = 100 * sample.smallest_change()
    if smallest <= abs(bound):
        return None
    return Scarcity(
        items=sample.items,
        smallest=smallest,
        limit=bound,
        needed=int(float(f"{sample.needed(abs(bound) / 100):.2g}")) if bound else None,
    )


def check_level(experiment: Experiment, sample: QualitySample | None) -> None:
    """Refuse a relative limit or objective of a quality that cannot be distinguished from 0.

    Args:
        experiment: The experiment.
        sample: The items of the unchanged model; None if they are not known. A part of the items
            decides nothing: the level of all is checked once the baseline is measured.

    Raises:
        ExperimentError: If the quality drop is a limit or an objective and the level is near 0.
    """
    if sample is not None and sample.evaluated == sample.items and sample.near_zero:
        problem = near_zero_problem(experiment, sample.level)
        if problem:
            raise ExperimentError(f"{experiment.path}: {problem}")


def near_zero_problem(experiment: Experiment, level: float) -> str:
    """Return why the quality drop can't be used at a level near 0; empty if it is not used."""
    limits = [one for one in experiment.limits if one.metric == QUALITY_DROP.name]
    used = [f"limits: {one} %" for one in limits]
    used += [
        f"objectives: {one.metric}"
        for one in experiment.objectives
        if one.metric == QUALITY_DROP.name
    ]
    if not used:
        return ""
    primary = experiment.primary
    test = ">=" if primary.direction == "maximize" else "<="
    instead = (
        f'limits: {{{primary.name}: "{test} NUMBER"}}'
        if limits
        else f"objectives: {{{primary.name}: {primary.direction}}}"
    )
    return (
        f"{used[0]}: {primary.name} is {number_text(level)}, not distinguishable from 0: a change "
        f"in percent of it has no meaning; write {instead}, in its own unit"
    )
