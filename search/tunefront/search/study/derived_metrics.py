"""Measurements of a trial, including those derived from the baseline or a price."""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from tunefront.evaluators import Evaluation, Measurement, Metric, reference_rate, widened
from tunefront.search.experiment.experiment import Experiment
from tunefront.search.experiment.metrics import QUALITY_DROP, cost_metric, rates_of
from tunefront.search.experiment.objective import has_level, quality_drop

BETWEEN_PROCESSES = 0.01
"""Relative standard deviation of a speed-up between fresh processes, before rounds have shown it.

Memory layout and placement differ from process to process; more turns of one do not show it.
"""
NORMAL_QUANTILE = 1.96
"""Quantile of the normal distribution at 97.5 %."""
SMALLEST_SHARE = 1e-12
"""Lower end of a speed-up's interval, as a share of it, below which a time has no finite end."""


def measurements_of(
    experiment: Experiment, evaluation: Evaluation, baseline: Evaluation | None
) -> dict[str, Measurement]:
    """Return all measurements of a trial by metric.

    Args:
        experiment: Experiment with the primary quality metric and the price.
        evaluation: The trial's evaluation.
        baseline: The baseline's evaluation; None for the baseline itself, or if it failed.
    """
    return derive_measurements(
        evaluation, baseline, experiment.primary, experiment.metrics, experiment.price_per_hour
    )


def derive_measurements(
    evaluation: Evaluation,
    baseline: Evaluation | None,
    primary: Metric,
    metrics: Mapping[str, Metric],
    price_per_hour: float | None,
) -> dict[str, Measurement]:
    """Return all measurements of a trial by metric, without needing the experiment (for workers).

    The quality drop is left out if the baseline's quality cannot be distinguished from 0.

    Args:
        evaluation: The trial's evaluation, final or interim.
        baseline: The baseline's evaluation; None for the baseline itself, or if it failed.
        primary: Primary quality metric.
        metrics: All metrics of the experiment, by name.
        price_per_hour: Price of the machine; None if not given.
    """
    measurements = dict(evaluation.measurements)
    measured = [metrics[name] for name in measurements if name in metrics]
    for rate in (metric for metric in measured if metric.reference_rate):
        ratio = evaluation.ratio(rate.level)
        base = None if baseline is None else baseline.measurements.get(rate.name)
        if ratio is not None and base is not None:
            relative = with_deviation(ratio, BETWEEN_PROCESSES)
            following_it = following_rate(measured, rate)
            measurements |= steadied(measurements, following_it, relative, base.value)
    measurements |= costs(measurements, measured, price_per_hour)
    if primary.name in measurements and has_level(primary, baseline or evaluation):
        measurements[QUALITY_DROP.name] = (
            quality_drop(primary, evaluation, baseline)
            if baseline is not None
            else Measurement.exact(0.0, QUALITY_DROP.unit)
        )
    return measurements


def following_rate(metrics: Collection[Metric], rate: Metric) -> list[Metric]:
    """Return the metrics that are converted by a reference rate: those of its load level.

    Those without a level, such as energy, belong to the rate of the highest one.
    """
    return [metric for metric in metrics if reference_rate(metrics, metric.level) is rate]


def with_deviation(speedup: Measurement, deviation: float) -> Measurement:
    """Return a speed-up whose interval also covers the variation between fresh processes.

    Args:
        speedup: The speed-up measured in one process.
        deviation: Relative standard deviation between processes.
    """
    other = (1.0, math.exp(-NORMAL_QUANTILE * deviation), math.exp(NORMAL_QUANTILE * deviation))
    value, low, high = widened((speedup.value, speedup.low, speedup.high), other)
    return replace(speedup, value=value, low=low, high=high)


