"""The export folder: a candidate with samples, manifest and scripts, which runs elsewhere.

candidate.json, model files     the measured candidate, copied
processor/                      tokenizer or image processor
extensions/                     the user's extension files that the candidate needs
samples.npz                     recorded inputs and outputs
run.py                          runs the model without tunefront
serve.py, inputs.json           serves the model over HTTP without tunefront; its input rules
Dockerfile                      builds an image that runs serve.py
configuration.json, README.md   documentation
manifest.json                   sha256 of every file, versions, hardware, measurements with spread
"""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tunefront.evaluators.evaluation.built import CandidateRecord
from tunefront.evaluators.exports.open import open_candidate, script_of
from tunefront.evaluators.interfaces.tensors import Inputs, TensorSpec
from tunefront.evaluators.statistics.arrays import Array
from tunefront.spaces import ExportError

MANIFEST = "manifest.json"
SAMPLES = "samples.npz"
RUN_SCRIPT = "run.py"
SERVER = "serve.py"
INPUTS = "inputs.json"
README = "README.md"
PROCESSOR = "processor"
EXTENSIONS = "extensions"
CONFIGURATION = "configuration.json"
MANIFEST_FORMAT = 2
BLOCK = 2**20


def copy_candidate(candidate: Path, folder: Path, threads: int) -> CandidateRecord:
    """Copy the candidate and write run.py; the export is opened with `threads` threads."""
    shutil.copytree(candidate, folder, dirs_exist_ok=True)
    read = CandidateRecord.read(candidate)
    record = replace(read, threads=threads, extensions=_copy_extensions(read.extensions, folder))
    record.write(folder)
    (folder / RUN_SCRIPT).write_text(script_of(CandidateRecord.read(folder)))
    return record


def _copy_extensions(files: Sequence[str], folder: Path) -> tuple[str, ...]:
    """Copy extension files and the Python files next to them; return paths relative to `folder`."""
    parents = list(dict.fromkeys(Path(file).parent for file in files))
    for number, parent in enumerate(parents):
        (folder / EXTENSIONS / str(number)).mkdir(parents=True)
        for file in parent.glob("*.py"):
            shutil.copyfile(file, folder / EXTENSIONS / str(number) / file.name)
    named = (Path(file) for file in files)
    return tuple(f"{EXTENSIONS}/{parents.index(file.parent)}/{file.name}" for file in named)


def write_server(folder: Path, inputs: Sequence[TensorSpec], request: Inputs) -> None:
    """Write the HTTP server, and the input rules that it validates requests against."""
    fields = {
        spec.name: {"dtype": str(request[spec.name].dtype), "shape": list(spec.dims)}
        for spec in inputs
    }
    (folder / INPUTS).write_text(json.dumps(fields, indent=2) + "\n")
    shutil.copyfile(Path(__file__).with_name("serve.py"), folder / SERVER)


def can_be_served(record: CandidateRecord) -> bool:
    """Return whether one process can serve it; ranks of a sharded model are started together."""
    return record.configuration["tensor_parallel"] == 1


def write_recorded_outputs(folder: Path, request: Inputs) -> None:
    """Run one request through the export and record its inputs and outputs."""
    candidate = open_candidate(folder)
    try:
        outputs = candidate(request)
    finally:
        candidate.close()
    arrays = {f"input_{name}": array for name, array in request.items()}
    arrays |= {f"output_{place}": array for place, array in enumerate(outputs)}
    np.savez(folder / SAMPLES, allow_pickle=False, **arrays)


def read_recorded_outputs(folder: Path) -> tuple[Inputs, Sequence[Array]]:
    """Read the recorded inputs and outputs.

    Raises:
        ExportError: If they can't be read.
    """
    try:
        with np.load(folder / SAMPLES, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError) as error:
        raise ExportError(f"{folder / SAMPLES} can't be read: {error}") from error
    inputs = {name[6:]: array for name, array in found.items() if name.startswith("input_")}
    places = sorted(int(name[7:]) for name in found if name.startswith("output_"))
    return inputs, [found[f"output_{place}"] for place in places]


def write_manifest(folder: Path, fields: Mapping[str, Any]) -> None:
    """Write the manifest with the hashes of all files; call it after all others are written."""
    files = {
        str(path.relative_to(folder)): {"sha256": _sha256(path), "bytes": path.stat().st_size}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
    manifest = {"format": MANIFEST_FORMAT, **fields, "files": files}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")


def read_manifest(folder: Path) -> Mapping[str, Any]:
    """Read the manifest.

    Raises:
        ExportError: If it is missing, unreadable or of another format.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise ExportError(
            f"{folder}: no {MANIFEST} here: it is no export; name what `tunefront export` wrote"
        ) from error
    except (OSError, ValueError) as error:
        raise ExportError(f"{path} can't be read: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != MANIFEST_FORMAT:
        raise ExportError(f"{path}: format {MANIFEST_FORMAT} is needed")
    return manifest


def tampered(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    """List the files that were changed, removed or added since the manifest was written."""
    problems: list[str] = []
    root = folder.resolve()
    for name, written in manifest["files"].items():
        path = folder / name
        if not path.resolve().is_relative_to(root):
            problems.append(f"{name} lies outside the export")
        elif not path.is_file():
            problems.append(f"{name} is missing")
        elif _sha256(path) != written["sha256"]:
            problems.append(f"{name} has changed")
    known = {*manifest["files"], MANIFEST}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file() and name not in known and "__pycache__" not in path.parts:
            problems.append(f"{name} was added")
    return problems


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
