"""Measurements of a trial, including those derived from the baseline or a price."""

from collections.abc import Mapping

from tunefront.evaluators import Evaluation, Measurement, Metric
from tunefront.search.experiment.experiment import Experiment
from tunefront.search.experiment.objective import quality_drop

RATES = ("throughput", "tokens_per_second")
LATENCIES = ("latency_ms", "latency_p90_ms", "latency_p99_ms")


def figures_of(
    experiment: Experiment, evaluation: Evaluation, baseline: Evaluation | None
) -> dict[str, Measurement]:
    """Return all measurements of a trial by metric.

    Args:
        experiment: Experiment with the primary quality metric and the price.
        evaluation: The trial's evaluation.
        baseline: The baseline's evaluation; None for the baseline itself, or if it failed.
    """
    return figures_from(evaluation, baseline, experiment.primary, experiment.price_per_hour)


def figures_from(
    evaluation: Evaluation,
    baseline: Evaluation | None,
    primary: Metric,
    price_per_hour: float | None,
) -> dict[str, Measurement]:
    """Return all measurements of a trial by metric, without needing the experiment (for workers).

    Args:
        evaluation: The trial's evaluation, final or interim.
        baseline: The baseline's evaluation; None for the baseline itself, or if it failed.
        primary: Primary quality metric.
        price_per_hour: Price of the machine; None if not given.
    """
    figures = dict(evaluation.measurements)
    base = None if baseline is None else baseline.measurements.get("throughput")
    if evaluation.relative is not None and base is not None and "throughput" in figures:
        figures |= steadied(figures, evaluation.relative, base.value)
    figures |= costs(figures, price_per_hour)
    if primary.name in figures:
        figures["quality_drop"] = (
            quality_drop(primary, evaluation, baseline)
            if baseline is not None
            else Measurement.exact(0.0, "%")
        )
    return figures


def steadied(
    figures: Mapping[str, Measurement], relative: Measurement, base: float
) -> dict[str, Measurement]:
    """Return throughput and latencies converted to the machine's speed during trial 0.

    The ratio to the baseline in the same turns is stable while the machine drifts: throughput is
    set to that ratio times trial 0's throughput, and rates and latencies are scaled with it.

    Args:
        figures: Measurements of the trial, by metric.
        relative: Throughput divided by the baseline's in the same turns.
        base: The baseline's throughput in trial 0, items/s.
    """
    throughput = Measurement(
        value=relative.value * base,
        unit="items/s",
        low=relative.low * base,
        high=relative.high * base,
        samples=relative.samples,
    )
    factor = throughput.value / figures["throughput"].value
    found = {"throughput": throughput}
    for name in (*RATES[1:], *LATENCIES):
        if name in figures:
            found[name] = _times(figures[name], factor if name in RATES else 1 / factor)
    if "latency_ms" not in found:
        return found
    half = (relative.high - relative.low) / 2 / relative.value
    latency = found["latency_ms"]
    found["latency_ms"] = Measurement(
        value=latency.value,
        unit=latency.unit,
        low=latency.value * (1 - half),
        high=latency.value * (1 + half),
        samples=latency.samples,
    )
    return found


def _times(figure: Measurement, factor: float) -> Measurement:
    return Measurement(
        value=figure.value * factor,
        unit=figure.unit,
        low=figure.low * factor,
        high=figure.high * factor,
        samples=figure.samples,
    )


def costs(
    figures: Mapping[str, Measurement], price_per_hour: float | None
) -> dict[str, Measurement]:
    """Return the cost per million items and tokens; empty if no price is given."""
    if price_per_hour is None:
        return {}
    found: dict[str, Measurement] = {}
    for rate, name in (("throughput", "items"), ("tokens_per_second", "tokens")):
        if rate in figures:
            speed = figures[rate]
            price = price_per_hour / 3600 * 1e6
            found[f"cost_per_million_{name}"] = Measurement(
                value=price / speed.value,
                unit="",
                low=price / speed.high,
                high=price / max(speed.low, 1e-12),
                samples=speed.samples,
            )
    return found
