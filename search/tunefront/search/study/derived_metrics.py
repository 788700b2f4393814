"""A trial's figures from its evaluation: those that need the baseline, a price, or both."""

from collections.abc import Mapping

from tunefront.evaluators import Evaluation, Measurement, Metric
from tunefront.search.experiment.experiment import Experiment
from tunefront.search.experiment.objective import quality_drop

RATES = ("throughput", "tokens_per_second")
LATENCIES = ("latency_ms", "latency_p90_ms", "latency_p99_ms")


def figures_of(
    experiment: Experiment, evaluation: Evaluation, baseline: Evaluation | None
) -> dict[str, Measurement]:
    """Every figure of a trial.

    Args:
        experiment: Its metrics and price.
        evaluation: How the trial's evaluation ended.
        baseline: The baseline's evaluation; None for the baseline itself, or where it failed.
    """
    return figures_from(evaluation, baseline, experiment.primary, experiment.price_per_hour)


def figures_from(
    evaluation: Evaluation,
    baseline: Evaluation | None,
    primary: Metric,
    price_per_hour: float | None,
) -> dict[str, Measurement]:
    """Every figure of a trial, without the experiment: as a worker finds them.

    Args:
        evaluation: How the trial's evaluation ended, or what is known of it so far.
        baseline: As in `figures_of`.
        primary: The metric that quality is judged by.
        price_per_hour: Of the machine; None where nobody said it.
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
    """Speed on the machine as it was when the baseline was measured.

    Args:
        figures: What was measured.
        relative: The throughput against the baseline's in the same turns.
        base: The baseline's throughput as trial 0 found it, items/s.

    The ratio is what holds while a machine drifts; latencies follow it.
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
    """What a million items and tokens cost; nothing where nobody said what the machine costs."""
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
