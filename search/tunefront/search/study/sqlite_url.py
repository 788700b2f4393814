"""URLs of sqlite files, as SQLAlchemy parses them: `%` and `?` have a meaning in them."""

import re
from pathlib import Path

_SQLITE = re.compile(r"sqlite(\+pysqlite)?:///")
ESCAPED = frozenset("%?")
"""Characters of a path that SQLAlchemy reads differently in a URL; all others can stand as is."""


def optuna_url(path: Path) -> str:
    """Return the URL of a study's file; Optuna also fills in names in braces."""
    return _escaped("sqlite", path).replace("{", "{{").replace("}", "}}")


def mlflow_url(path: Path) -> str:
    """Return the URL of a store's file.

    MLflow creates the parent folder of the text after `sqlite:///` without decoding it, which
    would leave a stray folder next to one with `%` in its name. It does not do so if the URL names
    the driver.
    """
    return _escaped("sqlite+pysqlite", path) if ESCAPED & set(str(path)) else f"sqlite:///{path}"


def sqlite_path(url: str) -> Path | None:
    """Return the file that a URL names; None if it is not the URL of a sqlite file."""
    match = _SQLITE.match(url)
    if match is None:
        return None
    written = url[match.end() :]
    if not ESCAPED & set(written):  # SQLAlchemy takes long to import
        return Path(written)
    from sqlalchemy import make_url

    return Path(make_url(url).database or "")


def _escaped(driver: str, path: Path) -> str:
    from sqlalchemy import URL

    return URL.create(driver, database=str(path)).render_as_string()
