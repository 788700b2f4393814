"""Opening an export from a folder or from an MLflow model registry.

`models:/NAME@ALIAS` and `models:/NAME/NUMBER` name versions that `tunefront export --register`
created. This is the only module of `evaluators` that uses MLflow; it imports it only to open a
version, and mlflow-skinny is sufficient.
"""

import os
import re
import shutil
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tunefront.evaluators.evaluation.built import CandidateRecord
from tunefront.evaluators.interfaces.endpoint import Endpoint
from tunefront.spaces import Configuration, ExportError

from .contents import sha256_of
from .folder import MANIFEST, RUN_SCRIPT, check_digest, check_untampered
from .open import open_candidate

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

SCHEME = "models:/"
SHA256 = "manifest_sha256"
"""Tag of a registered version with the sha256 of its export's manifest."""
SWAPPED = "the manifest is not the one that was registered; register the export again"
_REFERENCE = re.compile(r"models:/(?P<name>[^/@:]+)(?:@(?P<alias>[^/@:]+)|/(?P<version>[0-9]+))")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A model version in a registry, by number or by alias.

    Attributes:
        name: Name of the model.
        version: Version number, or empty.
        alias: Alias, or empty.
    """

    name: str
    version: str = ""
    alias: str = ""

    @classmethod
    def parse(cls, written: str) -> "Reference":
        """Parse `models:/NAME@ALIAS` or `models:/NAME/NUMBER`.

        Raises:
            ExportError: If the text has neither form.
        """
        found = _REFERENCE.fullmatch(written)
        if found is None:
            raise ExportError(
                f"models:/NAME@ALIAS or models:/NAME/NUMBER is needed, but got {written!r}"
            )
        return cls(name=found["name"], version=found["version"] or "", alias=found["alias"] or "")

    def __str__(self) -> str:
        return f"{SCHEME}{self.name}" + (f"@{self.alias}" if self.alias else f"/{self.version}")


def load(folder: str | Path, threads: int | None = None, *, sha256: str | None = None) -> Endpoint:
    """Open a built candidate or an export; an export's files are compared with their sums first.

    With the interface `tensors` the endpoint is a callable from named arrays to a list of arrays.

    Args:
        folder: Folder of an export, or `models:/NAME@champion` for a registered one. A registered
            export is downloaded, verified by its sha256 sums, and deleted with the candidate.
        threads: Number of threads of the process; the recorded number if None.
        sha256: The digest of the export's manifest, as `tunefront export` printed it. Without it
            the sums are compared with the manifest in the folder only.

    Raises:
        ExportError: If it is not an export, has changed or has another digest, or its runtime is
            not installed.
    """
    if not str(folder).startswith(SCHEME):
        _check(Path(folder), folder, sha256)
        return _opened(Path(folder), threads)
    kept = Path(tempfile.mkdtemp(prefix="tunefront-"))
    try:
        fetched, version = fetch(Reference.parse(str(folder)), kept)
        if not is_registered(fetched, version):
            raise ExportError(f"{folder} is not what was exported: {SWAPPED}")
        _check(fetched, folder, sha256)
        endpoint = _opened(fetched, threads)
    except BaseException:
        shutil.rmtree(kept, ignore_errors=True)
        raise
    weakref.finalize(endpoint, shutil.rmtree, kept, ignore_errors=True)
    return endpoint


def _check(folder: Path, named: object, sha256: str | None) -> None:
    """Compare an export with its sums, and its manifest with the digest that the user gave.

    A built candidate has neither a manifest nor scripts, and no sums.

    Raises:
        ExportError: If they differ.
    """
    if sha256 is not None:
        check_digest(folder, named, sha256)
    if any(os.path.lexists(folder / name) for name in (MANIFEST, RUN_SCRIPT)):
        check_untampered(folder, named)


def _opened(folder: Path, threads: int | None) -> Endpoint:
    recorded = CandidateRecord.read(folder).complete
    if threads is None:
        return open_candidate(folder, recorded)
    return open_candidate(folder, Configuration({**recorded, "threads": threads}))


def fetch(
    reference: Reference, folder: Path, store: str | None = None
) -> "tuple[Path, ModelVersion]":
    """Download a version; return the folder of its export and the registry's entry.

    Args:
        reference: The version.
        folder: An empty folder.
        store: MLflow tracking store; MLflow's current one if None.

    Raises:
        ExportError: If the version does not exist or can't be downloaded.
    """
    version = find_version(reference, store)
    from mlflow import MlflowClient
    from mlflow.artifacts import download_artifacts

    try:
        # A `models:/` URI would be resolved in the process-wide store, not in `store`.
        client = MlflowClient(tracking_uri=store)
        uri = client.get_model_version_download_uri(version.name, str(version.version))
        path = Path(download_artifacts(uri, dst_path=str(folder), tracking_uri=store))
    except Exception as error:  # each store raises its own types
        raise ExportError(f"{reference} can't be downloaded: {_first_line(error)}") from error
    return path, version


def is_registered(folder: Path, version: "ModelVersion") -> bool:
    """Return whether the files are the export that was registered as this version."""
    try:
        return sha256_of(folder / MANIFEST) == version.tags.get(SHA256)
    except OSError:
        return False


def find_version(reference: Reference, store: str | None = None) -> "ModelVersion":
    """Return the registry's entry of a version.

    Raises:
        ExportError: If MLflow is not installed, no registry is configured, or the version does not
            exist.
    """
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import is_tracking_uri_set
    except ImportError as error:
        raise ExportError(
            f"{reference} is in an MLflow registry, and {error.name} is not installed: "
            "`pip install mlflow-skinny`, or name a folder"
        ) from error
    if store is None and not is_tracking_uri_set():  # type: ignore[no-untyped-call]
        raise ExportError(
            f"{reference}: no registry is named; set MLFLOW_TRACKING_URI to MLflow's server or to "
            "sqlite:///PATH"
        )
    client = MlflowClient(tracking_uri=store)
    try:
        if reference.alias:
            return client.get_model_version_by_alias(reference.name, reference.alias)
        return client.get_model_version(reference.name, reference.version)
    except MlflowException as error:
        raise ExportError(f"{reference}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
