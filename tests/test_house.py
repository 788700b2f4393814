"""The house: imports point one way, heavy libraries wait, the folders are what packaging needs."""

import ast
import importlib
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tunefront.evaluators import builtin_catalog

ROOT = Path(__file__).parents[1]
FOLDERS = ("spaces", "evaluators", "search")
HEAVY = ("torch", "ray", "optuna", "mlflow")
FORBIDDEN = {
    "spaces": ("tunefront.evaluators", "tunefront.search", *HEAVY),
    "evaluators": ("tunefront.search", "ray", "optuna", "mlflow"),
}
ALLOWED_AT_TOP = {
    "search/tunefront/search/cluster/tune_searcher.py": {"ray"},
    "search/tunefront/search/sampling/optuna_adapter.py": {"optuna"},
}
"""The files that can't do without: their classes derive from theirs."""
ALLOWED_IN_FUNCTIONS = {"evaluators/tunefront/evaluators/exports/registry.py": {"mlflow"}}
"""The one file that opens what lies in a registry; where MLflow is absent, it says so."""

ORDER = {
    "evaluators": (
        "statistics",
        "interfaces",
        "store",
        "isolation",
        "workloads",
        "measures",
        "evaluation",
        "techniques",
        "profiling",
        "runtimes",
        "extensions",
        "exports",
        "benchmark",
        "pipelines",
        "testing",
    ),
    "search": (
        "exit_codes",
        "text",
        "experiment",
        "study",
        "front",
        "sampling",
        "results",
        "cluster",
        "deploy",
        "profile",
        "report",
        "tracking",
        "run",
        "terminal",
        "commands",
        "cli",
    ),
}
"""A folder (or a file beside the folders) imports only from those before it."""
MOST_FILES = 14
"""Files in a folder; `commands/` holds one a command."""
MOST_FILES_BESIDE_FOLDERS = 4
DEFINED_AGAIN = frozenset({"main", "EXTENSION", "EXTENSIONS"})
"""Module-level names that may be defined in several modules; private names may, too."""

EXPERIMENT = """
name: house
workload: {task: causal-lm, model: nowhere, data: nowhere.jsonl}
space: {runtime: [torch], threads: [1]}
objectives: {throughput: maximize}
"""


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder / "tunefront" / folder).rglob("*.py"))


def imported(nodes: Iterator[ast.AST] | list[ast.stmt]) -> set[str]:
    """The absolute names of the modules that statements import."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.update({node.module, *(f"{node.module}.{alias.name}" for alias in node.names)})
    return found


def at_import(statements: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when a module is imported; what is there for types does not."""
    for statement in statements:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING":
            continue
        yield statement
        for block in ("body", "orelse", "finalbody"):
            yield from at_import(getattr(statement, block, []))
        for handler in getattr(statement, "handlers", []):
            yield from at_import(handler.body)


