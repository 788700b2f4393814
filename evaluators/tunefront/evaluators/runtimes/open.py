"""Opening a built candidate, in a trial or from an export."""

from pathlib import Path

from tunefront.evaluators.evaluation.built import CANDIDATE_FILE, CandidateRecord
from tunefront.spaces import ExportError

from .base import Candidate
from .builtin import RUNTIME_OF


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
    if record.runtime not in RUNTIME_OF:
        raise ExportError(f"{path / CANDIDATE_FILE}: unknown runtime {record.runtime!r}")
    try:
        return RUNTIME_OF[record.runtime].load(
            path, record.numerics, record.settings, threads or record.threads
        )
    except ImportError as error:
        raise ExportError(f"{path} needs {error.name}; install it and try again") from error


def script_of(record: CandidateRecord) -> str:
    """Return the Python program that runs the folder on its samples.npz without tunefront."""
    runtime = RUNTIME_OF[record.runtime]
    return runtime.script(record.numerics, record.settings, record.threads) + _ON_SAMPLES


_ON_SAMPLES = """

if __name__ == "__main__":
    samples = np.load(HERE / "samples.npz")
    output = run(load(), {n[6:]: samples[n] for n in samples if n.startswith("input_")})[0]
    difference = np.abs(output - samples["output_0"]).max()
    print("output", output.shape, "| largest difference", difference)
"""
