"""Read-only access to a study's sqlite file without Optuna.

Optuna creates fifteen objects for every trial and checks its schema first: for 1,000 trials that
takes longer than everything displayed about them. This module reads only what `study.py` stores.
If the file is not as expected (another schema, a transaction to roll back), Optuna reads it.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

FINISHED = ("COMPLETE", "PRUNED", "FAIL")
BUSY_S = 60.0
"""Seconds to wait for a database locked by a writing driver."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """State of a trial; `name` is the name of Optuna's `TrialState`."""

    name: str

    def is_finished(self) -> bool:
        """Return whether the trial has ended."""
        return self.name in FINISHED


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadTrial:
    """A recorded trial, with the attribute names of Optuna's `FrozenTrial`."""

    number: int
    state: State
    user_attrs: Mapping[str, Any]
    datetime_start: datetime | None
    datetime_complete: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadStudy:
    """Snapshot of a study, with the attribute names of Optuna's `Study`."""

    user_attrs: Mapping[str, Any]
    trials: Sequence[ReadTrial]

    def get_trials(self, deepcopy: bool = False) -> Sequence[ReadTrial]:
        """Return all trials by number; they are immutable, so `deepcopy` is ignored."""
        return self.trials


def read_study(path: Path, name: str) -> ReadStudy | None:
    """Return the study of that name in a file; None if Optuna has to read it."""
    try:
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_S)) as connection:
            connection.execute("BEGIN")  # one consistent snapshot despite concurrent writes
            return _study(connection, name)
    except (sqlite3.Error, ValueError):
        return None


def _study(connection: sqlite3.Connection, name: str) -> ReadStudy | None:
    found = connection.execute(
        "SELECT study_id FROM studies WHERE study_name = ?", (name,)
    ).fetchone()
    if found is None:
        return None
    kept = connection.execute(
        "SELECT key, value_json FROM study_user_attributes WHERE study_id = ?", found
    )
    attributes = {key: json.loads(value) for key, value in kept}
    known: dict[int, dict[str, Any]] = {}
    for trial, key, value in connection.execute(
        "SELECT trial_id, key, value_json FROM trial_user_attributes JOIN trials USING (trial_id) "
        "WHERE study_id = ?",
        found,
    ):
        known.setdefault(trial, {})[key] = json.loads(value)
    rows = connection.execute(
        "SELECT trial_id, number, state, datetime_start, datetime_complete FROM trials "
        "WHERE study_id = ? ORDER BY number",
        found,
    )
    trials = [
        ReadTrial(
            number=number,
            state=State(name=state),
            user_attrs=known.get(trial, {}),
            datetime_start=_time(start),
            datetime_complete=_time(end),
        )
        for trial, number, state, start, end in rows
    ]
    return ReadStudy(user_attrs=attributes, trials=trials)


def _time(written: str | None) -> datetime | None:
    return None if written is None else datetime.fromisoformat(written)
