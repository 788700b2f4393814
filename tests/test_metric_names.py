"""Names of metrics stand in the folder that measures or derives them, and nowhere else."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("spaces", "evaluators", "search")
ALLOWED = {
    "search/tunefront/search/experiment/starter.py": "the experiment file that a user starts from",
}
"""Files outside a metric's own folder that may name it, each with the reason."""


def folder_of(path: Path) -> str:
    """The folder below the root package: `evaluators/measures`, `search/experiment`, ..."""
    root, _, _, *below = path.relative_to(ROOT).parts
    return f"{root}/{below[0]}"


def sources() -> list[Path]:
    return [p for name in FOLDERS for p in sorted((ROOT / name / "tunefront").rglob("*.py"))]


def metric_names(tree: ast.AST) -> Iterator[str]:
    """Names in the calls `Metric(name="...")` of a file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Metric":
            for keyword in node.keywords:
                if keyword.arg == "name" and isinstance(keyword.value, ast.Constant):
                    yield str(keyword.value.value)


def texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """String constants of a file with their lines, without docstrings."""
    documented = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or id(node) in documented:
            continue
        if isinstance(node.value, str):
            yield node.lineno, node.value


def names_metric(text: str, name: str) -> bool:
    """Whether a text names a metric; a name that is an English word may be part of a sentence."""
    if "_" in name:
        return re.search(rf"\b{name}\b", text) is not None
    return text.strip() == name or re.search(rf"\b{name}: m(in|ax)imize", text) is not None


@pytest.fixture(scope="module")
def trees() -> dict[Path, ast.AST]:
    return {path: ast.parse(path.read_text()) for path in sources()}


@pytest.fixture(scope="module")
def homes(trees: dict[Path, ast.AST]) -> dict[str, str]:
    """The folder of each metric, by its name."""
    found: dict[str, str] = {}
    for path, tree in trees.items():
        for name in metric_names(tree):
            assert found.setdefault(name, folder_of(path)) == folder_of(path), name
    return found


def test_every_kind_of_metric_is_found(homes: dict[str, str]) -> None:
    assert homes["throughput"] == "evaluators/interfaces"
    assert homes["peak_memory_mb"] == homes["energy_per_item"] == "evaluators/measures"
    assert homes["perplexity"] == homes["accuracy"] == "evaluators/workloads"
    assert homes["quality_drop"] == "search/experiment"


def test_names_of_metrics_stand_in_their_own_folder(
    trees: dict[Path, ast.AST], homes: dict[str, str]
) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path, tree in trees.items()
        if str(path.relative_to(ROOT)) not in ALLOWED
        for line, text in texts(tree)
        for name, home in homes.items()
        if home != folder_of(path) and names_metric(text, name)
    ]
    assert wrong == []


def test_the_report_s_page_names_no_metric(homes: dict[str, str]) -> None:
    wrong = [
        f"{path.name}: {name}"
        for path in sorted((ROOT / "search").rglob("*.js"))
        for name in homes
        if names_metric(path.read_text(), name)
    ]
    assert wrong == []


@pytest.mark.parametrize("name", ALLOWED)
def test_what_is_allowed_is_needed(name: str, homes: dict[str, str]) -> None:
    tree = ast.parse((ROOT / name).read_text())
    assert any(names_metric(text, metric) for _, text in texts(tree) for metric in homes)


def test_a_name_is_found_in_code_and_in_templates() -> None:
    assert names_metric("peak_memory_mb", "peak_memory_mb")
    assert names_metric("limits: {quality_drop: '<= 1%'}", "quality_drop")
    assert names_metric("throughput", "throughput")
    assert names_metric("objectives:\n  throughput: maximize\n", "throughput")
    assert not names_metric("2.0x the throughput of this trial", "throughput")
    assert not names_metric("what the latency_msg says", "latency_ms")
