"""The export folder: a candidate with samples, manifest and scripts, which runs elsewhere.

candidate.json, model files     the measured candidate, copied
processor/                      tokenizer or image processor
extensions/                     the user's extension files that the candidate needs
samples.npz (or sample.json)    recorded inputs and outputs
run.py                          runs the model without tunefront
serve.sh                        starts the server, if the runtime is one
serve.py, connections.py        serves the model over HTTP without tunefront; of a model that writes
                                text serve.py alone
inputs.json                     input rules of the server of tensors
generation.json                 end tokens, context and vocabulary of a model that writes text
Dockerfile                      builds an image that runs serve.py
quality_items.npy               quality of each item, for `tunefront recheck`
configuration.json, README.md   documentation
manifest.json                   sha256 of every file, versions, hardware, measurements with spread
"""

import ast
import importlib.util
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path, PurePosixPath
from typing import Any

from tunefront.evaluators.evaluation.built import CandidateRecord
from tunefront.evaluators.exports.contents import Entry, entries, read_plain, sha256_of, shown_name
from tunefront.evaluators.exports.open import deployment_of, open_candidate
from tunefront.evaluators.exports.package_code import code_in_packages
from tunefront.evaluators.interfaces.builtin import AnyInterface
from tunefront.evaluators.interfaces.generation import ModelLimits
from tunefront.evaluators.interfaces.generation.run_script import ABOUT, NOT_EXPORTED
from tunefront.evaluators.interfaces.source_bundle import bundle
from tunefront.evaluators.interfaces.tensors import Inputs, TensorSpec
from tunefront.evaluators.runtimes.base import Deployment
from tunefront.spaces import Configuration, ExportError

MANIFEST = "manifest.json"
RUN_SCRIPT = "run.py"
SERVER = "serve.py"
CONNECTIONS = "connections.py"
TEXT_SERVER = "tunefront.evaluators.exports.serve_text"
"""Module whose code becomes serve.py of a model that writes text."""
INPUTS = "inputs.json"
README = "README.md"
EXTENSIONS = "extensions"
CONFIGURATION = "configuration.json"
MANIFEST_FORMAT = 2
MOST_SHOWN = 20
"""Largest number of changed files that a message names."""
_SUM = re.compile(r"[0-9a-f]{64}")
_FIRST_LINES = """
import os
import sys

sys.dont_write_bytecode = True  # a new file here would be none that the manifest lists
# Imports never look into this folder: a file here would hide a library of its name.
_HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:] = [path for path in sys.path if os.path.realpath(path) != _HERE]
"""
"""Lines of run.py before its first import.

`os` and `sys` are loaded before the folder is on the import path.
"""
_GPU_LINES = '''

def missing():
    """Why the model can't run here; empty if it can."""
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is a build for the CPU only; install one with CUDA"
    if not torch.cuda.is_available():
        return "torch finds none; check nvidia-smi, and start containers with --gpus all"
    return ""


if missing():
    sys.exit(f"This model runs on an NVIDIA GPU: {missing()}.")
'''
"""Lines of run.py after its functions, for a model that runs on a GPU.

serve.py imports run.py, so that it ends with the same sentence.
"""


