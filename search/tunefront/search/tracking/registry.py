"""Exports as model versions in MLflow's registry: registered, verified, promoted.

A version is a logged model that contains the unchanged export and is linked to the trial's run. Its
tag `manifest_sha256` identifies the export, so that an export is registered only once.
"""

import json
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from tunefront.evaluators.exports.folder import manifest_digest
from tunefront.evaluators.exports.registry import (
    SHA256,
    SWAPPED,
    Reference,
    fetch,
    is_registered,
)
from tunefront.evaluators.exports.verification import Check
from tunefront.evaluators.statistics.formatting import interval_text, value_text
from tunefront.search.deploy.verify import Verification, verify
from tunefront.search.experiment.document import slug_of
from tunefront.search.results.result import Result
from tunefront.search.study.trial import Trial
from tunefront.spaces import ExportError, TrackingError, detect_hardware, show

from .runs import Runs
from .store import check_reachable, connect_to, error_text, tracking_uri, ui_address

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion

CANDIDATE, CHAMPION = "candidate", "champion"
LONGEST_DESCRIPTION = 5_000
"""Characters to which a version's description is cut."""
_VERSIONS = "mlflow.modelVersions"
PATIENCE_S = "600"
"""Timeout of requests that transfer a model's files, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A registered version of an export.

    Attributes:
        name: The model's name.
        version: The version's number.
        link: The address of the version's page.
        made: Whether the version was created now; False if this export was registered before.
    """

    name: str
    version: str
    link: str
    made: bool


class Registry:
    """The registry for a search's exports; create it before the export, so that errors come early.

    Args:
        result: The search's result.
        name: The registered model's name.

    Raises:
        TrackingError: If MLflow can't be reached or does not hold the search.
        ExportError: If the name is invalid.
    """

    def __init__(self, result: Result, name: str) -> None:
        if not re.fullmatch(r"\w[\w .-]*", name):
            raise ExportError(
                f"--register: a name of letters, digits, spaces, _ . - is needed, but got {name!r}"
            )
        _be_patient()
        check_reachable(result.experiment)
        self._result = result
        self._name = name
        self._runs = Runs(result.experiment)
        self._client: MlflowClient = connect_to(tracking_uri(result.experiment), make=False)

    def run_of(self, trial: Trial) -> str:
        """Return the id of the trial's run, to which its version is linked.

        Raises:
            TrackingError: If MLflow does not hold the trial yet.
        """
        return self._runs.run_of(trial.number)

    def register(self, trial: Trial, folder: Path) -> Registered:
        """Register an export as the candidate; an export that is registered already is reused.

        Raises:
            TrackingError: If MLflow can't be written.
        """
        sha = manifest_digest(folder)
        with _registry_errors():
            known = self._known(sha)
            version = known or self._make(trial, folder, sha)
            self._client.set_registered_model_alias(self._name, CANDIDATE, str(version.version))
        address = ui_address(self._result.experiment)
        return Registered(
            name=self._name,
            version=str(version.version),
            link=f"{address}/#/models/{quote(self._name)}/versions/{version.version}",
            made=known is None,
        )

    def _known(self, sha: str) -> "ModelVersion | None":
        """Return the existing version of this export, or None."""
        found = self._client.search_model_versions(f"name = '{self._name}'", max_results=1000)
        return next((version for version in found if version.tags.get(SHA256) == sha), None)

    def _make(self, trial: Trial, folder: Path, sha: str) -> "ModelVersion":
        run_id = self.run_of(trial)
        model = self._upload(trial, folder, run_id)
        if not self._client.search_registered_models(f"name = '{self._name}'"):
            self._client.create_registered_model(self._name)
        tags = {"trial": str(trial.number), "experiment": self._result.experiment.name, SHA256: sha}
        made = self._client.create_model_version(
            self._name,
            # MLflow would look up a source `models:/ID` in the process-wide store.
            source=model.artifact_location,
            run_id=run_id,
            model_id=model.model_id,
            tags=tags,
            description=self._description(trial),
        )
        # MLflow's pages of the logged model and of its run link to the version by this tag.
        versions = json.dumps([{"name": self._name, "version": int(made.version)}])
        self._client.set_logged_model_tags(model.model_id, {_VERSIONS: versions})
        return made

    def _upload(self, trial: Trial, folder: Path, run_id: str) -> "LoggedModel":
        """Upload the export as a logged model of the trial's run."""
        from mlflow.entities import LoggedModelOutput

        client = self._client
        model = client.create_logged_model(
            self._runs.experiment_id,
            name=slug_of(trial.name()),
            source_run_id=run_id,
            params={name: show(value) for name, value in trial.configuration.items()},
            model_type="tunefront export",
        )
        try:
            client.log_model_artifacts(model.model_id, str(folder))
        except BaseException:
            client.finalize_logged_model(model.model_id, "FAILED")
            raise
        client.finalize_logged_model(model.model_id, "READY")
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
        return model

    def _description(self, trial: Trial) -> str:
        result, runs = self._result, f"experiments/{self._runs.experiment_id}/runs"
        page = f"{ui_address(result.experiment)}/#/{runs}/{self.run_of(trial)}"
        view = result.view(trial)
        lines = [
            f"**{view.name}: {view.sentence}**",
            "",
            f"[Trial {trial.number}]({page}) of {result.experiment.name}, measured on "
            f"{detect_hardware().summary()}.",
            "",
            *_measurement_lines(result, trial),
            "",
            f"`tunefront verify models:/{self._name}@{CANDIDATE}` checks it where it is to run, "
            f"`tunefront promote {self._name}` makes it the {CHAMPION}.",
        ]
        return "\n".join(lines)[:LONGEST_DESCRIPTION]


