"""The address of a search's front in MLflow, stored next to the record, readable without MLflow."""

import importlib.metadata
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from urllib.request import urlopen

from tunefront.search.study.atomic_write import write_whole
from tunefront.search.study.storage import sqlite_path

from .store import REACH_S, shown_uri, store_name, tracking_uri
from .views import View, supported, view_address

if TYPE_CHECKING:
    from tunefront.search.experiment.experiment import Experiment

ADDRESS_FILE = "mlflow.json"


def remember(experiment: "Experiment", experiment_id: str, view: View, *, saved: bool) -> None:
    """Store the relative addresses that open the front in this store, next to the record."""
    pages = {"filters": view_address(experiment_id, view, saved=False)}
    if saved:
        pages["view"] = view_address(experiment_id, view, saved=True)
    known = {**_known(experiment), store_name(experiment): pages}
    write_whole(experiment.results / ADDRESS_FILE, json.dumps(known, indent=2))


def front_page_of(experiment: "Experiment") -> str | None:
    """Return the front's address relative to MLflow's; None if this store does not hold it."""
    store, path = store_name(experiment), sqlite_path(tracking_uri(experiment))
    if path is not None and not path.is_file():
        return None
    pages = _known(experiment).get(store)
    if pages is None:
        return None
    here = store.startswith("http") or supported(_installed())
    return str(pages["view"] if here and "view" in pages else pages["filters"])


def shown_by(experiment: "Experiment") -> str:
    """Return the version of the MLflow that shows the store: the server's or the installed one.

    Empty if the server does not report its version.
    """
    uri = shown_uri(tracking_uri(experiment))
    if not uri.startswith("http"):
        return _installed()
    try:
        with urlopen(f"{uri.rstrip('/')}/version", timeout=REACH_S) as response:
            return str(response.read(100).decode("utf-8", "replace"))
    except (URLError, OSError, ValueError):
        return ""


def _installed() -> str:
    for name in ("mlflow", "mlflow-skinny"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""


def _known(experiment: "Experiment") -> Mapping[str, Any]:
    try:
        known: Mapping[str, Any] = json.loads((experiment.results / ADDRESS_FILE).read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
