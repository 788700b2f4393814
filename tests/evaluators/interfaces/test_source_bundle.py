"""Source code with all that it uses, without imports of Tunefront."""

import subprocess
import sys
from pathlib import Path

import pytest

from tunefront.evaluators.interfaces.source_bundle import bundle

FIRST = '''\
"""A module."""
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunefront.second import LIMIT, Base

if TYPE_CHECKING:
    import torch

SEEN = [LIMIT]
"""What was seen."""


@dataclass(frozen=True)
class Child(Base):
    """A child."""

    size: int

    def facts(self) -> "torch.Tensor":
        return unused(self)

    def twice(self, other: Unknown | None = None) -> int:
        from .second import doubled

        return doubled(self.size)


def unused(child: Child) -> int:
    raise NotImplementedError
'''
SECOND = """\
import math as mathematics
import os

LIMIT = 3


class Base:
    def limit(self) -> int:
        return LIMIT


def doubled(number: int) -> int:
    return int(mathematics.ldexp(number, 1))
"""
THIRD = """\
from tunefront.second import Base

LIMIT = 4


def both():
    return LIMIT, Base().limit()
"""


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three modules of the package, which are found but never imported."""
    import tunefront

    for name, text in {"first": FIRST, "second": SECOND, "third": THIRD}.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setattr(tunefront, "__path__", [*tunefront.__path__, str(tmp_path)])


def test_it_has_what_is_used_in_an_order_that_runs() -> None:
    found = bundle(["tunefront.first:Child", "tunefront.first:SEEN"], without={"facts"})
    script = f"from __future__ import annotations\n{found}\nprint(Child(4).twice(), SEEN)"
    ran = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True)
    assert ran.stdout == "8 [3]\n", ran.stderr
    assert "tunefront" not in found and "torch" not in found
    assert "unused" not in found and "import os" not in found
    assert 'SEEN = [LIMIT]\n"""What was seen."""' in found
    assert found.startswith("import math as mathematics\nfrom dataclasses import dataclass\n")


def test_a_name_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="tunefront.first does not define Absent"):
        bundle(["tunefront.first:Absent"])
    with pytest.raises(ValueError, match="there is no module tunefront.absent"):
        bundle(["tunefront.absent:Absent"])


def test_one_name_has_one_definition() -> None:
    with pytest.raises(ValueError, match="LIMIT is defined in .* and in .*; rename one of them"):
        bundle(["tunefront.third:both"])
