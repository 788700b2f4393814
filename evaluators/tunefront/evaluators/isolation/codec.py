"""Codec between frozen dataclasses and plain JSON values, driven by type hints.

Each value that crosses a process or is recorded is written by `to_plain`, read by `from_plain`.
Supported hints: dataclasses, `tuple`, `Sequence`, `list`, `Mapping`, `dict`, classes that are built
from a mapping, `Path`, `Literal`, enums, unions, numpy arrays, and `Any` or `object` for values
that are plain already. Infinite numbers, which JSON lacks, are the texts "Infinity" and
"-Infinity", which JavaScript's `Number` reads. Reading is strict: an unknown field, a missing field
without a default, and a value of another type are errors; only an int is accepted as a float.
"""

import dataclasses
import enum
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from tunefront.spaces import TunefrontError

ValueT = TypeVar("ValueT")
_Decoder = Callable[[Any], Any]
_Encoder = Callable[[Any], Any]
_SCALARS = frozenset({str, int, float, bool, type(None)})
_INFINITE = ("-Infinity", "Infinity")
_LONGEST_VALUE = 80
"""Maximum characters of a wrong value in an error message."""


class CodecError(TunefrontError, ValueError):
    """A value that can't be read as its type; the message has the field's path and the value.

    Args:
        problem: What was wanted and what was found.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.steps: list[str] = []
        """Path to the value, from the innermost step to the outermost."""

    def __str__(self) -> str:
        return f"{''.join(reversed(self.steps))}: {self.problem}"


def to_plain(value: object) -> Any:
    """Return the JSON value of a value: scalars, lists, and dictionaries with text keys.

    Raises:
        CodecError: If a part of the value has a type that the codec does not support.
    """
    kind: Any = type(value)
    if kind is float and math.isinf(value):  # type: ignore[arg-type]
        return _INFINITE[value > 0]  # type: ignore[operator]
    return value if kind in _SCALARS else _encoder(kind)(value)


def from_plain(kind: type[ValueT], plain: object) -> ValueT:
    """Return the value of type `kind` whose `to_plain` is `plain`.

    Args:
        kind: A dataclass, or any other supported hint, for example `tuple[Sample, ...]`.
        plain: JSON values.

    Raises:
        CodecError: If `plain` does not have the form of `kind`; names the field's path, the value
            and the wanted type.
    """
    try:
        hint: Any = kind  # mypy does not take a type variable's class for hashable
        found: ValueT = _decoder(hint)(plain)
    except CodecError as error:
        error.steps.append(_name(kind))
        raise
    return found


@cache
def _encoder(kind: Any) -> _Encoder:
    """Return the function that encodes values of a class."""
    if dataclasses.is_dataclass(kind):
        return partial(_encode_dataclass, tuple(f.name for f in dataclasses.fields(kind)))
    if issubclass(kind, enum.Enum):
        return lambda value: to_plain(value.value)
    if issubclass(kind, Mapping):
        return lambda value: {_key(name): to_plain(one) for name, one in value.items()}
    if issubclass(kind, Path):
        return str
    for scalar in (bool, int, float, str):  # for example numpy.float64, which is a float
        if issubclass(kind, scalar):
            return scalar
    if hasattr(kind, "tolist"):  # numpy arrays and numbers
        return lambda value: value.tolist()
    if issubclass(kind, list | tuple | set | frozenset):
        return _encode_items
    raise CodecError(f"no JSON form for a value of type {kind.__name__}")


def _encode_dataclass(names: tuple[str, ...], value: object) -> dict[str, Any]:
    return {name: to_plain(getattr(value, name)) for name in names}


def _encode_items(values: Sequence[object]) -> list[Any]:
    if _SCALARS.issuperset(map(type, values)):
        return list(values)
    return [to_plain(value) for value in values]


def _key(name: object) -> str:
    if isinstance(name, str | int) and not isinstance(name, bool):
        return str(name)
    raise CodecError(f"a key must be text or a whole number, but got {name!r}")


@cache
def _decoder(hint: Any) -> _Decoder:
    """Return the function that decodes plain values of a type hint."""
    if hint in (Any, object):
        return _same
    origin = get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        return _union(get_args(hint))
    if origin is Literal:
        return partial(_decode_literal, get_args(hint))
    kind: Any = origin or hint
    if kind in _SCALARS:
        return _float if kind is float else partial(_decode_exact, kind)
    if dataclasses.is_dataclass(kind):
        return partial(_decode_dataclass, kind)
    if kind.__module__ == "numpy":
        return partial(_decode_array, hint)
    if issubclass(kind, Path):
        return _decode_path
    if issubclass(kind, enum.Enum):
        return partial(_decode_enum, kind)
    return _collection(hint, kind)


def _collection(hint: Any, kind: type) -> _Decoder:
    arguments = get_args(hint)
    if issubclass(kind, Mapping):
        if not arguments:
            return partial(_decode_mapping_class, dict if kind is Mapping else kind)
        key = _decode_int_key if arguments[0] is int else _decoder(arguments[0])
        return partial(_decode_mapping, key, _decoder(arguments[1]))
    if issubclass(kind, tuple) and arguments and arguments[-1] is not Ellipsis:
        return partial(_decode_fixed, tuple(_decoder(one) for one in arguments))
    if issubclass(kind, Sequence):
        item = arguments[0] if arguments else object
        return partial(_decode_items, list if kind is list else tuple, _decoder(item), item)
    raise CodecError(f"no JSON form for values of type {_name(hint)}")


def _same(plain: object) -> object:
    return plain


def _float(plain: object) -> float:
    if isinstance(plain, float):
        return plain
    if type(plain) is int or plain in _INFINITE:
        return float(plain)
    raise _wrong(float, plain)


def _decode_exact(kind: type, plain: object) -> object:
    if type(plain) is kind:
        return plain
    raise _wrong(kind, plain)


def _decode_path(plain: object) -> Path:
    if isinstance(plain, str):
        return Path(plain)
    raise _wrong(Path, plain)


def _decode_literal(allowed: tuple[object, ...], plain: object) -> object:
    if plain in allowed:
        return plain
    raise CodecError(f"wanted one of {', '.join(map(repr, allowed))}, but got {_shown(plain)}")


def _decode_enum(kind: type[enum.Enum], plain: object) -> enum.Enum:
    try:
        return kind(plain)
    except ValueError:
        raise _wrong(kind, plain) from None


def _decode_array(hint: Any, plain: object) -> Any:
    import numpy as np

    dtype = get_args(get_args(hint)[1])[0] if get_args(hint) else None
    try:
        return np.array(plain, dtype=None if dtype is Any else dtype)
    except (TypeError, ValueError):
        raise _wrong(hint, plain) from None


def _decode_items(
    collect: Callable[[Any], Any], item: _Decoder, hint: object, plain: object
) -> Any:
    if not isinstance(plain, list | tuple):
        raise _wrong(list, plain)
    if hint in _SCALARS and {hint}.issuperset(map(type, plain)):
        return collect(plain)  # thousands of numbers are checked without a call for each
    done: list[object] = []
    try:
        for one in plain:
            done.append(item(one))
    except CodecError as error:
        error.steps.append(f"[{len(done)}]")
        raise
    return collect(done)


def _decode_fixed(items: tuple[_Decoder, ...], plain: object) -> tuple[Any, ...]:
    if not isinstance(plain, list | tuple) or len(plain) != len(items):
        raise CodecError(f"wanted a list of {len(items)} values, but got {_shown(plain)}")
    done: list[object] = []
    try:
        for item, one in zip(items, plain, strict=True):
            done.append(item(one))
    except CodecError as error:
        error.steps.append(f"[{len(done)}]")
        raise
    return tuple(done)


def _decode_mapping(key: _Decoder, value: _Decoder, plain: object) -> dict[Any, Any]:
    if not isinstance(plain, Mapping):
        raise _wrong(Mapping, plain)
    found: dict[Any, Any] = {}
    for name, one in plain.items():
        try:
            found[key(name)] = value(one)
        except CodecError as error:
            error.steps.append(f"[{name}]")
            raise
    return found


def _decode_int_key(plain: object) -> int:
    try:
        return int(str(plain))
    except ValueError:
        raise CodecError(f"wanted a whole number as key, but got {_shown(plain)}") from None


def _decode_mapping_class(kind: Callable[[Any], Any], plain: object) -> Any:
    if not isinstance(plain, Mapping):
        raise _wrong(kind, plain)
    return kind(plain)


def _union(members: tuple[Any, ...]) -> _Decoder:
    scalars = frozenset(member for member in members if member in _SCALARS)
    others = tuple(_decoder(m) for m in members if m is not type(None))
    names = " or ".join(map(_name, members))
    return partial(_decode_union, scalars, others, names)


def _decode_union(
    scalars: frozenset[type], others: tuple[_Decoder, ...], names: str, plain: object
) -> object:
    if type(plain) in scalars:
        return plain
    if len(others) == 1:
        return others[0](plain)
    for decode in others:
        try:
            return decode(plain)
        except CodecError:
            continue
    raise CodecError(f"wanted {names}, but got {_shown(plain)}")


def _decode_dataclass(kind: Any, plain: object) -> Any:
    decoders, required = _fields(kind)
    if not isinstance(plain, Mapping):
        raise _wrong(kind, plain)
    values: dict[str, Any] = {}
    for name, one in plain.items():
        decode = decoders.get(name)
        if decode is None:
            raise CodecError(f"unknown field {name!r}; known: {', '.join(decoders)}")
        try:
            values[name] = decode(one)
        except CodecError as error:
            error.steps.append(f".{name}")
            raise
    missing = required - values.keys()
    if missing:
        raise CodecError(f"missing field {min(missing)!r}")
    return kind(**values)


@cache
def _fields(kind: Any) -> tuple[Mapping[str, _Decoder], frozenset[str]]:
    """Return a dataclass's decoders by field name, and the names of fields without a default."""
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)
    missing = dataclasses.MISSING
    required = [f.name for f in fields if f.default is missing and f.default_factory is missing]
    return {f.name: _decoder(hints[f.name]) for f in fields}, frozenset(required)


def _wrong(kind: object, plain: object) -> CodecError:
    return CodecError(f"wanted {_name(kind)}, but got {_shown(plain)}")


def _name(kind: object) -> str:
    if kind is type(None):
        return "None"
    return kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)


def _shown(plain: object) -> str:
    text = repr(plain)
    cut = text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."
    return f"{cut} ({type(plain).__name__})"