def below(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def module_of(path: Path, folder: str) -> str:
    return ".".join(path.relative_to(ROOT / folder).with_suffix("").parts)


def own_imports(path: Path, module: str, modules: set[str]) -> set[str]:
    """The modules of this project that a file imports anywhere, for typing too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            parent = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*parent, *([node.module] if node.module else [])])
            names = {f"{base}.{alias.name}" for alias in node.names}
            found |= (names & modules) or {base, f"{base}.__init__"}
    return found & modules


def run(program: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("folder", FOLDERS)
def test_there_is_something_to_look_at(folder: str) -> None:
    assert len(sources(folder)) > 5


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_imports_point_one_way(folder: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources(folder)
        for name in sorted(imported(ast.walk(ast.parse(path.read_text()))))
        if below(name, FORBIDDEN[folder])
        and name.partition(".")[0]
        not in ALLOWED_IN_FUNCTIONS.get(str(path.relative_to(ROOT)), set())
    ]
    assert wrong == []


@pytest.mark.parametrize("name", ALLOWED_IN_FUNCTIONS)
def test_what_may_be_imported_in_functions_is_not_imported_at_the_top(name: str) -> None:
    tree = ast.parse((ROOT / name).read_text())
    everywhere = {found.partition(".")[0] for found in imported(ast.walk(tree))}
    at_top = {found.partition(".")[0] for found in imported(list(at_import(tree.body)))}
    assert everywhere >= ALLOWED_IN_FUNCTIONS[name]
    assert not at_top & ALLOWED_IN_FUNCTIONS[name]


def test_heavy_libraries_are_not_imported_at_the_top_of_search() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources("search")
        for name in sorted(imported(list(at_import(ast.parse(path.read_text()).body))))
        if below(name, HEAVY)
        and name.partition(".")[0] not in ALLOWED_AT_TOP.get(str(path.relative_to(ROOT)), set())
    ]
    assert wrong == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_form_no_circle_not_even_for_typing(folder: str) -> None:
    modules = {module_of(path, folder): path for path in sources(folder)}
    graph = {name: own_imports(path, name, set(modules)) for name, path in modules.items()}
    assert any(graph.values())
    assert set(TopologicalSorter(graph).static_order()) >= set(modules)


def folder_of(module: str) -> str:
    """The folder of a module below its root package, or the module beside the folders."""
    parts = module.split(".")
    return parts[2] if len(parts) > 2 else "__init__"


@pytest.mark.parametrize("folder", ORDER)
def test_a_folder_imports_only_from_those_before_it(folder: str) -> None:
    modules = {module_of(path, folder): path for path in sources(folder)}
    place = {name: number for number, name in enumerate(ORDER[folder])}
    wrong = [
        f"{name} imports {imported_name}"
        for name, path in modules.items()
        if folder_of(name) != "__init__"
        for imported_name in sorted(own_imports(path, name, set(modules)))
        if folder_of(imported_name) != "__init__"
        and place[folder_of(imported_name)] > place[folder_of(name)]
    ]
    assert wrong == []


@pytest.mark.parametrize("folder", ORDER)
def test_the_order_names_every_folder(folder: str) -> None:
    root = ROOT / folder / "tunefront" / folder
    beside = {path.stem for path in root.glob("*.py")} - {"__init__"}
    folders = {path.parent.name for path in root.glob("*/__init__.py")}
    assert set(ORDER[folder]) == beside | folders
    assert len(beside) + 1 <= MOST_FILES_BESIDE_FOLDERS


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_holds_few_files(folder: str) -> None:
    folders = {path.parent for path in sources(folder)}
    counted = {
        str(path.relative_to(ROOT)): sum(inner.is_file() for inner in path.iterdir())
        for path in folders
        if path.name != "commands"
    }
    assert {name: count for name, count in counted.items() if count > MOST_FILES} == {}


def names_defined(path: Path) -> Iterator[str]:
    """Names that a module defines at its top level; what it imports is not among them."""
    for statement in ast.parse(path.read_text()).body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield statement.name
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            for target in targets:
                yield from (n.id for n in ast.walk(target) if isinstance(n, ast.Name))


def test_a_module_level_name_is_defined_in_one_module() -> None:
    where: dict[str, list[str]] = defaultdict(list)
    for folder in FOLDERS:
        for path in sources(folder):
            for name in set(names_defined(path)):
                if not name.startswith("_") and name not in DEFINED_AGAIN:
                    where[name].append(str(path.relative_to(ROOT)))
    assert {name: paths for name, paths in where.items() if len(paths) > 1} == {}


def choices_read_with_a_default(path: Path) -> Iterator[str]:
    """Calls of `get` with the name of a choice and what holds without it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if (
            isinstance(node, ast.Call)
            and ast.unparse(node.func).endswith(".get")
            and len(node.args) == 2
            and isinstance(node.args[0], ast.Constant)
            and node.args[0].value in builtin_catalog().kinds
        ):
            yield f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("folder", FOLDERS)
def test_defaults_of_choices_are_filled_in_by_complete_alone(folder: str) -> None:
    assert [found for path in sources(folder) for found in choices_read_with_a_default(path)] == []


def commands_of_python(path: Path) -> Iterator[list[str]]:
    """The constant words of every list or tuple that starts a module or a program of Python's."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.List | ast.Tuple):
            words = [ast.unparse(one) for one in node.elts]
            if "'-m'" in words or "'-c'" in words:
                yield words


@pytest.mark.parametrize("folder", FOLDERS[1:])
def test_no_process_has_the_working_folder_on_pythons_path(folder: str) -> None:
    """With `-m` alone, a `queue.py` in the user's working folder would run instead of Python's."""
    found = {str(p.relative_to(ROOT)): list(commands_of_python(p)) for p in sources(folder)}
    commands = [(path, words) for path, several in found.items() for words in several]
    assert len(commands) >= 2
    assert [(path, words) for path, words in commands if "'-P'" not in words] == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_importing_loads_no_heavy_library(folder: str) -> None:
    loaded = run(f"import sys, json, tunefront.{folder}; print(json.dumps(list(sys.modules)))")
    assert sorted(set(json.loads(loaded)) & set(HEAVY)) == []


@pytest.mark.parametrize("folder", ["spaces", "evaluators"])
def test_the_inner_folders_work_where_the_outer_ones_libraries_are_absent(folder: str) -> None:
    absent = "ray", "optuna", "mlflow", "tunefront.search"
    blocked = f"import sys; sys.modules.update(dict.fromkeys({absent}))"
    run(f"{blocked}; import tunefront.{folder}")


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"]])
def test_the_command_line_answers_without_heavy_libraries(arguments: list[str]) -> None:
    program = f"""
import atexit, sys
atexit.register(lambda: print("loaded", sorted(set(sys.modules) & set({HEAVY}))))
from tunefront.search.cli import main
main()
"""
    assert run(program, *arguments).splitlines()[-1] == "loaded []"


def test_a_search_is_planned_without_heavy_libraries(tmp_path: Path) -> None:
    file = tmp_path / "experiment.yaml"
    file.write_text(EXPERIMENT)
    program = f"""
import sys
from tunefront.search.experiment.resolver import load_experiment
from tunefront.search.run.preflight import runnable_or_error
from tunefront.search.terminal.plan import plan_lines
experiment = load_experiment(sys.argv[1])
print(*plan_lines(experiment, runnable_or_error(experiment)), sep="\\n")
print("loaded", sorted(set(sys.modules) & set({HEAVY})))
"""
    printed = run(program, str(file)).splitlines()
    assert printed[0].startswith("house: causal-lm")
    assert printed[-1] == "loaded []"


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_source_root_is_a_namespace_with_one_package_that_has_types(folder: str) -> None:
    root = ROOT / folder
    assert not (root / "__init__.py").exists()
    assert not (root / "tunefront" / "__init__.py").exists()
    assert [path.name for path in (root / "tunefront").iterdir() if path.is_dir()] == [folder]
    assert (root / "tunefront" / folder / "__init__.py").is_file()
    assert (root / "tunefront" / folder / "py.typed").is_file()


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_a_package_exports_is_there(folder: str) -> None:
    package = importlib.import_module(f"tunefront.{folder}")
    assert package.__all__ == sorted(package.__all__, key=_as_ruff_sorts)
    assert [name for name in package.__all__ if not hasattr(package, name)] == []


def _as_ruff_sorts(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)
