"""A built candidate as a folder, and opening it again: the same for trials and for exports."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from tunefront.evaluators.runtimes.base import Candidate, Numerics
from tunefront.evaluators.runtimes.builtin import RUNTIME_OF
from tunefront.spaces import ExportError

CANDIDATE_FILE = "candidate.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateRecord:
    """What is known about a built candidate.

    Attributes:
        runtime: The runtime's name.
        numerics: What it was built to be.
        settings: What the runtime wants to know at `load`.
        parameters: Weights of the module that it was built from.
        reference_parameters: Weights of the reference module, before any technique.
        sparsity: Share of zeros among the weights.
        threads: Threads that it is opened with unless told otherwise.
    """

    runtime: str
    numerics: Numerics
    settings: Mapping[str, object]
    parameters: int
    reference_parameters: int
    sparsity: float = 0.0
    threads: int = 1

    def write(self, folder: Path) -> None:
        """Into `candidate.json`."""
        fields = {
            "runtime": self.runtime,
            "numerics": self.numerics.to_dict(),
            "settings": dict(self.settings),
            "parameters": self.parameters,
            "reference_parameters": self.reference_parameters,
            "sparsity": self.sparsity,
            "threads": self.threads,
        }
        (folder / CANDIDATE_FILE).write_text(json.dumps(fields, indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> "CandidateRecord":
        """From `candidate.json`.

        Raises:
            ExportError: If the folder holds no readable candidate.
        """
        path = folder / CANDIDATE_FILE
        try:
            fields = json.loads(path.read_text())
            return cls(
                runtime=fields["runtime"],
                numerics=Numerics(**fields["numerics"]),
                settings=cast(Mapping[str, object], fields["settings"]),
                parameters=int(fields["parameters"]),
                reference_parameters=int(fields["reference_parameters"]),
                sparsity=float(fields["sparsity"]),
                threads=int(fields["threads"]),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ExportError(f"{path} is no readable candidate record: {error}") from error


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
