"""MLflow's store: its address, its reachability, its creation, and the lock of its writer."""

import logging
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from tunefront.search.experiment.experiment import Experiment
from tunefront.search.study.lock import Locked, hold_lock
from tunefront.search.study.sqlite_url import mlflow_url, sqlite_path
from tunefront.spaces import TrackingError

from .empty_store import copy_empty, keep_empty

if TYPE_CHECKING:
    from mlflow import MlflowClient

ARTIFACTS = "artifacts"
DEFAULT_UI = "http://127.0.0.1:5000"
REACH_S = 10.0
LONGEST_ERROR = 200
_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # Requests fail fast and without MLflow's retries: the writer retries itself, and MLflow would
    # also repeat a request that created a run but got no response, which duplicates the run.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
}
"""Environment variables for MLflow's client, unless the user has set them."""
_CHATTY = {
    "mlflow": logging.ERROR,
    "mlflow.store.db.utils": logging.CRITICAL,
    "alembic": logging.ERROR,
    "urllib3.connectionpool": logging.ERROR,
}
"""Log levels that suppress tracebacks and warnings of failures that are reported in one line."""


def tracking_uri(experiment: Experiment) -> str:
    """Return `MLFLOW_TRACKING_URI`, or the address of a sqlite file in the results folder."""
    written = os.environ.get("MLFLOW_TRACKING_URI")
    return written or mlflow_url(experiment.results.parent / "mlflow.db")


def server_uri(experiment: Experiment) -> str:
    """Return the address of the store for a process that runs in another folder."""
    uri = tracking_uri(experiment)
    path = sqlite_path(uri)
    return uri if path is None else mlflow_url(path.absolute())


def store_name(experiment: Experiment) -> str:
    """Return the store's absolute address without credentials and escapes, for records."""
    uri = tracking_uri(experiment)
    path = sqlite_path(uri)
    return shown_uri(uri).rstrip("/") if path is None else f"sqlite:///{path.absolute()}"


def artifact_folder(experiment: Experiment) -> Path:
    """Return the folder of artifacts of a store that is a sqlite file."""
    return experiment.results.parent / ARTIFACTS


def ui_address(experiment: Experiment) -> str:
    """Return the store's address for a browser: the server's, or the default of `tunefront ui`."""
    uri = shown_uri(tracking_uri(experiment))
    return uri.rstrip("/") if uri.startswith("http") else DEFAULT_UI


def shown_uri(uri: str) -> str:
    """Return an address without user and password, for output and records."""
    scheme, separator, rest = uri.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


