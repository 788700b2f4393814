"""Values of single requests, with what they share: the request, the turn, the time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .arrays import Floats, Indices
from .dependence import effective_count, variance_between
from .intervals import student_quantile

OVERLAP_ERROR = 0.1
"""Largest excess of the mean number of requests in progress over a whole number that is noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockValues:
    """Values of the requests of a block.

    Attributes:
        turn: Number of the turn.
        part: Number of its part of the requests.
        values: The values, shape `(passes, requests)` or, several of each request, `(passes,
            requests, values)`; NaN stands for none.
        overlap: Mean number of requests in progress.
        first: Place of the request that each pass began with.
    """

    turn: int
    part: int
    values: Floats
    overlap: float
    first: int = 0


@dataclass(frozen=True, kw_only=True)  # no slots: a cached property needs a __dict__
class RequestValues:
    """Values of timed requests; a request has one, or several such as gaps between tokens.

    Attributes:
        values: The values, shape `(n,)`.
        request: Number of the different request of each value; repeated ones have the same.
        turn: Number of its turn.
        run: Number of the run of a request that it is from.
        wave: Number of the group of consecutive runs, as many as were in progress at a time.
        overlap: Mean number of requests in progress.
    """

    values: Floats
    request: Indices
    turn: Indices
    run: Indices
    wave: Indices
    overlap: float

    @classmethod
    def of(cls, blocks: Sequence[BlockValues]) -> "RequestValues":
        """Return the values of some blocks."""
        values: list[Floats] = []
        labels: list[Indices] = []
        runs = waves = 0
        for block in blocks:
            passes, places = block.values.shape[:2]
            order = np.arange(passes * places)
            together = _together(block.overlap)
            request = block.part * places + (order + block.first) % places
            turn = np.full_like(order, block.turn)
            rows = np.stack([request, turn, runs + order, waves + order // together])
            runs, waves = runs + len(order), waves + len(order) // together + 1
            flat = block.values.reshape(len(order), -1)
            known = ~np.isnan(flat)
            values.append(flat[known])
            labels.append(np.repeat(rows, known.sum(axis=1), axis=1))
        request, turn, run, wave = np.concatenate(labels, axis=1)
        return cls(
            values=np.concatenate(values),
            request=request,
            turn=turn,
            run=run,
            wave=wave,
            overlap=float(np.mean([block.overlap for block in blocks])),
        )

    def of_each_request(self) -> list[Floats]:
        """Return the values of each different request."""
        return _groups(self.values, self.request)

    def interval_of_choice(self) -> tuple[float, float, float]:
        """Return the mean of the requests, and the interval that their choice leaves it.

        Only what differs between requests whenever they run widens it: the variance between them
        from an analysis of variance of their runs, without what all requests of a turn share. It is
        Student's interval on the log scale.
        """
        _, places = np.unique(self.run, return_index=True)
        request, runs = self.request[places], _group_means(self.values, self.run)[places]
        mean, count = float(runs.mean()), len(np.unique(request))
        own = runs - _group_means(runs, self.turn[places])
        variance = variance_between(_groups(own, request))
        if count < 2 or mean <= 0:
            return mean, mean, mean
        half = student_quantile(count - 1) * math.sqrt(variance / count) / mean
        return mean, mean * math.exp(-half), mean * math.exp(half)

    @cached_property
    def independent(self) -> int:
        """Number of independent values that they are worth, see `effective_count`.

        The smallest number counts that follows from what values of the same request and of one turn
        have in common: a machine that is slow for a moment makes the requests of a turn alike. It
        is also what values of one group in progress have in common if requests overlap, which
        share the engine's steps. Of the gaps between tokens, as many end in the same step as
        requests are in progress, so that their number is divided by it.
        """
        return self._worth(self.values)

    def independent_at(self, share: float) -> int:
        """Return the number for the quantile at `share`: large values can come together.

        It is that of the values, or of whether they are above the quantile if that is smaller.
        """
        above = self.values > np.quantile(self.values, share)
        return min(self.independent, self._worth(above.astype(np.float64)))

    def _worth(self, values: Floats) -> int:
        runs, several = np.unique(self.run), len(self.values) > len(np.unique(self.run))
        overlaps = _together(self.overlap) > 1
        if np.ptp(values) == 0:  # no variance shows what they have in common
            return len(np.unique(self.wave)) if overlaps else len(runs)
        labels = [self.request, self.turn]
        if several:
            labels.append(self.run)
        if overlaps:
            labels.append(self.wave)
        found = min(effective_count(_groups(values, one)) for one in labels)
        return max(1, round(found / max(self.overlap, 1.0))) if several else found


def _group_means(values: Floats, labels: Indices) -> Floats:
    """Return for each value the mean of the values with its label, shape `(n,)`."""
    _, place = np.unique(labels, return_inverse=True)
    means: Floats = np.bincount(place, values) / np.bincount(place)
    return means[place]


def _together(overlap: float) -> int:
    """Return how many requests are in progress at a time, for a mean number of them."""
    return max(1, math.ceil(overlap - OVERLAP_ERROR))


def _groups(values: Floats, labels: Indices) -> list[Floats]:
    """Return the values of each label, in the order of the labels."""
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order])) + 1
    return list(np.split(values[order], starts))
