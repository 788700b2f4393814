"""Opening a built candidate, in a trial or from an export."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

from tunefront.evaluators.evaluation.built import CANDIDATE_FILE, CandidateRecord
from tunefront.evaluators.extensions import catalog_of
from tunefront.evaluators.interfaces.builtin import interface_of
from tunefront.evaluators.interfaces.endpoint import Endpoint
from tunefront.evaluators.measures.gpu import runs_on_gpu
from tunefront.evaluators.runtimes.base import Built, Deployment, Runtime
from tunefront.spaces import Catalog, Configuration, ExportError, Hardware, SpaceError

PROCESSOR = "processor"
"""Folder of an export with the tokenizer or image processor."""


def runtime_of(catalog: Catalog, name: str) -> Runtime:
    """Return a runtime of the catalogue.

    Raises:
        SpaceError: If there is none of that name; the message suggests the nearest.
    """
    return cast(Callable[[], Runtime], catalog.provided("runtime", name))()


def open_candidate(folder: str | Path, configuration: Configuration | None = None) -> Endpoint:
    """Open a built candidate or an export.

    Args:
        folder: Folder of the candidate or export.
        configuration: The complete configuration that it runs with; the recorded one if None.

    Raises:
        ExportError: If the folder is not a candidate, or its runtime is not installed.
    """
    path = Path(folder)
    record = CandidateRecord.read(path)
    runtime = _runtime(path, record)
    try:
        built = Built(folder=path, settings=record.settings)
        return runtime.open(built, configuration or record.complete)
    except ImportError as error:
        raise ExportError(f"{path} needs {error.name}; install it and try again") from error


def deployment_of(folder: Path, record: CandidateRecord) -> Deployment:
    """Return how a candidate runs without tunefront.

    Args:
        folder: Folder of the candidate or export.
        record: Its record.

    Raises:
        ExportError: If its runtime is not known or can't be exported.
    """
    runtime = _runtime(folder, record)
    found = runtime.deployment(Built(folder=folder, settings=record.settings), record.complete)
    if found is None:
        raise ExportError(
            f"runtime {record.runtime} can't be exported; export a trial of another runtime"
        )
    needed = interface_of(record.interface).script_needs if (folder / PROCESSOR).is_dir() else ()
    return replace(
        found,
        requirements=tuple(dict.fromkeys((*found.requirements, *needed))),
        gpu=runs_on_gpu(record.configuration),
    )


def missing_gpu(record: CandidateRecord, hardware: Hardware) -> str:
    """Return why a candidate can't run on a machine without a GPU; empty if it can."""
    if not runs_on_gpu(record.configuration) or hardware.gpus:
        return ""
    return (
        "it runs on an NVIDIA GPU, but none is visible here; check `nvidia-smi` and "
        "CUDA_VISIBLE_DEVICES, and start containers with `--gpus all`"
    )


def _runtime(folder: Path, record: CandidateRecord) -> Runtime:
    """Return a candidate's runtime; import the extensions that it needs.

    Bytecode of extensions in the folder would be files that an export's manifest does not list.

    Raises:
        ExportError: If there is no runtime of that name.
    """
    if any(Path(file).is_relative_to(folder) for file in record.extensions):
        sys.dont_write_bytecode = True
    try:
        return runtime_of(catalog_of(record.extensions), record.runtime)
    except SpaceError as error:
        raise ExportError(f"{folder / CANDIDATE_FILE}: {error}") from error
