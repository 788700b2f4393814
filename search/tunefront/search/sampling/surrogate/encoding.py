"""How alike two configurations are: by rank in ordered choices, by equality in the others."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tunefront.evaluators.statistics.arrays import Floats
from tunefront.spaces import Choice, Configuration

_Codes = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """Configurations as numbers.

    Attributes:
        places: Which value of each choice, `(configurations, choices)`; the last place stands for a
            choice that is not active.
        tables: For every choice the distance of any two places, `(places, places)`, 0 to 1.
    """

    places: _Codes
    tables: Sequence[Floats]

    def distances(self, rows: npt.NDArray[np.intp], others: npt.NDArray[np.intp]) -> Floats:
        """By choice, `(choices, rows, others)`."""
        return np.stack(
            [
                table[np.ix_(self.places[rows, choice], self.places[others, choice])]
                for choice, table in enumerate(self.tables)
            ]
        )


def encode(configurations: Sequence[Configuration], choices: Sequence[Choice]) -> Features:
    """The configurations as numbers; values that a choice doesn't list are added to its end."""
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
    return Features(places=places, tables=tables)


def _table(values: int, *, ordered: bool) -> Floats:
    """Distances of the values of one choice and of its absence, which is far from all."""
    table = np.ones((values + 1, values + 1))
    if ordered and values > 1:
        ranks = np.arange(values) / (values - 1)
        table[:values, :values] = np.abs(ranks[:, None] - ranks[None, :])
    np.fill_diagonal(table, 0.0)
    return table
