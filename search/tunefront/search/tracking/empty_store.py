"""MLflow's empty store, kept in the cache: MLflow makes one in seconds, a copy is there at once.

What is kept is what this very version of MLflow has made, by its own steps, without the row that
says where it was made; MLflow writes that row anew when it opens the copy, and checks the schema.
"""

import os
import sqlite3
import tempfile
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path

from tunefront.evaluators import cache_folder

_SCHEMA = "select count(*) from alembic_version"


def empty_store() -> Path:
    """Where the empty store of the installed MLflow is kept."""
    return cache_folder() / "mlflow" / f"{version('mlflow')}.db"


def copy_empty(target: Path) -> bool:
    """Copy the kept store; whether there is a usable one."""
    kept = empty_store()
    if not kept.is_file():
        return False
    try:
        _copy(kept, target)
    except sqlite3.Error:  # cut short or overwritten: the next one that is made takes its place
        target.unlink(missing_ok=True)
        return False
    return True


def keep_empty(made: Path) -> None:
    """Keep a copy of a store that has just been made; a cache that can't be written is no error."""
    kept = empty_store()
    with suppress(OSError, sqlite3.Error):
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".making-", dir=kept.parent) as folder:
            whole = Path(folder, kept.name)
            _copy(made, whole)
            with closing(sqlite3.connect(whole)) as database, database:
                database.execute("delete from experiments")  # `Default`, with a path of its maker
            os.replace(whole, kept)


def _copy(source: Path, target: Path) -> None:
    """Copy a database.

    Raises:
        sqlite3.Error: If it is none of MLflow's, or damaged.
    """
    with (
        closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as found,
        closing(sqlite3.connect(target)) as copy,
    ):
        found.backup(copy)
        sound = copy.execute("pragma quick_check").fetchone()[0] == "ok"
        if not sound or not copy.execute(_SCHEMA).fetchone()[0]:
            raise sqlite3.DatabaseError(f"{source}: damaged")