def steadied(
    measurements: Mapping[str, Measurement],
    metrics: Iterable[Metric],
    relative: Measurement,
    base: float,
) -> dict[str, Measurement]:
    """Return the timed metrics converted to the machine's speed during trial 0.

    The ratio to the baseline in the same turns is stable while the machine drifts: the reference
    rate is set to that ratio times trial 0's rate, and all metrics of timed requests are scaled
    with it. Metrics that follow the speed-up get the ratio's relative interval, too; the intervals
    of the others, such as percentiles, also cover the ratio's error.

    Args:
        measurements: Measurements of the trial, by metric.
        metrics: The metrics of these measurements.
        relative: Reference rate divided by the baseline's in the same turns.
        base: The baseline's reference rate in trial 0.
    """
    timed = [metric for metric in metrics if metric.timed]
    rate = reference_rate(timed)
    if rate is None:
        return {}
    factor = relative.value * base / measurements[rate.name].value
    found: dict[str, Measurement] = {}
    for metric in timed:
        measurement = times(measurements[metric.name], scale_at(metric, factor))
        found[metric.name] = following(
            metric, measurement.value, measurement, relative
        ) or with_error_of(metric, measurement, relative)
    return found


def scale_at(metric: Metric, factor: float) -> float:
    """Return the factor of a metric's values on a machine that is `factor` times as fast.

    Rates grow with the machine's speed; times, and the energy and costs of an item, are inversely
    proportional to it. Metrics that are not timed do not change.
    """
    if not metric.timed:
        return 1.0
    return factor if metric.direction == "maximize" else 1 / factor


def following(
    metric: Metric, value: float, measurement: Measurement, speedup: Measurement
) -> Measurement | None:
    """Return a measurement with the relative interval of a speed-up.

    None if the metric does not follow the speed-up.

    Args:
        metric: The metric.
        value: Its value, at this speed-up.
        measurement: A measurement of it, for the unit.
        speedup: The speed-up, or the reference rate, with its interval.
    """
    if metric.follows == "none":
        return None
    low, high = _ends(speedup, inverse=metric.follows == "time")
    return replace(
        measurement, value=value, low=value * low, high=value * high, samples=speedup.samples
    )


def with_error_of(metric: Metric, measurement: Measurement, speedup: Measurement) -> Measurement:
    """Return a timed measurement whose interval also covers the error of a speed-up.

    Args:
        metric: The metric.
        measurement: A measurement of it, converted by the speed-up.
        speedup: The speed-up with its interval.
    """
    if measurement.low <= 0:
        return measurement
    low, high = _ends(speedup, inverse=metric.direction == "minimize")
    own = (measurement.value, measurement.low, measurement.high)
    _, low, high = widened(own, (1.0, max(low, SMALLEST_SHARE), high))
    return replace(measurement, low=low, high=high)


def _ends(speedup: Measurement, *, inverse: bool) -> tuple[float, float]:
    """Return the ends of a speed-up's interval as shares of it, or those of its inverse."""
    low, high = speedup.low / speedup.value, speedup.high / speedup.value
    return (1 / high, 1 / max(low, SMALLEST_SHARE)) if inverse else (low, high)


def times(measurement: Measurement, factor: float) -> Measurement:
    """Return a measurement in another unit: value and interval multiplied by a factor."""
    return replace(
        measurement,
        value=measurement.value * factor,
        low=measurement.low * factor,
        high=measurement.high * factor,
    )


def costs(
    measurements: Mapping[str, Measurement], metrics: Iterable[Metric], price_per_hour: float | None
) -> dict[str, Measurement]:
    """Return the cost of a million of what each rate counts; empty if no price is given."""
    if price_per_hour is None:
        return {}
    found: dict[str, Measurement] = {}
    for rate in rates_of(metrics):
        cost, speed = cost_metric(rate), measurements[rate.name]
        price = price_per_hour / 3600 * 1e6
        found[cost.name] = Measurement(
            value=price / speed.value,
            unit=cost.unit,
            low=price / speed.high,
            high=price / max(speed.low, 1e-12),
            samples=speed.samples,
        )
    return found
