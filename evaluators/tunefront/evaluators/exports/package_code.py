"""Parts of a `.pt2` package that run code when it is opened, found without opening it.

`torch.export.load` unpickles weights and constants that are marked so, custom objects and sample
inputs, and loads compiled libraries. It also evaluates the graph's symbolic expressions and guards
as Python, and writes the names of its nodes into Python code. What `tunefront export` writes has
none of these parts, only plain names, and expressions of a small grammar; libraries are only in
packages that were compiled.
"""

import ast
import json
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from .contents import entries, shown_name

PACKAGE_SUFFIX = ".pt2"
_PARTS = re.compile(
    r"archive_format|archive_version|byteorder|\.data/version|\.data/serialization_id"
    r"|models/\w+\.json|data/sample_inputs/\w+\.pt"
    r"|data/weights/(weight_\d+|\w+_weights_config\.json)"
    r"|data/constants/(tensor_\d+|\w+_constants_config\.json)",
    re.ASCII,
)
_LIBRARIES = re.compile(r"data/aotinductor/[\w./-]+", re.ASCII)
_PAYLOAD = re.compile(r"(weight|tensor)_\d+", re.ASCII)
_NAME = re.compile(r"[\w.-]*", re.ASCII)
_WORDS = re.compile(r"[\w .-]*", re.ASCII)

_EXPRESSIONS = frozenset({"expr_str", "guards_code"})
_TREES = frozenset({"in_spec", "out_spec"})
_NOT_CODE = frozenset({"metadata", "torch_version", "as_string", "as_strings"})
"""Keys of a program whose texts are shown or passed to operators."""
_NODES = (
    *(ast.Expression, ast.Call, ast.keyword, ast.Name, ast.Attribute, ast.Subscript, ast.Constant),
    *(ast.Compare, ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.IfExp, ast.Tuple),
    *(ast.expr_context, ast.operator, ast.unaryop, ast.cmpop, ast.boolop),
)
_SYMPY = r"Symbol|Integer|Rational|Float|Add|Mul|Pow|Abs|Min|Max|floor|ceiling|true|false|oo|nan"
_RELATIONS = (
    r"Equality|Unequality|(Strict)?(Greater|Less)Than|And|Or|Not|Piecewise|ExprCondPair|Tuple"
)
_SIZES = (
    r"(Python)?Mod|(Floor|Clean|Ceil)Div|(Ceil|Floor|Trunc|Round)ToInt|ModularIndexing|Where"
    r"|[LR]Shift|PowByNatural|FloatPow|(Float|Int)TrueDiv|TruncToFloat|RoundDecimal|ToFloat"
    r"|IsNonOverlappingAndDenseIndicator|Identity"
)
_GUARDS = r"L|math|torch|abs|max|min|round|int|float|inf"
_FUNCTIONS = re.compile("|".join((_SYMPY, _RELATIONS, _SIZES, _GUARDS)))
"""Names in expressions: of sympy, of torch's functions for sizes, and of its guards."""
_ATTRIBUTES = re.compile(
    r"size|stride|storage_offset|floor|ceil|trunc|sqrt|_sym_sqrt|sym_(float|int|max|min|not|ite)"
)


def code_in_packages(folder: Path, *, compiled: bool) -> list[str]:
    """Return the parts of all packages below a folder that would run code; empty without any.

    Args:
        folder: The folder of an export.
        compiled: Whether its packages hold compiled libraries by design.
    """
    return [
        f"{shown_name(entry.name)}: {problem}"
        for entry in entries(folder)
        if entry.kind == "file" and entry.name.endswith(PACKAGE_SUFFIX)
        for problem in code_in_package(folder / entry.name, compiled=compiled)
    ]


def code_in_package(path: Path, *, compiled: bool) -> list[str]:
    """Return the parts of a package that would run code.

    The package is read twice, by Python's reader and by torch's, if torch is installed: an archive
    can be made so that the two find different parts.
    """
    try:
        with zipfile.ZipFile(path) as package:
            names, read = _python_view(package)
            problems = [*_problems(names, read, compiled=compiled)]
        return problems or _problems_for_torch(path, compiled=compiled)
    except (OSError, ValueError, RuntimeError, RecursionError, zipfile.BadZipFile) as error:
        return [f"it can't be read as a package: {error}"]


