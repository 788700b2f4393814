"""Source code of definitions and all that they use, as one text that imports nothing of Tunefront.

The scripts of an export contain the code that was measured, not a second version of it.
"""

import ast
import importlib.util
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE_ROOT = "tunefront"
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def bundle(names: Sequence[str], without: Collection[str] = ()) -> str:
    """Return the source of definitions, with all definitions that they use.

    Names that stand in annotations only are not followed: a script with the text has to begin with
    `from __future__ import annotations` unless these are names of other libraries.

    Args:
        names: The definitions, each as `module:name`.
        without: Names of methods that are left out of every class.

    Returns:
        Imports, then definitions in an order in which they can be run.

    Raises:
        ValueError: If a name is not found, or two modules define one name differently.
    """
    bundled = _Bundle(without=frozenset(without))
    for name in names:
        module, _, defined = name.partition(":")
        bundled.add(module, defined)
    return bundled.text()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Definition:
    """A statement that defines names; `describes` is the text in quotes after a constant."""

    statement: ast.stmt
    describes: ast.stmt | None = None


class _Module:
    """The definitions and imports of a module, read from its file."""

    def __init__(self, name: str) -> None:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise ValueError(f"there is no module {name}")
        self.name = name
        self._package = name if spec.submodule_search_locations else name.rpartition(".")[0]
        source = Path(spec.origin).read_text()
        self.lines = source.splitlines()
        self._tree = ast.parse(source)

    @cached_property
    def definitions(self) -> dict[str, _Definition]:
        """Statements by the names that they define."""
        found: dict[str, _Definition] = {}
        following = [*self._tree.body[1:], None]
        for statement, after in zip(self._tree.body, following, strict=True):
            text = after if isinstance(after, ast.Expr) and _is_text(after) else None
            for name in _defined(statement):
                describes = None if isinstance(statement, ast.ClassDef | _Function) else text
                found[name] = _Definition(statement=statement, describes=describes)
        return found

    @cached_property
    def inner(self) -> dict[str, tuple[str, str]]:
        """Module and name of what is imported from Tunefront, anywhere, by its name here."""
        return {
            one.name: (self._absolute(statement), one.name)
            for statement in ast.walk(self._tree)
            if isinstance(statement, ast.ImportFrom) and is_inner(statement)
            for one in statement.names
        }

    @cached_property
    def outer(self) -> dict[str, tuple[str, str]]:
        """What is imported from other libraries at the top of the file, by its name here."""
        return {
            (one.asname or one.name).partition(".")[0]: _import_of(statement, one)
            for statement in self._tree.body
            if isinstance(statement, ast.Import | ast.ImportFrom) and not is_inner(statement)
            for one in statement.names
        }

    def _absolute(self, statement: ast.ImportFrom) -> str:
        if not statement.level:
            return str(statement.module)
        parts = self._package.split(".")
        base = parts[: len(parts) - statement.level + 1]
        return ".".join([*base, *([statement.module] if statement.module else [])])


@dataclass(slots=True, kw_only=True)
class _Bundle:
    """What has been found: the statements to write, by module, and the imports."""

    without: frozenset[str]
    modules: dict[str, _Module] = field(default_factory=dict)
    taken: dict[str, str] = field(default_factory=dict)
    uses: dict[str, set[str]] = field(default_factory=dict)
    imports: set[tuple[str, str]] = field(default_factory=set)

    def add(self, module: str, name: str) -> str:
        """Add a definition with all that it uses; return the module that has it.

        Raises:
            ValueError: If there is none, or another module defines the name differently.
        """
        known = self._module(module)
        if name in known.inner and name not in known.definitions:
            return self.add(*known.inner[name])
        if name not in known.definitions:
            raise ValueError(f"{module} does not define {name}")
        if (other := self.taken.setdefault(name, module)) != module:
            raise ValueError(f"{name} is defined in {other} and in {module}; rename one of them")
        first = (module, name) not in self._added
        if first:
            self._added.add((module, name))
            self._follow(known, known.definitions[name].statement)
        return module

    _added: set[tuple[str, str]] = field(default_factory=set)

    def _module(self, name: str) -> _Module:
        if name not in self.modules:
            self.modules[name] = _Module(name)
        return self.modules[name]

    def _follow(self, module: _Module, statement: ast.stmt) -> None:
        """Add what a statement uses."""
        names = _Names(self.without)
        names.visit(statement)
        for name in sorted(names.run | names.written):
            if name in module.outer:
                self.imports.add(module.outer[name])
            elif name in names.run and (name in module.definitions or name in module.inner):
                found = self.add(module.name, name)
                self.uses.setdefault(module.name, set()).add(found)

    def text(self) -> str:
        """Return the imports and the definitions."""
        for module in set(self.taken.values()):
            self.uses.setdefault(module, set())
        graph = {name: used - {name} for name, used in self.uses.items()}
        parts = [
            part
            for name in TopologicalSorter(graph).static_order()
            for part in self._parts(self.modules[name])
        ]
        return "\n\n\n".join(["\n".join(_import_lines(self.imports)), *parts])

    def _parts(self, module: _Module) -> Iterator[str]:
        """Yield the text of each statement of a module, in its order there."""
        chosen = {
            one.statement.lineno: one
            for name, one in module.definitions.items()
            if self.taken.get(name) == module.name
        }
        for _, one in sorted(chosen.items()):
            lines = _lines_of(module, one.statement, self.without)
            if one.describes is not None:
                lines += _lines_of(module, one.describes, self.without)
            yield "\n".join(lines)


