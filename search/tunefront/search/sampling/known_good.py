"""Configurations known to be good on this kind of device, to be tried early."""

from collections.abc import Mapping, Sequence

from tunefront.search.experiment.experiment import Experiment
from tunefront.spaces import CHOICES, KNOWN_GOOD, Configuration, Value


def known_good(experiment: Experiment, runnable: Sequence[Configuration]) -> list[Configuration]:
    """Return for every known-good entry of the device the best matching runnable configuration.

    A match has all values of the entry. Among matches the one with the fewest other changes from
    the baseline wins, then the most threads, then the largest batch size (the smallest if a
    latency is an objective).
    """
    device = str(experiment.baseline.get("device", CHOICES["device"].default))
    found = []
    for known in KNOWN_GOOD.get(device, ()):
        fitting = [c for c in runnable if _has(c, known)]
        if fitting:
            found.append(max(fitting, key=lambda c: _rank(c, experiment, known)))
    return list(dict.fromkeys(found))


def _has(configuration: Configuration, known: Mapping[str, Value]) -> bool:
    return all(configuration.get(n, CHOICES[n].default) == v for n, v in known.items())


def _rank(
    configuration: Configuration, experiment: Experiment, known: Mapping[str, Value]
) -> tuple[float, ...]:
    """Return the sort key: few changes from the baseline, many threads, preferred batch size."""
    changes = sum(
        value != experiment.baseline.get(name)
        for name, value in configuration.items()
        if name not in known and CHOICES[name].stage != "execution"
    )
    hasty = any("latency" in objective.metric for objective in experiment.objectives)
    batch_size = float(configuration.get("batch_size", 1))
    threads = float(configuration.get("threads", 1))
    return (-changes, threads, -batch_size if hasty else batch_size)