def check_reachable(experiment: Experiment) -> None:
    """Check that the store can be used.

    Raises:
        TrackingError: If it can't be reached, written, or is a file store.
    """
    uri = tracking_uri(experiment)
    if uri.startswith("http"):
        _check_server(uri)
    elif (path := sqlite_path(uri)) is not None:
        folder = path.absolute().parent
        _check_utf8(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise TrackingError(f"MLflow: {folder} can't be written; change its permissions")
    elif uri.startswith(("file:", "/", ".")):
        raise TrackingError(
            f"MLflow: MLFLOW_TRACKING_URI={uri} is a file store, which MLflow has given up; "
            "use sqlite:///PATH or a server"
        )


def _check_utf8(folder: Path) -> None:
    """Check that a path can be written as an address: only bytes that are not UTF-8 can't."""
    found = next((letter for letter in str(folder) if "\ud800" <= letter <= "\udfff"), None)
    if found is not None:
        raise TrackingError(
            f"MLflow: the path {str(folder)!r} holds the byte {os.fsencode(found)!r}, which is not "
            "UTF-8; rename the folder, or set MLFLOW_TRACKING_URI to a file elsewhere"
        )


def _check_server(uri: str) -> None:
    shown = shown_uri(uri)
    try:
        with urlopen(f"{shown.rstrip('/')}/health", timeout=REACH_S):
            return
    except HTTPError as error:
        if error.code < 500:
            return
        problem = f"responds with {error.code}"
    except (URLError, OSError, ValueError) as error:
        problem = str(getattr(error, "reason", error))
    raise TrackingError(
        f"MLflow: {shown} can't be reached ({problem}); start the server, "
        "or unset MLFLOW_TRACKING_URI to keep a file next to the experiment"
    )


@contextmanager
def only_writer(experiment: Experiment) -> Iterator[None]:
    """Hold the lock for writing a search into MLflow.

    Raises:
        TrackingError: If another process holds the lock.
    """
    path = experiment.results.parent / f".{experiment.slug}.mlflow.lock"
    try:
        with hold_lock(path):
            yield
    except Locked as error:
        raise TrackingError(
            f"MLflow: another process writes {experiment.name} (lock: {path}): a running search "
            "writes it itself; `tunefront sync` is for searches that have ended"
        ) from error


def connect(experiment: Experiment) -> "MlflowClient":
    """Return a client of the experiment's store; create a sqlite store that is missing.

    Raises:
        TrackingError: If the store can't be opened.
    """
    return connect_to(tracking_uri(experiment))


def connect_to(uri: str, *, make: bool = True) -> "MlflowClient":
    """Return a client of the store at an address; with `make`, create a sqlite file if missing.

    Raises:
        TrackingError: If the store can't be opened.
    """
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    path = sqlite_path(uri)
    if not make and path is not None and not path.is_file():
        raise TrackingError(
            f"MLflow: {path} does not exist; `tunefront sync FILE` writes a search into MLflow"
        )
    try:
        if path is not None:
            _make_store(path)
        return _client(uri)
    except Exception as error:  # MLflow and SQLAlchemy raise many types; each means: not usable
        raise TrackingError(f"MLflow: {_plain(uri)}: {error_text(error)}") from error


def _client(uri: str) -> "MlflowClient":
    """Return a client after one successful request."""
    import mlflow

    _silence()
    client = mlflow.MlflowClient(tracking_uri=uri)
    client.search_experiments(max_results=1)
    return client


def _silence() -> None:
    for name, level in _CHATTY.items():
        logging.getLogger(name).setLevel(level)


def _make_store(path: Path) -> None:
    """Create a sqlite store if there is none.

    MLflow takes seconds to create one in several steps, and can't use a store whose creation was
    interrupted or done by two processes at once. The store is therefore created in a temporary
    folder and linked into place atomically; the first process wins. Later stores are copies of a
    cached empty one (empty_store.py).
    """
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".mlflow-", dir=path.parent) as folder:
        whole = Path(folder, path.name)
        copied = copy_empty(whole)
        _initialise(whole, path.absolute().parent / ARTIFACTS)
        if not copied:
            keep_empty(whole)
        with suppress(FileExistsError):
            os.link(whole, path)


def _initialise(store: Path, artifacts: Path) -> None:
    """Create the tables and the default experiment if they are missing.

    MLflow's client would put the default experiment's artifacts below the working folder, and
    writes that path into SQL unescaped: one with quotes or a colon is a syntax error.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    _silence()
    made = SqlAlchemyStore(mlflow_url(store), artifacts.as_uri())  # type: ignore[no-untyped-call]
    made.engine.dispose()


def error_text(error: BaseException) -> str:
    """Return an error as one line: the operating system's message if it is among the causes."""
    if isinstance(error, TrackingError):
        return str(error).removeprefix("MLflow: ")
    deeper: BaseException | None = error
    while deeper is not None:
        if isinstance(deeper, TimeoutError):
            return "no response in time"
        if isinstance(deeper, OSError) and deeper.strerror:
            return deeper.strerror
        deeper = deeper.__cause__ or deeper.__context__
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return _plain(lines[0])[:LONGEST_ERROR]


def _plain(text: str) -> str:
    """Remove user and password from addresses in a text."""
    return re.sub(r"(?<!/)//[^/@\s]+@", "//", text)
