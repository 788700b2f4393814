"""Configurations known to be good on this kind of device, to be tried early."""

from collections.abc import Mapping, Sequence

from tunefront.search.experiment.experiment import Experiment
from tunefront.spaces import KNOWN_GOOD, STAGE_OF, Configuration, Value, complete


def known_good(experiment: Experiment, runnable: Sequence[Configuration]) -> list[Configuration]:
    """Return for every known-good entry of the device the best matching runnable configuration.

    A match has all values of the entry. Among matches the one with the fewest other changes from
    the baseline wins, then the most threads, then the largest batch size (the smallest if a
    latency is an objective).
    """
    device = complete(experiment.baseline).text("device")
    found = []
    for known in KNOWN_GOOD.get(device, ()):
        fitting = [c for c in runnable if _has(c, known)]
        if fitting:
            found.append(max(fitting, key=lambda c: _rank(c, experiment, known)))
    return list(dict.fromkeys(found))


def _has(configuration: Configuration, known: Mapping[str, Value]) -> bool:
    values = complete(configuration)
    return all(values[name] == value for name, value in known.items())


def _rank(
    configuration: Configuration, experiment: Experiment, known: Mapping[str, Value]
) -> tuple[float, ...]:
    """Return the sort key: few changes from the baseline, many threads, preferred batch size."""
    values, baseline = complete(configuration), complete(experiment.baseline)
    changes = sum(
        value != baseline[name]
        for name, value in values.items()
        if name not in known and STAGE_OF[name] != "execution"
    )
    hasty = any(o.kind == "speed" and o.direction == "minimize" for o in experiment.objectives)
    batch_size = values.number("batch_size")
    return (-changes, values.number("threads"), -batch_size if hasty else batch_size)
