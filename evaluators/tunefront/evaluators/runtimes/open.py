"""Opening a built candidate: the same for trials and for exports."""

from pathlib import Path

from tunefront.evaluators.evaluation.built import CANDIDATE_FILE, CandidateRecord
from tunefront.spaces import ExportError

from .base import Candidate
from .builtin import RUNTIME_OF


def open_candidate(folder: str | Path, threads: int | None = None) -> Candidate:
    """Open a built candidate or an export: a callable from named arrays to a list of arrays.

    Args:
        folder: What `tunefront export` wrote.
        threads: Threads of the process; what it was measured with where None.

    Raises:
        ExportError: If the folder is not one of ours, or its runtime is not installed.
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
    """The Python program that runs the folder without tunefront, on its samples.npz."""
    runtime = RUNTIME_OF[record.runtime]
    return runtime.script(record.numerics, record.settings, record.threads) + _ON_SAMPLES


_ON_SAMPLES = """

if __name__ == "__main__":
    samples = np.load(HERE / "samples.npz")
    output = run(load(), {n[6:]: samples[n] for n in samples if n.startswith("input_")})[0]
    difference = np.abs(output - samples["output_0"]).max()
    print("output", output.shape, "| largest difference", difference)
"""
