"""The machine's pace: how fast it was in each turn of a run, compared with the median turn.

A machine whose speed drifts while a candidate is measured makes the slow turns the tail of its
request times. What drifted is known from the candidates that were timed in the same turns.
"""

from collections.abc import Sequence

import numpy as np

from .arrays import Floats
from .dependence import FEWEST_VALUES
from .timing import Timing


def paces(timings: Sequence[Timing]) -> list[Floats]:
    """Return the machine's pace in the turns of each candidate of a run, each of shape `(turns,)`.

    The logarithm of a candidate's rate is regressed on the mean of the others' in the same turn: a
    control variate (Lavenberg and Welch, Management Science 27, 1981). The slope, between 0 and 1,
    is the share of the others' deviations that is the machine's; the rest is their own. A candidate
    that was measured alone is regressed on the mean of its turns before and after. Differences
    between the parts of the sample are left out: lengths of texts are no pace.

    The pace is 1 in every turn if too few are included to estimate the slope, or if the rate is
    that of requests sent at given times.

    Args:
        timings: Timings of the same turns.
    """
    deviations = [_deviations(timing) for timing in timings]
    found: list[Floats] = []
    for place, own in enumerate(deviations):
        others = [one for one in deviations[:place] + deviations[place + 1 :] if one is not None]
        if own is None:
            found.append(np.ones(len(timings[place].blocks)))
        else:
            found.append(_pace(own, _means(others) if others else _neighbours(own)))
    return found


def _deviations(timing: Timing) -> Floats | None:
    """Return the logarithms of the rates within the parts; NaN in turns that are not included.

    None if the included turns are too few, or the rate does not show the machine's pace.
    """
    if timing.open_loop:
        return None
    turns = np.flatnonzero(timing.kept)
    parts = turns % timing.parts
    groups = np.unique(parts)
    if len(turns) - len(groups) < FEWEST_VALUES:
        return None
    deviations: Floats = np.full(len(timing.kept), np.nan)
    logs = np.log(timing.rate)
    for part in groups:
        own = turns[parts == part]
        deviations[own] = logs[own] - logs[own].mean()
    return deviations


def _pace(own: Floats, control: Floats) -> Floats:
    """Return the part of a candidate's deviations that its control explains, as factors."""
    known = ~np.isnan(own) & ~np.isnan(control)
    power = float((control[known] ** 2).sum())
    slope = float((own[known] * control[known]).sum()) / power if power > 0 else 0.0
    logs = min(max(slope, 0.0), 1.0) * control
    middle = np.median(logs[known]) if known.any() else 0.0
    return np.where(known, np.exp(logs - middle), 1.0)


def _means(rows: Sequence[Floats]) -> Floats:
    """Return the mean of each column over the rows that have a value there, else NaN."""
    table = np.array(rows)
    counts = (~np.isnan(table)).sum(axis=0)
    sums = np.nansum(table, axis=0)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _neighbours(values: Floats) -> Floats:
    """Return for each value the mean of those before and after it."""
    missing = np.array([np.nan])
    before, after = (
        np.concatenate(pair) for pair in ((missing, values[:-1]), (values[1:], missing))
    )
    return _means([before, after])