def _python_view(package: zipfile.ZipFile) -> tuple[Sequence[str], Callable[[str], bytes]]:
    """Return the names of the parts without the archive's own name, and their reader."""
    full = package.namelist()
    root = full[0].partition("/")[0] + "/" if full else "/"
    if any(info.compress_type != zipfile.ZIP_STORED for info in package.infolist()):
        raise ValueError("its parts are compressed")
    return [name.removeprefix(root) for name in full], lambda name: package.read(root + name)


def _problems_for_torch(path: Path, *, compiled: bool) -> list[str]:
    try:
        import torch
    except ImportError:
        return []
    reader = torch._C.PyTorchFileReader(str(path))
    return [*_problems(reader.get_all_records(), reader.get_record, compiled=compiled)]


def _problems(
    names: Sequence[str], read: Callable[[str], bytes], *, compiled: bool
) -> Iterator[str]:
    if len({name.casefold() for name in names}) != len(names):
        yield "several of its parts have one name"
        return
    for name in names:
        if not _PARTS.fullmatch(name) and not (compiled and _LIBRARIES.fullmatch(name)):
            yield f"{shown_name(name)} does not belong into an exported program"
        elif name.startswith("data/sample_inputs/") and read(name):
            yield f"{name} is pickled"
        elif name.endswith("_config.json"):
            yield from _pickled(name, json.loads(read(name)))
        elif name.startswith("models/"):
            yield from _code_in_program(json.loads(read(name)))


def _pickled(name: str, config: Any) -> Iterator[str]:
    """Yield the weights or constants of a configuration that torch would unpickle."""
    if not isinstance(config, dict) or not isinstance(config.get("config"), dict):
        yield f"{name} has no `config`"
        return
    for key, entry in config["config"].items():
        plain = isinstance(entry, dict) and entry.get("use_pickle") is False
        if not plain or not _PAYLOAD.fullmatch(str(entry.get("path_name"))):
            yield f"{shown_name(key)} is pickled"


def _code_in_program(value: Any, key: str = "") -> Iterator[str]:
    """Yield the texts of a program that are no plain names, and the expressions that are code."""
    if isinstance(value, dict):
        for name, part in value.items():
            if not _NAME.fullmatch(name):
                yield f"{shown_name(name)[:100]} is no name"
            elif name not in _NOT_CODE:
                yield from _code_in_program(part, name)
    elif isinstance(value, list):
        for part in value:
            yield from _code_in_program(part, key)
    elif isinstance(value, str) and not _is_harmless(value, key):
        yield f"{key} holds code: {shown_name(value)[:100]}"


def _is_harmless(text: str, key: str) -> bool:
    if key in _EXPRESSIONS:
        return is_arithmetic(text)
    if key in _TREES:
        return _is_plain_tree(json.loads(text))
    return bool(_NAME.fullmatch(text))


@lru_cache(maxsize=4096)
def is_arithmetic(text: str) -> bool:
    """Return whether a text is an expression of sizes: known functions and operators only."""
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return all(isinstance(node, _NODES) and _is_known(node) for node in nodes)


def _is_known(node: ast.AST) -> bool:
    if isinstance(node, ast.Name):
        return bool(_FUNCTIONS.fullmatch(node.id))
    if isinstance(node, ast.Attribute):
        return bool(_ATTRIBUTES.fullmatch(node.attr))
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return bool(_WORDS.fullmatch(node.value))
    return True


def _is_plain_tree(value: Any) -> bool:
    """Return whether the structure of inputs or outputs names plain containers only.

    Contexts are JSON texts themselves; one that is a mapping names a class to import.
    """
    if isinstance(value, Mapping):
        context = value.get("context")
        inner = json.loads(context) if isinstance(context, str) else context
        rest = [part for name, part in value.items() if name != "context"]
        return not isinstance(inner, Mapping) and all(map(_is_plain_tree, [inner, *rest]))
    if isinstance(value, list):
        return all(map(_is_plain_tree, value))
    return not isinstance(value, str) or bool(_NAME.fullmatch(value))
