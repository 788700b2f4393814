"""Which trials' capacity is measured, where the search begins, and how long it takes."""

from collections.abc import Sequence

from tunefront.evaluators.interfaces.polled.capacity import CapacityKind
from tunefront.evaluators.interfaces.polled.metrics import REQUESTS_PER_SECOND
from tunefront.evaluators.statistics.capacity_bisection import MOST_PROBES
from tunefront.search.experiment.experiment import Experiment
from tunefront.search.front.picks import front_of
from tunefront.search.study.confirmation import Confirmation, confirmed
from tunefront.search.study.trial import Trial


def to_probe(
    experiment: Experiment, trials: Sequence[Trial], confirmation: Confirmation
) -> list[Trial]:
    """Return the trials whose capacity is to be measured; none without that key.

    These are the picks, then the rest of the front, up to the number of finalists; and the
    baseline.
    """
    if experiment.confirmation.capacity is None:
        return []
    known = confirmed(trials, confirmation, experiment.metrics)
    front = front_of(experiment, known)
    ordered = [*(pick.trial for pick in front.picks), *front.trials]
    chosen = list({t.number: t for t in ordered}.values())[: experiment.confirmation.finalists]
    baseline = [trial for trial in known[:1] if trial.measured]
    kind, searched = experiment.confirmation.capacity, confirmation.capacities
    done = {number for number, found in searched.items() if found.search.kind == kind}
    wanted = {trial.number: trial for trial in [*chosen, *baseline]}
    return [trial for number, trial in wanted.items() if number not in done]


def first_level(experiment: Experiment, trial: Trial, kind: CapacityKind) -> float:
    """Return the load at which the search for a trial's capacity begins.

    Of rates it is the largest number of requests that it has answered in a second, else the highest
    load level.
    """
    load, metrics = experiment.workload.load, experiment.metrics
    if kind == "concurrency":
        return float(max(load.concurrency, default=1)) if load is not None else 1.0
    rates = [
        found.value
        for name, found in trial.measurements.items()
        if name in metrics and metrics[name].plain_name == REQUESTS_PER_SECOND.name
    ]
    return max(rates, default=1.0)


def capacity_seconds(experiment: Experiment) -> float:
    """Return the longest time of all probes, for as many finalists as there can be; 0 for none."""
    wanted = experiment.confirmation
    if wanted.capacity is None:
        return 0.0
    return MOST_PROBES * wanted.capacity_seconds * (wanted.finalists + 1)
