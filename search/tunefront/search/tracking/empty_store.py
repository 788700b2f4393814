"""Cache of an empty MLflow store: MLflow takes seconds to create one, copying it is immediate.

The cached database was created by the installed version of MLflow itself. Only the row of the
default experiment is removed, because it contains the path of the original; MLflow writes the row
again when it opens the copy, and checks the schema.
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
    """Return the path of the cached empty store of the installed MLflow version."""
    return cache_folder() / "mlflow" / f"{version('mlflow')}.db"


def copy_empty(target: Path) -> bool:
    """Copy the cached store to `target`; return False if there is no usable one."""
    kept = empty_store()
    if not kept.is_file():
        return False
    try:
        _copy(kept, target)
    except sqlite3.Error:  # truncated or overwritten: the next store created will replace it
        target.unlink(missing_ok=True)
        return False
    return True


def keep_empty(made: Path) -> None:
    """Cache a copy of a store that was just created; a cache that can't be written is no error."""
    kept = empty_store()
    with suppress(OSError, sqlite3.Error):
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".making-", dir=kept.parent) as folder:
            whole = Path(folder, kept.name)
            _copy(made, whole)
            with closing(sqlite3.connect(whole)) as database, database:
                database.execute("delete from experiments")  # `Default`, with the original's path
            os.replace(whole, kept)


def _copy(source: Path, target: Path) -> None:
    """Copy a database and check the copy.

    Raises:
        sqlite3.Error: If it is not a database of MLflow, or damaged.
    """
    with (
        closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as found,
        closing(sqlite3.connect(target)) as copy,
    ):
        found.backup(copy)
        sound = copy.execute("pragma quick_check").fetchone()[0] == "ok"
        if not sound or not copy.execute(_SCHEMA).fetchone()[0]:
            raise sqlite3.DatabaseError(f"{source}: damaged")
