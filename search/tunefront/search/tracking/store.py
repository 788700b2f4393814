"""Where MLflow's store is, whether it can be reached, and who writes it."""

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
from tunefront.spaces import TrackingError

from .empty_store import copy_empty, keep_empty

if TYPE_CHECKING:
    from mlflow import MlflowClient

DEFAULT_UI = "http://127.0.0.1:5000"
REACH_S = 10.0
LONGEST_WORDS = 200
_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # A request fails soon, and once: we try again ourselves, and MLflow would also repeat a request
    # to make a run that was heard, but not answered.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
}
"""For MLflow's client, where the user says nothing else."""
_CHATTY = {
    "mlflow": logging.ERROR,
    "mlflow.store.db.utils": logging.CRITICAL,
    "alembic": logging.ERROR,
    "urllib3.connectionpool": logging.ERROR,
}
"""What would print tracebacks and warnings of failures that we tell in one line."""


def tracking_uri(experiment: Experiment) -> str:
    """`MLFLOW_TRACKING_URI`, or a sqlite file beside the experiment."""
    written = os.environ.get("MLFLOW_TRACKING_URI")
    return written or f"sqlite:///{experiment.results.parent / 'mlflow.db'}"


def store_name(experiment: Experiment) -> str:
    """The store's address in full, wherever one stands, as it may be written down."""
    uri = shown_uri(tracking_uri(experiment))
    path = uri.removeprefix("sqlite:///")
    return f"sqlite:///{Path(path).absolute()}" if path != uri else uri.rstrip("/")


def artifact_folder(experiment: Experiment) -> Path:
    """Where artifacts go when the store is the default one."""
    return experiment.results.parent / "artifacts"


def ui_address(experiment: Experiment) -> str:
    """Where a browser finds the store: the server itself, or `tunefront ui`."""
    uri = shown_uri(tracking_uri(experiment))
    return uri.rstrip("/") if uri.startswith("http") else DEFAULT_UI


def shown_uri(uri: str) -> str:
    """An address as it may be printed and recorded: without user and password."""
    scheme, separator, rest = uri.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


def check_reachable(experiment: Experiment) -> None:
    """Refuse a store that can't be used.

    Raises:
        TrackingError: With what to do about it.
    """
    uri = tracking_uri(experiment)
    if uri.startswith("http"):
        _check_server(uri)
    elif uri.startswith("sqlite:///"):
        folder = Path(uri.removeprefix("sqlite:///")).absolute().parent
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise TrackingError(f"MLflow: {folder} can't be written; change its permissions")
    elif uri.startswith(("file:", "/", ".")):
        raise TrackingError(
            f"MLflow: MLFLOW_TRACKING_URI={uri} is a file store, which MLflow has given up; "
            "use sqlite:///PATH or a server"
        )


def _check_server(uri: str) -> None:
    shown = shown_uri(uri)
    try:
        with urlopen(f"{shown.rstrip('/')}/health", timeout=REACH_S):
            return
    except HTTPError as error:
        if error.code < 500:
            return
        problem = f"answers {error.code}"
    except (URLError, OSError, ValueError) as error:
        problem = str(getattr(error, "reason", error))
    raise TrackingError(
        f"MLflow: {shown} can't be reached ({problem}); start the server, "
        "or unset MLFLOW_TRACKING_URI to keep a file beside the experiment"
    )


@contextmanager
def only_writer(experiment: Experiment) -> Iterator[None]:
    """Be the one process that writes a search into MLflow.

    Raises:
        TrackingError: If another one does.
    """
    path = experiment.results.parent / f".{experiment.slug}.mlflow.lock"
    try:
        with hold_lock(path):
            yield
    except Locked as error:
        raise TrackingError(
            f"MLflow: another process writes {experiment.name} (lock: {path}): a search that is "
            "running does so by itself"
        ) from error


def connect(experiment: Experiment) -> "MlflowClient":
    """A client of the store; makes the default one where it is missing.

    Raises:
        TrackingError: If the store can't be opened.
    """
    return connect_to(tracking_uri(experiment))


def connect_to(uri: str, *, make: bool = True) -> "MlflowClient":
    """A client of the store at an address; with `make`, a sqlite file is made where it is missing.

    Raises:
        TrackingError: If the store can't be opened.
    """
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    path = Path(uri.removeprefix("sqlite:///"))
    if not make and uri.startswith("sqlite:///") and not path.is_file():
        raise TrackingError(
            f"MLflow: {path} does not exist; `tunefront sync FILE` writes a search into MLflow"
        )
    try:
        if uri.startswith("sqlite:///"):
            _make_store(Path(uri.removeprefix("sqlite:///")))
        return _client(uri)
    except Exception as error:  # MLflow and SQLAlchemy raise many kinds; each means: not usable
        raise TrackingError(f"MLflow: {_plain(uri)}: {error_text(error)}") from error


def _client(uri: str) -> "MlflowClient":
    """A client that has had an answer."""
    import mlflow

    for name, level in _CHATTY.items():
        logging.getLogger(name).setLevel(level)
    client = mlflow.MlflowClient(tracking_uri=uri)
    client.search_experiments(max_results=1)
    return client


def _make_store(path: Path) -> None:
    """Make a sqlite store where there is none.

    MLflow takes seconds for it, step by step, and can't use a store whose making was interrupted or
    that two processes make at once; so it is there whole or not at all, and the first one counts.
    The next one is a copy of it (empty.py).
    """
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".mlflow-", dir=path.parent) as folder:
        whole = Path(folder, path.name)
        if not copy_empty(whole):
            _client(f"sqlite:///{whole}")
            keep_empty(whole)
        with suppress(FileExistsError):
            os.link(whole, path)


def error_text(error: BaseException) -> str:
    """What went wrong in a line: the system's own words where they are behind it."""
    if isinstance(error, TrackingError):
        return str(error).removeprefix("MLflow: ")
    deeper: BaseException | None = error
    while deeper is not None:
        if isinstance(deeper, TimeoutError):
            return "no answer in time"
        if isinstance(deeper, OSError) and deeper.strerror:
            return deeper.strerror
        deeper = deeper.__cause__ or deeper.__context__
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return _plain(lines[0])[:LONGEST_WORDS]


def _plain(text: str) -> str:
    """Without the password that an address may hold."""
    return re.sub(r"//[^/@\s]+@", "//", text)
