"""Loading of extensions: files, entry points, and every refusal."""

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from tunefront.evaluators import builtin_catalog, catalog_of
from tunefront.evaluators import extensions as module
from tunefront.evaluators.extensions import (
    BUILTIN,
    content_of_extensions,
    extensions_in,
    installed_extensions,
)
from tunefront.spaces import ExperimentError, Extension

EXTENSION = """
from tunefront.spaces import ChoiceKind, Extension

KIND = ChoiceKind(name="{name}", stage="execution", default=0, help="One.", low=0, high=1)
EXTENSION = Extension(name="{name}", choices=(KIND,))
"""


@pytest.fixture(autouse=True)
def own_import_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders that a test adds, one with a name of the standard library, are removed again."""
    monkeypatch.setattr(sys, "path", [*sys.path])


def written(folder: Path, name: str) -> Path:
    file = folder / f"{name}.py"
    file.write_text(EXTENSION.format(name=name))
    return file


def test_every_built_in_implementation_can_be_imported() -> None:
    catalog = builtin_catalog()
    for extension in BUILTIN:
        for contract in extension.provides:
            assert callable(catalog.provided(contract, extension.name))


def test_a_file_adds_what_it_defines(tmp_path: Path) -> None:
    file = written(tmp_path, "adds_a_choice")
    catalog = catalog_of((str(file),))
    assert "adds_a_choice" in catalog.kinds
    assert catalog.origin("adds_a_choice") == "adds_a_choice.py"
    assert catalog_of((str(file),)) is catalog
    assert "adds_a_choice" not in builtin_catalog().kinds


def test_declared_choices_are_the_experiment_s(tmp_path: Path) -> None:
    catalog = catalog_of((), {"flag": {"values": ["a", "b"], "stage": "model"}})
    assert catalog.origin("flag") == "the experiment"
    assert catalog.complete({})["flag"] == "a"


def test_the_content_of_a_file_and_of_those_beside_it_counts(tmp_path: Path) -> None:
    file = written(tmp_path, "has_content")
    assert content_of_extensions(()) == ""
    first = content_of_extensions([str(file)])
    (tmp_path / "beside.py").write_text("VALUE = 1\n")
    assert first != content_of_extensions([str(file)])


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError) as caught:
        extensions_in(tmp_path / "nowhere.py")
    assert str(caught.value) == (
        f"extensions: {tmp_path}/nowhere.py is not a Python file; name an existing .py file"
    )


def test_a_file_that_fails_is_refused_with_its_error(tmp_path: Path) -> None:
    (tmp_path / "fails_at_import.py").write_text("raise RuntimeError('no such thing')\n")
    with pytest.raises(ExperimentError) as caught:
        extensions_in(tmp_path / "fails_at_import.py")
    assert str(caught.value) == (
        f"extensions: {tmp_path}/fails_at_import.py can't be imported: RuntimeError: no such thing"
    )


def test_a_file_without_an_extension_is_refused(tmp_path: Path) -> None:
    (tmp_path / "adds_nothing.py").write_text("VALUE = 1\n")
    with pytest.raises(ExperimentError) as caught:
        extensions_in(tmp_path / "adds_nothing.py")
    assert str(caught.value) == (
        f"extensions: {tmp_path}/adds_nothing.py defines no Extension at module level; add e.g. "
        "EXTENSION = Extension(name=..., ...)"
    )


def test_a_name_that_another_module_has_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, "colorsys")
    import colorsys

    with pytest.raises(ExperimentError) as caught:
        extensions_in(file)
    assert str(caught.value) == (
        f"extensions: {file}: the name colorsys is taken by {colorsys.__file__}; rename the file"
    )


def test_an_entry_point_must_offer_extensions(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint(name="wrong", value="math:pi", group=module.GROUP)
    monkeypatch.setattr(module, "entry_points", lambda group: [entry])
    with pytest.raises(ExperimentError) as caught:
        installed_extensions()
    assert str(caught.value) == (
        "entry point wrong = math:pi of tunefront.extensions must be an Extension or a sequence of "
        "them, but got float"
    )


def test_an_installed_package_adds_its_extensions(tmp_path: Path) -> None:
    """A package on the path with an entry point, in a process of its own."""
    written(tmp_path, "offered_by_a_package")
    info = tmp_path / "toy_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[tunefront.extensions]\ntoy = offered_by_a_package:EXTENSION\n"
    )
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from tunefront.evaluators import builtin_catalog\n"
        "catalog = builtin_catalog()\n"
        "print(catalog.origin('offered_by_a_package'), len(catalog.kinds))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    kinds = len(builtin_catalog().kinds)
    assert done.stdout.split("\n")[0] == f"package toy-package {kinds + 1}"


def test_extensions_are_plain_data() -> None:
    assert all(isinstance(one, Extension) and not one.origin for one in BUILTIN)
