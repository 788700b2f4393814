"""Opening a built candidate, in a trial or from an export."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

from tunefront.evaluators.evaluation.built import CANDIDATE_FILE, CandidateRecord
from tunefront.evaluators.extensions import catalog_of
from tunefront.evaluators.runtimes.base import Candidate, Runtime
from tunefront.spaces import Catalog, ExportError, SpaceError


def runtime_of(catalog: Catalog, name: str) -> Runtime:
    """Return a runtime of the catalogue.

    Raises:
        SpaceError: If there is none of that name; the message suggests the nearest.
    """
    return cast(Callable[[], Runtime], catalog.provided("runtime", name))()


def open_candidate(folder: str | Path, threads: int | None = None) -> Candidate:
    """Open a built candidate or an export: a callable from named arrays to a list of arrays.

    Args:
        folder: Folder of the candidate or export.
        threads: Number of threads of the process; the recorded number if None.

    Raises:
        ExportError: If the folder is not a candidate, or its runtime is not installed.
    """
    path = Path(folder)
    record = CandidateRecord.read(path)
    try:
        runtime = runtime_of(catalog_of(record.extensions), record.runtime)
    except SpaceError as error:
        raise ExportError(f"{path / CANDIDATE_FILE}: {error}") from error
    try:
        return runtime.load(path, record.configuration, record.settings, threads or record.threads)
    except ImportError as error:
        raise ExportError(f"{path} needs {error.name}; install it and try again") from error


def script_of(record: CandidateRecord) -> str:
    """Return the Python program that runs the folder on its samples.npz without tunefront."""
    runtime = runtime_of(catalog_of(record.extensions), record.runtime)
    return runtime.script(record.configuration, record.settings, record.threads) + _ON_SAMPLES


_ON_SAMPLES = """

if __name__ == "__main__":
    samples = np.load(HERE / "samples.npz")
    output = run(load(), {n[6:]: samples[n] for n in samples if n.startswith("input_")})[0]
    difference = np.abs(output - samples["output_0"]).max()
    print("output", output.shape, "| largest difference", difference)
"""