def copy_candidate(
    candidate: Path, folder: Path, configuration: Configuration, interface: AnyInterface
) -> Deployment:
    """Copy the candidate and write run.py; the export is opened with the configuration.

    Raises:
        ExportError: If the runtime can't be exported, or its script is not valid Python.
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
    script = with_safe_imports(deployment.script)
    if deployment.gpu and "torch" in deployment.requirements:
        script += _GPU_LINES
    (folder / RUN_SCRIPT).write_text(script + interface.sample_script())
    for name, content in deployment.files.items():
        (folder / name).write_text(content)
    return deployment


def with_safe_imports(script: str) -> str:
    """Return a script that takes its folder off the import path before its first import.

    The lines follow the docstring and imports from `__future__`, which have to come first.

    Raises:
        ExportError: If the script is not valid Python.
    """
    try:
        body = ast.parse(script).body
    except SyntaxError as error:
        raise ExportError(f"the runtime's script is not valid Python: {error}") from error
    last = 0
    for place, statement in enumerate(body):
        docstring = place == 0 and isinstance(statement, ast.Expr)
        future = isinstance(statement, ast.ImportFrom) and statement.module == "__future__"
        if not docstring and not future:
            break
        last = statement.end_lineno or last
    lines = script.splitlines(keepends=True)
    return "".join([*lines[:last], _FIRST_LINES, *lines[last:]])


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
    for name in (SERVER, CONNECTIONS):
        shutil.copyfile(Path(__file__).with_name(name), folder / name)


def write_about(folder: Path, stop: Sequence[int], limits: ModelLimits | None) -> None:
    """Write the tokens that end a response, and what requests must keep, for run.py and serve.py.

    Args:
        folder: The export.
        stop: The tokens.
        limits: The context and vocabulary; None if they are not known.
    """
    fields = {"stop": list(stop), **asdict(limits or ModelLimits(context=0, vocabulary=0))}
    (folder / ABOUT).write_text(json.dumps(fields, indent=2) + "\n")


def write_text_server(folder: Path) -> None:
    """Write the HTTP server of a model that writes text: one file, the code of `serve_text`."""
    spec = importlib.util.find_spec(TEXT_SERVER)
    assert spec is not None and spec.origin is not None
    docstring = ast.get_docstring(ast.parse(Path(spec.origin).read_text()))
    code = bundle([f"{TEXT_SERVER}:main"], without=NOT_EXPORTED)
    head = f'"""{docstring}\n"""\n\nfrom __future__ import annotations\n\n'
    script = f'{head}{code}\n\n\nif __name__ == "__main__":\n    main()\n'
    (folder / SERVER).write_text(with_safe_imports(script))


def is_text_server(folder: Path) -> bool:
    """Return whether an export has the server of a model that writes text."""
    return (folder / SERVER).is_file() and (folder / ABOUT).is_file()


def write_recorded_outputs(folder: Path, interface: AnyInterface, request: Any) -> None:
    """Run one request through the export and record it with its response."""
    endpoint = open_candidate(folder)
    try:
        response = interface.respond(endpoint, request)
    finally:
        endpoint.close()
    interface.write_sample(request, response, folder)


def write_manifest(folder: Path, fields: Mapping[str, Any]) -> None:
    """Write the manifest with the hashes of all files; call it after all others are written.

    Folders without files are removed first: they would be entries that the manifest does not list.

    Raises:
        ExportError: If the folder holds a link, or anything else than files and folders.
    """
    _remove_empty(folder)
    found = [entry for entry in entries(folder) if entry.kind != "folder"]
    if odd := [shown_name(entry.name) for entry in found if entry.kind != "file"]:
        raise ExportError(f"{folder}: an export holds plain files only, but {odd[0]} is none")
    files = {
        name: {"sha256": sha256_of(folder / name), "bytes": (folder / name).stat().st_size}
        for name, _ in found
        if name != MANIFEST
    }
    manifest = {"format": MANIFEST_FORMAT, **fields, "files": files}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")


def _remove_empty(folder: Path) -> None:
    for entry in reversed(list(entries(folder))):
        path = folder / entry.name
        if entry.kind == "folder" and not any(path.iterdir()):
            path.rmdir()


def read_manifest(folder: Path) -> Mapping[str, Any]:
    """Read the manifest.

    Raises:
        ExportError: If it is missing, unreadable, of another format or without sums.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(read_plain(path))
    except FileNotFoundError as error:
        raise ExportError(
            f"{folder}: no {MANIFEST} here: it is no export; name what `tunefront export` wrote"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ExportError(f"{path} can't be read: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != MANIFEST_FORMAT:
        raise ExportError(f"{path}: format {MANIFEST_FORMAT} is needed")
    files = manifest.get("files")
    if not isinstance(files, dict) or not all(_has_sum(written) for written in files.values()):
        raise ExportError(f"{path}: `files` must hold the sha256 sum of every file")
    return manifest


def _has_sum(written: object) -> bool:
    return isinstance(written, dict) and bool(_SUM.fullmatch(str(written.get("sha256"))))


def manifest_digest(folder: Path) -> str:
    """Return the sha256 of the manifest; it identifies an export, as it has all files' hashes.

    Raises:
        ExportError: If it can't be read.
    """
    try:
        return sha256_of(folder / MANIFEST)
    except OSError as error:
        raise ExportError(f"{folder / MANIFEST} can't be read: {error}") from error


def check_form(sha256: str) -> str:
    """Return a digest that a user wrote, in lower case.

    Raises:
        ExportError: If it is not 64 hexadecimal digits.
    """
    if not _SUM.fullmatch(lower := sha256.strip().lower()):
        raise ExportError(f"sha256: 64 hexadecimal digits are needed, but got {sha256!r}")
    return lower


def check_digest(folder: Path, named: object, sha256: str) -> None:
    """Check that the manifest has the digest that the user gave.

    Args:
        folder: The export.
        named: What the user named it, for the message.
        sha256: The digest.

    Raises:
        ExportError: If it has another one, or the text is no digest.
    """
    if (found := manifest_digest(folder)) != check_form(sha256):
        raise ExportError(
            f"{named} is not the export named: its {MANIFEST} has sha256 {found}, not {sha256}"
        )


def check_untampered(folder: Path, named: object) -> None:
    """Check that a folder holds exactly what its manifest lists, and no code in data files.

    Args:
        folder: The export.
        named: What the user named it, for the message.

    Raises:
        ExportError: If it does not, with the differences; if it has no readable manifest; or if a
            package in it would run code when it is opened.
    """
    if problems := tampered(folder, read_manifest(folder)):
        raise ExportError(f"{named} is not what was exported: {problems_text(problems)}")
    if problems := unsafe_parts(folder):
        raise ExportError(f"{named} is not opened, it holds code: {problems_text(problems)}")


def unsafe_parts(folder: Path) -> list[str]:
    """Return the parts of the export's packages that would run code when they are opened.

    Call it after the sums were compared: it imports the extensions that the export holds.
    """
    compiled = deployment_of(folder, CandidateRecord.read(folder)).compiled
    return code_in_packages(folder, compiled=compiled)


def problems_text(problems: Sequence[str]) -> str:
    """Return the problems as one line, the first `MOST_SHOWN` of them by name."""
    more = len(problems) - MOST_SHOWN
    return "; ".join([*problems[:MOST_SHOWN], *([f"{more:,} more"] if more > 0 else [])])


def tampered(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    """List the entries that were changed, removed or added since the manifest was written.

    Every entry that is not a listed plain file, or a folder with listed files, is a problem.
    """
    listed = manifest["files"]
    found = {entry.name: entry for entry in entries(folder)}
    problems = [
        problem
        for name, written in listed.items()
        if (problem := _difference(folder, name, found.get(name), written["sha256"]))
    ]
    known = {MANIFEST, *listed}
    parents = {str(parent) for name in listed for parent in PurePosixPath(name).parents}
    added: set[str] = set()
    for entry in found.values():
        if str(PurePosixPath(entry.name).parent) in added:
            added.add(entry.name)  # its folder is a problem already
        elif entry.name not in (parents if entry.kind == "folder" else known):
            added.add(entry.name)
            problems.append(_added_text(entry))
    return problems


def _difference(folder: Path, name: str, entry: Entry | None, recorded: str) -> str:
    """Return how a listed file differs from the recorded one; empty if it does not."""
    shown, path = shown_name(name), PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        return f"{shown} lies outside the export"
    if entry is None:
        return f"{shown} is missing"
    if entry.kind != "file":
        return f"{shown} is {_KINDS[entry.kind]}, not a plain file"
    try:
        return "" if sha256_of(folder / name) == recorded else f"{shown} has changed"
    except OSError as error:
        return f"{shown} can't be read: {error.strerror}"


_KINDS = {"file": "a file", "folder": "a folder", "link": "a link", "special": "a special file"}


def _added_text(entry: Entry) -> str:
    shown = shown_name(entry.name)
    if entry.kind == "link":
        return f"{shown} was added: a link"
    if entry.kind == "special":
        return f"{shown} was added: neither a file nor a folder"
    return f"{shown}/ was added" if entry.kind == "folder" else f"{shown} was added"
