"""S5 and its kind: a .pt2 that would run code is refused before it is opened."""

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.security.conftest import changed_package, part, resum

from tunefront.evaluators import load
from tunefront.evaluators.exports.package_code import code_in_package, is_arithmetic
from tunefront.evaluators.exports.verification import run_verification
from tunefront.spaces import ExportError

WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"
PROGRAM = "models/model.json"


class Evil:
    """Its pickle creates the marker."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._marker),)


def pickled_weight(package: Path, marker: Path) -> None:
    config = json.loads(part(package, WEIGHTS))
    config["config"]["weight"] |= {"use_pickle": True, "path_name": "weight_9"}
    torch.save(Evil(marker), package.parent / "evil")
    evil = package.parent / "evil"
    parts = {"data/weights/weight_9": evil.read_bytes(), WEIGHTS: json.dumps(config).encode()}
    evil.unlink()
    changed_package(package, parts)


def flag_that_is_only_truthy(package: Path, marker: Path) -> None:
    pickled_weight(package, marker)
    config = json.loads(part(package, WEIGHTS))
    config["config"]["weight"]["use_pickle"] = 1
    changed_package(package, {WEIGHTS: json.dumps(config).encode()})


def opaque_constant(package: Path, marker: Path) -> None:
    entry = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True}
    config = {"config": {"c": {**entry, "tensor_meta": None}}}
    evil = pickle.dumps(Evil(marker))
    parts = {"data/constants/opaque_obj_0": evil, CONSTANTS: json.dumps(config).encode()}
    changed_package(package, parts)


def sample_inputs(package: Path, marker: Path) -> None:
    torch.save(Evil(marker), package.parent / "evil")
    evil = (package.parent / "evil").read_bytes()
    (package.parent / "evil").unlink()
    changed_package(package, {"data/sample_inputs/model.pt": evil})


def legacy_weights(package: Path, marker: Path) -> None:
    torch.save(Evil(marker), package.parent / "evil")
    evil = (package.parent / "evil").read_bytes()
    (package.parent / "evil").unlink()
    changed_package(package, {"data/weights/model.pt": evil})


def expression(package: Path, marker: Path) -> None:
    code = f"__import__('os').mkdir({str(marker)!r}) or Integer(2)"
    program = part(package, PROGRAM).decode()
    program = json.dumps(_replaced(json.loads(program), "expr_str", code))
    changed_package(package, {PROGRAM: program.encode()})


def guard(package: Path, marker: Path) -> None:
    program = json.loads(part(package, PROGRAM))
    program["guards_code"] = [f"__import__('os').mkdir({str(marker)!r}) is None"]
    changed_package(package, {PROGRAM: json.dumps(program).encode()})


def library(package: Path, marker: Path) -> None:
    changed_package(package, {"data/aotinductor/model/evil.so": str(marker).encode()})


def _replaced(value: Any, key: str, text: str) -> Any:
    if isinstance(value, dict):
        return {n: text if n == key else _replaced(v, key, text) for n, v in value.items()}
    return [_replaced(v, key, text) for v in value] if isinstance(value, list) else value


ATTACKS: tuple[tuple[Callable[[Path, Path], None], str], ...] = (
    (pickled_weight, "weight is pickled"),
    (flag_that_is_only_truthy, "weight is pickled"),
    (opaque_constant, "data/constants/opaque_obj_0 does not belong into an exported program"),
    (sample_inputs, "data/sample_inputs/model.pt is pickled"),
    (legacy_weights, "data/weights/model.pt does not belong into an exported program"),
    (expression, "expr_str holds code: __import__"),
    (guard, "guards_code holds code: __import__"),
    (library, "data/aotinductor/model/evil.so does not belong into an exported program"),
)


@pytest.mark.parametrize(("attack", "problem"), ATTACKS, ids=[a.__name__ for a, _ in ATTACKS])
def test_a_package_with_code_is_refused(
    export: Path, marker: Path, attack: Callable[[Path, Path], None], problem: str
) -> None:
    attack(export / "model.pt2", marker)
    resum(export)
    (check,) = run_verification(export)
    assert (check.name, check.holds) == ("files", False)
    assert f"model.pt2: {problem}" in check.detail.split("; ")[-1]
    with pytest.raises(ExportError, match="is not opened, it holds code: model.pt2: "):
        load(export)
    assert not marker.exists()


@pytest.mark.parametrize(
    "attack", [pickled_weight, opaque_constant, sample_inputs, legacy_weights, expression]
)
def test_torch_itself_runs_these(
    export: Path, marker: Path, attack: Callable[[Path, Path], None]
) -> None:
    """Where torch no longer does, the check can go."""
    attack(export / "model.pt2", marker)
    with suppress(Exception):  # most payloads are no tensors
        torch.export.load(export / "model.pt2").module()(input=torch.ones(2, 4))
    assert marker.exists()


def test_what_torch_reads_is_checked_and_not_only_what_python_reads(
    export: Path, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two readers can find different parts in one archive."""
    package, clean = export / "model.pt2", export / "clean.pt2"
    clean.write_bytes(package.read_bytes())
    pickled_weight(package, marker)
    real = zipfile.ZipFile
    monkeypatch.setattr(zipfile, "ZipFile", lambda _: real(clean))
    assert code_in_package(package, compiled=False) == ["weight is pickled"]


def test_compiled_packages_hold_libraries_by_design(export: Path, marker: Path) -> None:
    library(export / "model.pt2", marker)
    assert code_in_package(export / "model.pt2", compiled=True) == []


def test_what_is_no_archive_or_has_a_name_twice_or_is_compressed_is_refused(export: Path) -> None:
    package = export / "model.pt2"
    changed_package(package, {"ARCHIVE_FORMAT": b"pt2"})
    assert code_in_package(package, compiled=False) == ["several of its parts have one name"]
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as written:
        written.writestr("model/archive_format", b"pt2" * 100)
    (problem,) = code_in_package(package, compiled=False)
    assert problem == "it can't be read as a package: its parts are compressed"
    package.write_bytes(b"no archive")
    (problem,) = code_in_package(package, compiled=False)
    assert problem.startswith("it can't be read as a package: ")


def test_an_unchanged_package_has_no_code(export: Path) -> None:
    assert "expr_str" in part(export / "model.pt2", PROGRAM).decode(), "the batch is dynamic"
    assert code_in_package(export / "model.pt2", compiled=False) == []


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("Mul(Integer(64), Symbol('s53', positive=True, integer=True))", True),
        ("Min(Integer(128), Symbol('s53', integer=True))", True),
        ("L['a.b'].size()[0] == L['input_ids'].size()[1]", True),
        ("not (L['x'].size()[0] % 8 == 0 and 2*L['x'].size()[1] <= 128)", True),
        ("Add('__import__(1)', 2)", False),
        ("__import__('os')", False),
        ("torch.os.system('x')", False),
        ("L.__class__", False),
        ("(lambda: 1)()", False),
        ("[x for x in L]", False),
        ("S('x')", False),
        ("eval", False),
        ("f'{L}'", False),
        ("1 +", False),
        ("(" * 500 + ")" * 500, False),
    ],
)
def test_expressions_are_arithmetic_of_sizes(text: str, harmless: bool) -> None:
    assert is_arithmetic(text) is harmless
