"""Measured tables that searches are replayed on: a CSV file each, described in tables.json."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tunefront.search.experiment.objective import Objective
from tunefront.search.front.pareto import nondominated
from tunefront.spaces import Choice, Configuration, Value

Floats = npt.NDArray[np.float64]
LOGARITHMIC = frozenset(
    {
        "latency_ms", "energy_mj", "ttft_ms", "tpot_ms", "tok_s_gpu", "peak_mem_mb",
        "samples_s", "params_m", "latency_s", "tok_s_device",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A measured table.

    Attributes:
        name: Its file's stem.
        choices: The choice columns.
        rows: Its configurations.
        objectives: Its figures' columns.
        figures: As measured, `(rows, objectives)`.
        costs: Minimised and scaled so that the front spans 0 to 1, `(rows, objectives)`; infinite
            where a row fails.
        failing: Whether a row failed when it was measured, `(rows,)`.
        factors: What seeds took as shares of their mean, for each row; ones without any.
    """

    name: str
    choices: tuple[Choice, ...]
    rows: tuple[Configuration, ...]
    objectives: tuple[Objective, ...]
    figures: Floats
    costs: Floats
    failing: npt.NDArray[np.bool_]
    factors: Sequence[Sequence[float]]


def read_table(
    folder: Path,
    name: str,
    facts: Mapping[str, Any],
    hidden_failures: bool = False,
    seed_noise: bool = False,
) -> Table:
    """Return one table of the folder, with its failures and the noise of its seeds if wanted."""
    measured = _lines(folder / f"{name}.csv")
    failed = _lines(folder / f"{name}_failed.csv") if hidden_failures else []
    seeds = _lines(folder / f"{name}_seeds.csv") if seed_noise else []
    lines = [*measured, *failed]
    failing = np.arange(len(lines)) >= len(measured)
    choices = tuple(
        _choice(choice, [line[choice] for line in lines]) for choice in facts["choices"]
    )
    objectives = tuple(
        Objective(metric=metric, direction="minimize" if way == "min" else "maximize")
        for metric, way in facts["objectives"].items()
    )
    figures = np.array([[float(line.get(o.metric, "nan")) for o in objectives] for line in lines])
    costs = np.full_like(figures, np.inf)
    costs[~failing] = scaled(figures[~failing], objectives)
    return Table(
        name=name,
        choices=choices,
        rows=tuple(
            Configuration({c.name: _value(line[c.name]) for c in choices}) for line in lines
        ),
        objectives=objectives,
        figures=figures,
        costs=costs,
        failing=failing,
        factors=[_factors(line, seeds) for line in lines],
    )


def _lines(path: Path) -> list[dict[str, str]]:
    """Return the lines of a CSV file; none if there is no such file."""
    if not path.is_file():
        return []
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def _factors(line: Mapping[str, str], seeds: Sequence[Mapping[str, str]]) -> list[float]:
    """Return what the seeds of a row took, as shares of their mean."""
    own = [list(s.items()) for s in seeds if all(line.get(k, v) == v for k, v in s.items())]
    values = np.array([float(items[-1][1]) for items in own])
    values = values[np.isfinite(values)]
    return (values / values.mean()).tolist() if len(values) else [1.0]


def _choice(name: str, column: Sequence[str]) -> Choice:
    values = sorted({_value(text) for text in column}, key=lambda v: (isinstance(v, str), v))
    ordered = not any(isinstance(value, str) for value in values)
    return Choice(
        name=name, values=tuple(values), stage="model", default=values[0], ordered=ordered
    )


def _value(text: str) -> Value:
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text


def scaled(figures: Floats, objectives: Sequence[Objective]) -> Floats:
    """Return figures as costs, scaled so that the front spans 0 to 1, `(rows, objectives)`."""
    columns = [
        objective.sign * (np.log10(column) if objective.metric in LOGARITHMIC else column)
        for objective, column in zip(objectives, figures.T, strict=True)
    ]
    costs = np.stack(columns, axis=1)
    front = costs[nondominated(costs)]
    low, high = front.min(axis=0), front.max(axis=0)
    scaled: Floats = (costs - low) / np.where(high > low, high - low, 1.0)
    return scaled
