"""Choices that an experiment declares itself, for its own functions, commands and servers."""

from collections.abc import Mapping

from .choice import STAGES, Value
from .choice_kind import ChoiceKind
from .errors import SpaceError, did_you_mean

DECLARATION = frozenset({"stage"})
"""Keys by which a declaration differs from values of a known choice."""
_KEYS = frozenset({"values", "stage", "default", "changes_outputs", "help", "unit", "log", "when"})


def is_declaration(written: object) -> bool:
    """Return whether what a user wrote below `space` declares a choice: it names a stage."""
    return isinstance(written, Mapping) and bool(DECLARATION & set(written))


def declared_kind(name: str, written: Mapping[str, object]) -> ChoiceKind:
    """Return the kind of a declared choice.

    Args:
        name: Its name.
        written: `values` (a list) and `stage` (`model`, `runtime` or `execution`); optionally
            `default` (the first value if missing), `changes_outputs` (true if missing), `help`,
            `unit`, and `log` (whether numbers are compared by ratio).

    Raises:
        SpaceError: If a key is missing, unknown or has an invalid value.
    """
    if unknown := sorted(set(map(str, written)) - _KEYS):
        raise SpaceError(f"{name}: unknown key {unknown[0]!r}{did_you_mean(unknown[0], _KEYS)}")
    values = _values(name, written.get("values"))
    stage = written.get("stage")
    if stage not in STAGES:
        raise SpaceError(f"{name}: stage must be one of {', '.join(STAGES)}, but got {stage!r}")
    changes_outputs = written.get("changes_outputs", True)
    if not isinstance(changes_outputs, bool):
        raise SpaceError(
            f"{name}: changes_outputs must be true or false, but got {changes_outputs!r}"
        )
    wanted = written.get("default", values[0])
    default = next((value for value in values if value == wanted), None)
    if default is None:
        raise SpaceError(f"{name}: default must be one of {values}, but got {wanted!r}")
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    numbers = [float(value) for value in values] if numeric else []
    return ChoiceKind(
        name=name,
        stage=stage,
        default=default,
        help=str(written.get("help", "Declared in the experiment.")),
        words=None if numeric else {value: "" for value in values},
        low=min(numbers, default=0.0),
        high=max(numbers, default=0.0),
        whole=numeric and all(isinstance(value, int) for value in values),
        log=bool(written.get("log", False)),
        unit=str(written.get("unit", "")),
        short=f"{name}=",
        label_default=True,
        read_back="none",
        changes_outputs=changes_outputs,
    )


def _values(name: str, written: object) -> list[Value]:
    """Return the declared values.

    Raises:
        SpaceError: If they are not a list of texts, numbers, or true and false.
    """
    values = written if isinstance(written, list | tuple) else []
    plain = [value for value in values if isinstance(value, str | int | float)]
    if not values or len(plain) < len(values):
        raise SpaceError(
            f"{name}: values must be a list of texts, numbers, or true and false, "
            f"but got {written!r}"
        )
    return plain