def _measurement_lines(result: Result, trial: Trial) -> list[str]:
    """Return the trial's and the baseline's measurements as a Markdown table."""
    baseline = result.baseline
    lines = ["| metric | this | 95 % interval | baseline | unit |", "|---|---|---|---|---|"]
    for name, found in trial.measurements.items():
        base = baseline.measurements.get(name) if baseline is not None else None
        base_text = "-" if base is None else value_text(base)
        cells = (name, value_text(found), interval_text(found) or "-", base_text, found.unit)
        lines.append(f"| {' | '.join(cells)} |")
    return lines


@contextmanager
def fetched(reference: Reference, store: str) -> "Iterator[tuple[Path, ModelVersion]]":
    """Download a version; yield its temporary folder, removed afterwards, and its registry entry.

    Raises:
        ExportError: If the version can't be downloaded.
        TrackingError: If the store can't be opened.
    """
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    _be_patient()
    connect_to(store, make=False)
    folder = Path(tempfile.mkdtemp(prefix="tunefront-"))
    try:
        yield fetch(reference, folder, store)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def verify_version(
    folder: Path, version: "ModelVersion", sha256: str | None = None
) -> Verification:
    """Verify a version's files as an export, after a check that they are those registered.

    With `sha256`, the manifest is compared with that digest too.
    """
    if is_registered(folder, version):
        source = "given" if sha256 else "in the model registry"
        return verify(folder, sha256=sha256 or version.tags[SHA256], source=source)
    check = Check(name="files", holds=False, detail=SWAPPED)
    return Verification(folder=folder, checks=(check,), passed=False)


def write_verified(version: "ModelVersion", store: str, verification: Verification) -> None:
    """Tag the version with the result, time and machine of its verification.

    Raises:
        TrackingError: If MLflow can't be written.
    """
    tags = {
        "verified": "; ".join(f"{c.name}: {c.detail}" for c in verification.checks)[
            :LONGEST_DESCRIPTION
        ],
        "verified_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "verified_on": f"{socket.gethostname()}: {detect_hardware().summary()}",
    }
    with _registry_errors():
        client = connect_to(store, make=False)
        for name, value in tags.items():
            client.set_model_version_tag(version.name, str(version.version), name, value)


def promote_version(version: "ModelVersion", store: str) -> str | None:
    """Make a version the champion; return the number of the previous champion, or None.

    Raises:
        TrackingError: If MLflow can't be written.
    """
    with _registry_errors():
        client = connect_to(store, make=False)
        before = client.get_registered_model(version.name).aliases.get(CHAMPION)
        client.set_registered_model_alias(version.name, CHAMPION, str(version.version))
    return None if before is None else str(before)


@contextmanager
def _registry_errors() -> Iterator[None]:
    """Convert exceptions of MLflow to `TrackingError`."""
    try:
        yield
    except TrackingError:
        raise
    except Exception as error:  # each type of store raises its own; each means a failed write
        raise TrackingError(f"MLflow: not written: {error_text(error)}") from error


def _be_patient() -> None:
    """Raise the HTTP timeout: file transfers take longer than the 10 s used during a search."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", PATIENCE_S)
