"""What a user's code reads below a folder is observed, and nothing else."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tunefront.evaluators.workloads.sources.files_read import files_read


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An experiment's folder with files of several kinds."""
    found = tmp_path / "experiment"
    (found / "data").mkdir(parents=True)
    (found / "data" / "rows.csv").write_text("text,label\n")
    (found / "never.txt").write_text("not read")
    np.save(found / "array.npy", np.zeros(2))
    save_file({"a": torch.zeros(2)}, found / "weights.safetensors")
    torch.save({"a": torch.zeros(2)}, found / "weights.pt")
    (tmp_path / "outside.txt").write_text("elsewhere")
    return found


def names(found: set[Path]) -> set[str]:
    return {path.name for path in found}


def test_files_are_observed_however_they_are_opened(folder: Path) -> None:
    with files_read(folder) as found:
        (folder / "data" / "rows.csv").read_text()
        np.load(folder / "array.npy")
        load_file(folder / "weights.safetensors")
        torch.load(folder / "weights.pt", weights_only=True)
        (folder.parent / "outside.txt").read_text()
    assert names(found) == {"rows.csv", "array.npy", "weights.safetensors", "weights.pt"}


def test_what_is_written_is_not_read(folder: Path) -> None:
    with files_read(folder) as found:
        (folder / "log.txt").write_text("written")
        with (folder / "log.txt").open("a") as log:
            log.write("more")
        missing = folder / "missing.txt"
        assert not missing.exists()
        with pytest.raises(FileNotFoundError):
            missing.read_text()
    assert found == set()


def test_modules_that_are_imported_count_even_from_compiled_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "observed_network.py").write_text("SCALE = 1\n")
    monkeypatch.syspath_prepend(folder)
    for _ in range(2):  # the second time Python reads the compiled file
        monkeypatch.delitem(sys.modules, "observed_network", raising=False)
        with files_read(folder) as found:
            import observed_network  # type: ignore[import-not-found]  # noqa: F401
        assert names(found) == {"observed_network.py"}


def test_libraries_that_are_installed_below_the_folder_do_not_count(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "tunefront.evaluators.workloads.sources.files_read._INSTALLED", (f"{folder / 'data'}/",)
    )
    with files_read(folder) as found:
        (folder / "data" / "rows.csv").read_text()
    assert found == set()


def test_nothing_is_observed_afterwards(folder: Path) -> None:
    with files_read(folder) as found:
        pass
    (folder / "never.txt").read_text()
    assert found == set()
    import safetensors

    assert safetensors.safe_open is safe_open
