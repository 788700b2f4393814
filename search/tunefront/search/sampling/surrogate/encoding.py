"""Distances between configurations: rank difference for ordered choices, else 0 or 1."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tunefront.evaluators.statistics.arrays import Floats
from tunefront.spaces import Choice, Configuration

_Codes = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """Encoded configurations.

    Attributes:
        codes: Index of each choice's value, `(configurations, choices)`; the last index stands
            for an inactive choice.
        tables: For every choice the distance between any two indices, `(values + 1, values + 1)`,
            from 0 to 1.
    """

    codes: _Codes
    tables: Sequence[Floats]

    def distances(self, rows: npt.NDArray[np.intp], others: npt.NDArray[np.intp]) -> Floats:
        """Return the distances for each choice, `(choices, rows, others)`."""
        return np.stack(
            [
                table[np.ix_(self.codes[rows, choice], self.codes[others, choice])]
                for choice, table in enumerate(self.tables)
            ]
        )


def encode(configurations: Sequence[Configuration], choices: Sequence[Choice]) -> Features:
    """Encode configurations; a value that a choice does not list is appended to its values."""
    columns: list[list[int]] = []
    tables: list[Floats] = []
    for choice in choices:
        place_of = {value: place for place, value in enumerate(choice.values)}
        for configuration in configurations:
            if choice.name in configuration:
                place_of.setdefault(configuration[choice.name], len(place_of))
        inactive = len(place_of)
        columns.append(
            [
                place_of.get(c[choice.name], inactive) if choice.name in c else inactive
                for c in configurations
            ]
        )
        tables.append(_table(inactive, ordered=choice.ordered))
    places = np.array(columns, dtype=np.int32).reshape(len(choices), len(configurations)).T
    return Features(codes=places, tables=tables)


def _table(values: int, *, ordered: bool) -> Floats:
    """Return the distances between the values of one choice; inactive has distance 1 to all."""
    table = np.ones((values + 1, values + 1))
    if ordered and values > 1:
        ranks = np.arange(values) / (values - 1)
        table[:values, :values] = np.abs(ranks[:, None] - ranks[None, :])
    np.fill_diagonal(table, 0.0)
    return table