class _Names(ast.NodeVisitor):
    """The names that a statement uses: `run` in what runs, `written` in annotations."""

    def __init__(self, without: Collection[str]) -> None:
        self._without = without
        self.run: set[str] = set()
        self.written: set[str] = set()

    def visit_Name(self, node: ast.Name) -> None:
        self.run.add(node.id)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._function(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._annotation(node.annotation)
        if node.value is not None:
            self.visit(node.value)

    def visit_arg(self, node: ast.arg) -> None:
        self._annotation(node.annotation)

    def _function(self, node: _Function) -> None:
        if node.name in self._without:
            return
        self._annotation(node.returns)
        for one in (*node.decorator_list, node.args, *node.body):
            self.visit(one)

    def _annotation(self, node: ast.expr | None) -> None:
        if node is not None:
            self.written |= {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}


def is_inner(statement: ast.Import | ast.ImportFrom) -> bool:
    """Return whether a statement imports from Tunefront."""
    if isinstance(statement, ast.Import):
        return any(one.name.partition(".")[0] == PACKAGE_ROOT for one in statement.names)
    return statement.level > 0 or str(statement.module).partition(".")[0] == PACKAGE_ROOT


def _is_text(statement: ast.Expr) -> bool:
    return isinstance(statement.value, ast.Constant) and isinstance(statement.value.value, str)


def _defined(statement: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement at the top of a module defines."""
    if isinstance(statement, ast.ClassDef | _Function):
        yield statement.name
    elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        yield statement.target.id
    elif isinstance(statement, ast.Assign):
        for target in statement.targets:
            yield from (one.id for one in ast.walk(target) if isinstance(one, ast.Name))


def _lines_of(module: _Module, statement: ast.stmt, without: Collection[str]) -> list[str]:
    """Return the lines of a statement, without some methods and without imports of Tunefront."""
    left_out: set[int] = set()
    for node in ast.walk(statement):
        inner = isinstance(node, ast.ImportFrom) and is_inner(node)
        if inner or (isinstance(node, _Function) and node.name in without):
            assert isinstance(node, ast.stmt)
            left_out |= set(_numbers(node))
    found: list[str] = []
    for number in _numbers(statement):
        line = module.lines[number - 1]
        if number not in left_out and (line or found[-1:] != [""]):
            found.append(line)
    return found if found[-1] else found[:-1]


def _numbers(statement: ast.stmt) -> range:
    """Return the numbers of the lines of a statement, with its decorators."""
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    first = min([statement.lineno, *(one.lineno for one in decorators)])
    return range(first, (statement.end_lineno or first) + 1)


def _import_of(statement: ast.Import | ast.ImportFrom, name: ast.alias) -> tuple[str, str]:
    """Return the module that a name is imported from, empty for a whole module, and the name."""
    written = f"{name.name} as {name.asname}" if name.asname else name.name
    return ("" if isinstance(statement, ast.Import) else str(statement.module), written)


def _import_lines(imports: Collection[tuple[str, str]]) -> list[str]:
    """Return import statements, one for each module."""
    modules = sorted({module for module, _ in imports if module})
    by_module = {m: sorted(name for module, name in imports if module == m) for m in modules}
    return [
        *(f"import {name}" for module, name in sorted(imports) if not module),
        *(f"from {module} import {', '.join(names)}" for module, names in by_module.items()),
    ]
