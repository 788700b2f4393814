"""The export folder: a candidate with samples, manifest and scripts, which runs elsewhere.

candidate.json, model files     the measured candidate, copied
processor/                      tokenizer or image processor
extensions/                     the user's extension files that the candidate needs
samples.npz (or sample.json)    recorded inputs and outputs
run.py                          runs the model without tunefront
serve.py, inputs.json           serves the model over HTTP without tunefront; its input rules
Dockerfile                      builds an image that runs serve.py
quality_items.npy               quality of each item, for `tunefront recheck`
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

from tunefront.evaluators.evaluation.built import CandidateRecord
from tunefront.evaluators.exports.open import deployment_of, open_candidate
from tunefront.evaluators.interfaces.builtin import AnyInterface
from tunefront.evaluators.interfaces.tensors import Inputs, TensorSpec
from tunefront.evaluators.runtimes.base import Deployment
from tunefront.spaces import Configuration, ExportError

MANIFEST = "manifest.json"
RUN_SCRIPT = "run.py"
SERVER = "serve.py"
INPUTS = "inputs.json"
README = "README.md"
PROCESSOR = "processor"
EXTENSIONS = "extensions"
CONFIGURATION = "configuration.json"
MANIFEST_FORMAT = 2
BLOCK = 2**20


def copy_candidate(
    candidate: Path, folder: Path, configuration: Configuration, interface: AnyInterface
) -> Deployment:
    """Copy the candidate and write run.py; the export is opened with the configuration.

    Raises:
        ExportError: If the runtime can't be exported.
    """
    read = CandidateRecord.read(candidate)
    execution = {n: v for n, v in configuration.items() if n not in read.configuration}
    deployment = deployment_of(candidate, replace(read, execution=Configuration(execution)))
    shutil.copytree(candidate, folder, dirs_exist_ok=True)
    replace(
        read,
        execution=Configuration(execution),
        extensions=_copy_extensions(read.extensions, folder),
    ).write(folder)
    (folder / RUN_SCRIPT).write_text(deployment.script + interface.sample_script)
    return deployment


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


def write_recorded_outputs(folder: Path, interface: AnyInterface, request: Any) -> None:
    """Run one request through the export and record it with its response."""
    endpoint = open_candidate(folder)
    try:
        response = interface.respond(endpoint, request)
    finally:
        endpoint.close()
    interface.write_sample(request, response, folder)


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
