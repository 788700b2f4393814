"""A tiny export of a torch program, and payloads that leave a file where they are run."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tunefront.evaluators import CandidateRecord, builtin_catalog
from tunefront.evaluators.exports.folder import (
    RUN_SCRIPT,
    with_safe_imports,
    write_manifest,
    write_server,
)
from tunefront.evaluators.interfaces.tensors import TensorSpec
from tunefront.spaces import Configuration

RUN = '''\
"""Doubles its input."""
import pathlib

import numpy as np

HERE = pathlib.Path(__file__).parent


def load():
    return 2.0


def run(model, inputs):
    return [np.asarray(inputs["input"]) * model]


if __name__ == "__main__":
    print(run(load(), {"input": [[1.0]]}))
'''


@pytest.fixture(scope="session")
def torch_export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export with a program of torch.export, as `tunefront export` writes it."""
    import torch

    folder = tmp_path_factory.mktemp("torch") / "export"
    folder.mkdir()
    dims = {"input": {0: torch.export.Dim("batch", min=1, max=64)}}
    module = torch.nn.Linear(4, 2).eval()
    example = {"input": torch.ones(2, 4)}
    program = torch.export.export(module, (), example, dynamic_shapes=dims)
    program._example_inputs = None  # they would be saved as a pickle
    torch.export.save(program, folder / "model.pt2")
    catalog = builtin_catalog()
    complete = catalog.complete({"runtime": "torch"})
    CandidateRecord(
        configuration=catalog.up_to(complete, "runtime"),
        settings={},
        parameters=8,
        reference_parameters=8,
        execution=Configuration({n: complete[n] for n in ("threads", "batch_size", "replicas")}),
    ).write(folder)
    write_scripts(folder)
    write_manifest(folder, {"experiment": "tiny", "trial": 0})
    return folder


def write_scripts(folder: Path) -> None:
    (folder / RUN_SCRIPT).write_text(with_safe_imports(RUN))
    np.savez(folder / "samples.npz", input_input=np.ones((1, 1), dtype=np.float32))
    spec = TensorSpec(name="input", dims=("batch", "width"))
    write_server(folder, [spec], {"input": np.ones((1, 1), dtype=np.float32)})


@pytest.fixture
def export(torch_export: Path, tmp_path: Path) -> Path:
    """A copy of the export that a test can change."""
    return shutil.copytree(torch_export, tmp_path / "export")


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """The file that a payload creates."""
    return tmp_path / "PAYLOAD-RAN"


@pytest.fixture
def payload(marker: Path) -> str:
    """Python source that creates the marker."""
    return f"open({str(marker)!r}, 'w').close()\n"


def resum(folder: Path) -> None:
    """Write the sums again, as in a forged export."""
    write_manifest(folder, {"experiment": "tiny", "trial": 0})


def changed_package(path: Path, changes: dict[str, bytes]) -> None:
    """Replace or add parts of a .pt2."""
    with zipfile.ZipFile(path) as package:
        parts = {name: package.read(name) for name in package.namelist()}
    root = next(iter(parts)).partition("/")[0]
    parts |= {f"{root}/{name}": content for name, content in changes.items()}
    with zipfile.ZipFile(path, "w") as package:
        for name, content in parts.items():
            package.writestr(name, content)


def part(path: Path, name: str) -> bytes:
    """Read a part of a .pt2."""
    with zipfile.ZipFile(path) as package:
        root = package.namelist()[0].partition("/")[0]
        return package.read(f"{root}/{name}")
