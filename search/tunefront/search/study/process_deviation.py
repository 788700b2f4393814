"""Variation of speed-ups between fresh processes, learnt from the rounds of confirmation."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from tunefront.evaluators import Measurement, Metric
from tunefront.evaluators.statistics.intervals import student_quantile

from .derived_metrics import (
    BETWEEN_PROCESSES,
    NORMAL_QUANTILE,
    following,
    times,
    with_deviation,
    with_error_of,
)
from .trial import Trial

PRIOR_FREEDOM = 2
"""Degrees of freedom of `BETWEEN_PROCESSES`, added to those of the rounds."""


def process_deviation(finalists: Iterable[Sequence[Sequence[float]]]) -> float:
    """Return the relative standard deviation of a speed-up between fresh processes.

    Args:
        finalists: For each finalist its rounds, each with the ratios of its turns.

    The variance of the rounds' mean logarithms is pooled over finalists, with a scaled inverse
    chi-squared prior at `BETWEEN_PROCESSES` (Gelman et al., Bayesian Data Analysis, 2.6). It
    includes the small error of a round's own turns, and is enlarged by Student's quantile relative
    to the normal one, because it is estimated from few rounds.
    """
    squares, freedom = PRIOR_FREEDOM * BETWEEN_PROCESSES**2, 0
    for rounds in finalists:
        means = np.array([np.log(ratios).mean() for ratios in rounds if len(ratios)])
        if len(means) > 1:
            squares += float(((means - means.mean()) ** 2).sum())
            freedom += len(means) - 1
    enlarged = student_quantile(freedom) / NORMAL_QUANTILE if freedom else 1.0
    return enlarged * math.sqrt(squares / (PRIOR_FREEDOM + freedom))


def with_process_deviation(trial: Trial, metrics: Mapping[str, Metric], deviation: float) -> Trial:
    """Return an unconfirmed trial whose speeds have the variation between processes.

    Args:
        trial: The trial; returned unchanged if it was not measured interleaved with the baseline.
        metrics: All metrics of the experiment, by name.
        deviation: The relative standard deviation between processes.
    """
    evaluation = trial.evaluation
    if evaluation is None or evaluation.relative is None or not trial.measured:
        return trial
    found = dict[str, Measurement]()
    for name, known in trial.measurements.items():
        metric, own = metrics.get(name), evaluation.measurements.get(name)
        ratio = None if metric is None else evaluation.ratio(metric.level)
        if metric is None or ratio is None or not metric.timed:
            continue
        speedup = with_deviation(ratio, deviation)
        if (measurement := following(metric, known.value, known, speedup)) is not None:
            found[name] = measurement
        elif own is not None and own.value > 0:
            found[name] = with_error_of(metric, times(own, known.value / own.value), speedup)
    return replace(trial, measurements={**trial.measurements, **found})
