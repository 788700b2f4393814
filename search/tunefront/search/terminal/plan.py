"""Output about what is known before the first trial: the plan of a search."""

from collections.abc import Sequence

from tunefront.evaluators.statistics.capacity_bisection import MOST_PROBES
from tunefront.evaluators.statistics.formatting import number_text, percent_text
from tunefront.search.experiment.experiment import Experiment, bound
from tunefront.search.experiment.references import texts_of
from tunefront.search.run.capacity.plan import capacity_seconds
from tunefront.search.study.duration_estimate import EXPORT_TRIALS, recorded_estimate
from tunefront.search.text import counted, duration_text
from tunefront.spaces import Enumeration, Value, show

MOST_VALUES_PRINTED = 12
"""Largest number of values of a choice that are printed in full."""


def plan_lines(experiment: Experiment, enumeration: Enumeration) -> list[str]:
    """Format the plan of a search, for `--dry-run`."""
    candidates, trials = experiment.space.count_candidates(), _trials(experiment, enumeration)
    budget = experiment.budget
    references = texts_of(experiment.references, experiment.baseline, budget.trials)
    hours = f", at most {budget.hours:g} h" if budget.hours is not None else ""
    hours += f", until {budget.until}" if budget.until is not None else ""
    lines = [
        f"{experiment.name}: {experiment.workload.title}",
        f"machine: {experiment.space.context.hardware.summary()}",
        f"space: {counted(enumeration.total, 'configuration')}, {len(enumeration.runnable):,} can "
        f"run here, {counted(candidates, 'different model')} to build",
        f"plan: {counted(trials, 'trial')}{hours}, {experiment.concurrent_trials} at a time, "
        f"sampler {experiment.sampler}{_confirmation_text(experiment)}",
        *_capacity_lines(experiment),
        *([f"first: the front of {experiment.warm_start}"] if experiment.warm_start else []),
        estimate_line(experiment, enumeration),
        f"baseline: {experiment.baseline.label()}",
        *(f"{name}: {text}" for name, text in references.items()),
        "objectives: " + ", ".join(f"{o.metric} ({o.direction})" for o in experiment.objectives),
        "limits: " + (", ".join(bound(experiment, one) for one in experiment.limits) or "none"),
        "",
        "choices:",
    ]
    for choice in experiment.space.choices:
        values = _listed(choice.values, ", ")
        when = f"  when {' and '.join(map(str, choice.when))}" if choice.when else ""
        lines.append(f"  {choice.name} ({choice.stage}): {values}{when}")
    if enumeration.dropped:
        lines += ["", "left out:"]
        for drop in enumeration.dropped:
            values = ", ".join(f"{name}={_listed(some, '|')}" for name, some in drop.values.items())
            lines.append(f"  {drop.count:,}: {drop.reason}  [{values}]")
    return lines


def _trials(experiment: Experiment, enumeration: Enumeration) -> int:
    """Return the number of planned trials, ignoring the time."""
    runnable = len(enumeration.runnable)
    return min(experiment.budget.trials or runnable, runnable + 1)


def _confirmation_text(experiment: Experiment) -> str:
    wanted = experiment.confirmation
    if not wanted.finalists:
        return ", no confirmation"
    return (
        f", then {counted(wanted.finalists, 'finalist')} measured again, "
        f"{counted(wanted.rounds, 'round')} in turns with the baseline "
        f"({percent_text(wanted.share, decimals=0)} of the time)"
    )


def _capacity_lines(experiment: Experiment) -> list[str]:
    """Format how the capacity of finalists is measured, and how long that takes."""
    wanted = experiment.confirmation
    if wanted.capacity is None:
        return []
    slo = ", ".join(f"{n} {number_text(one)}" for n, one in experiment.workload.slo.items())
    seconds = capacity_seconds(experiment)
    return [
        f"capacity: the largest {wanted.capacity} that keeps {slo}, of the finalists on the front "
        f"and the baseline, each in at most {MOST_PROBES} probes of "
        f"{number_text(wanted.capacity_seconds)} s (at most {duration_text(seconds)} in all)"
    ]


def _listed(values: Sequence[Value], separator: str) -> str:
    """Format values; of more than 12 the first three, the last two and their number."""
    if len(values) <= MOST_VALUES_PRINTED:
        return separator.join(map(show, values))
    ends = [*map(show, values[:3]), "...", *map(show, values[-2:])]
    return f"{separator.join(ends)} ({len(values)} values)"


def estimate_line(experiment: Experiment, enumeration: Enumeration) -> str:
    """Format how long the trials of a search will take, from recorded ones."""
    found = recorded_estimate(experiment)
    if found is None:
        return "estimate: none yet, nothing is recorded; `--smoke` gives a first one"
    trials, candidates = _trials(experiment, enumeration), experiment.space.count_candidates()
    low, high = (
        duration_text(seconds / experiment.concurrent_trials)
        for seconds in found.seconds(trials, candidates)
    )
    return (
        f"estimate: {low if low == high else f'{low} to {high}'} for the trials, from "
        f"{counted(found.trials, 'recorded trial')} (median "
        f"{duration_text(found.with_build_s)} with a build, "
        f"{duration_text(found.without_build_s)} without); about "
        f"{duration_text(EXPORT_TRIALS * found.with_build_s)} for an export"
    )
