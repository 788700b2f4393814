"""What earlier searches are worth: parts of measured tables as searches of each other's kind.

    python benchmarks/history.py --tables DIR [--seeds N] [--json OUT]

One choice of each table (the processor, the engine) splits it into searches. One of them is
replayed with nothing known, with 40 random trials of each of up to three others, and with the same
trials inverted (what was fast is said to be slow): a history that misleads. The score is that of
benchmarks/search.py on the rows of the replayed search. DIR holds the tables.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from search import Conditions, Ours, replay, summary
from tables import Table, read_table, scaled

from tunefront.search.sampling.history.observations import (
    SEARCH_CHOICE,
    EarlierSearches,
    EarlierTrial,
)
from tunefront.search.sampling.history.records import MOST_TRIALS, MOST_USED, SAME_MODEL
from tunefront.spaces import Configuration, Value

History = Literal["none", "sister", "inverted"]
SPLIT = {
    "mlperf_edge_rk3588": "backend",
    "aic_llama70b_1024_1024": "system",
    "qai_imagenet_s25": "runtime",
    "mlenergy_chat": "gpu",
    "tx2_xception_600": "n_cores",
    "zeus_movielens_ncf": "gpu",
    "draftbench_m4max": "target",
}
"""The choice by which each table is split into searches."""
REPLAYED = 2
"""Searches of each table that are replayed: the largest ones."""
TRIALS = 40


def part(table: Table, choice: str, value: Value) -> Table:
    """Return the rows of one search."""
    rows = [place for place, row in enumerate(table.rows) if row[choice] == value]
    return replace(
        table,
        choices=tuple(one for one in table.choices if one.name != choice),
        rows=tuple(_without(table.rows[place], choice) for place in rows),
        figures=table.figures[rows],
        costs=scaled(table.figures[rows], table.objectives),
        failing=table.failing[rows],
        factors=[table.factors[row] for row in rows],
    )


def _without(row: Configuration, choice: str) -> Configuration:
    return Configuration({name: value for name, value in row.items() if name != choice})


def history_of(others: Sequence[Table], kind: History, seed: int) -> EarlierSearches:
    """Return random trials of other searches, as multiples of their first one."""
    if kind == "none":
        return EarlierSearches()
    draw, trials = np.random.default_rng(seed), []
    for number, other in enumerate(others):
        places = draw.permutation(len(other.rows))[:MOST_TRIALS]
        for place in places:
            ratios = other.figures[place] / other.figures[places[0]]
            known = ratios if kind == "sister" else 1 / ratios
            multiples = {o.metric: float(v) for o, v in zip(other.objectives, known, strict=True)}
            trials.append(
                EarlierTrial(
                    configuration=Configuration({**other.rows[place], SEARCH_CHOICE: number}),
                    multiples=multiples,
                    differences={},
                )
            )
    return EarlierSearches(distances=(SAME_MODEL,) * len(others), trials=tuple(trials))


def main() -> None:
    """Replay and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    facts = json.loads((options.tables / "tables.json").read_text())
    found: dict[str, dict[str, object]] = {kind: {} for kind in get_args(History)}
    for name, choice in SPLIT.items():
        table = read_table(options.tables, name, facts[name])
        values = dict.fromkeys(row[choice] for row in table.rows)
        parts = sorted((part(table, choice, v) for v in values), key=lambda p: -len(p.rows))
        for kind in get_args(History):
            runs = []
            for own in parts[:REPLAYED]:
                others = [other for other in parts if other is not own][:MOST_USED]
                for seed in range(options.seeds):
                    ask = Ours(own, seed, history_of(others, kind, seed))
                    runs.append(replay(own, ask, TRIALS, Conditions(), seed))
            record = found[kind][name] = summary(runs)
            shares = "  ".join(f"@{at} {value:.3f}" for at, value in record["hv"].items())
            print(
                f"{name:24} {kind:9} {shares}  to 95 %: {record['trials_to']['95']:.1f}", flush=True
            )
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
