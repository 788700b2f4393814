"""Where MLflow's store is, and whether it can be reached; said before the night, not after."""

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from tunefront.search.experiment import Experiment
from tunefront.spaces import TrackingError

if TYPE_CHECKING:
    from mlflow import MlflowClient

DEFAULT_UI = "http://127.0.0.1:5000"
REACH_S = 10.0
_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "GIT_PYTHON_REFRESH": "quiet"}


def tracking_uri(experiment: Experiment) -> str:
    """`MLFLOW_TRACKING_URI`, or a sqlite file beside the experiment."""
    written = os.environ.get("MLFLOW_TRACKING_URI")
    return written or f"sqlite:///{experiment.results.parent / 'mlflow.db'}"


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


def connect(experiment: Experiment) -> "MlflowClient":
    """A client of the store; makes the default one where it is missing.

    Raises:
        TrackingError: If the store can't be opened.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    import logging

    import mlflow

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    try:
        client = mlflow.MlflowClient(tracking_uri=tracking_uri(experiment))
        client.search_experiments(max_results=1)
    except Exception as error:  # MLflow and SQLAlchemy raise many kinds; each means: not usable
        uri = tracking_uri(experiment)
        told = str(error).replace(uri, shown_uri(uri))
        raise TrackingError(f"MLflow: {shown_uri(uri)}: {told}") from error
    return client
