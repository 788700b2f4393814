"""Values of single requests, with what they share: the request, the turn, the time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .arrays import Floats, Indices
from .dependence import effective_count, variance_between
from .intervals import student_quantile


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
            together = max(1, round(block.overlap))
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
        runs = np.array([one.mean() for one in _groups(self.values, self.run)])
        _, places = np.unique(self.run, return_index=True)
        request, turn = self.request[places], self.turn[places]
        mean, count = float(runs.mean()), len(np.unique(request))
        shared = np.array([runs[turn == one].mean() for one in turn])
        variance = variance_between(_groups(runs - shared, request))
        if count < 2 or mean <= 0:
            return mean, mean, mean
        half = student_quantile(count - 1) * math.sqrt(variance / count) / mean
        return mean, mean * math.exp(-half), mean * math.exp(half)

    @cached_property
    def independent(self) -> int:
        """Number of independent values that they are worth, see `effective_count`.

        Requests that overlap share the engine's steps: the smallest number counts that follows
        from what values of the same request, of one group in progress and of one turn have in
        common. Of the gaps between tokens, as many end in the same step as requests are in
        progress, so that their number is divided by it.
        """
        several = len(self.values) > len(np.unique(self.run))
        labels = [self.request]
        if several:
            labels.append(self.run)
        if round(self.overlap) > 1:
            labels += [self.wave, self.turn]
        found = min(effective_count(_groups(self.values, one)) for one in labels)
        return max(1, round(found / max(self.overlap, 1.0))) if several else found


def _groups(values: Floats, labels: Indices) -> list[Floats]:
    """Return the values of each label, in the order of the labels."""
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order])) + 1
    return list(np.split(values[order], starts))
