"""A configuration: one value for every active choice. Frozen, hashable, in one canonical order."""

import json
from collections.abc import Iterator, Mapping
from typing import cast

from .choice import STAGES, Stage, Value


class Configuration(Mapping[str, Value]):
    """Values by the name of their choice; equal when names and values are, whatever the order.

    Args:
        values: The active choices and their values. Numbers equal in value are one value: a ratio
            `0` and a ratio `0.0` name the same configuration.
    """

    __slots__ = ("_hash", "_values")

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values: dict[str, Value] = dict(values)
        self._hash = hash(frozenset(self._values.items()))

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Configuration):
            return NotImplemented
        return self._values == other._values

    def __repr__(self) -> str:
        return f"Configuration({self.label()})"

    def text(self, name: str) -> str:
        """The value of a choice that holds words."""
        return cast(str, self._values[name])

    def number(self, name: str) -> float:
        """The value of a choice that holds numbers."""
        return float(self._values[name])

    def integer(self, name: str) -> int:
        """The value of a choice that holds whole numbers."""
        return int(self._values[name])

    def up_to(self, stage: Stage, stages: Mapping[str, Stage]) -> dict[str, Value]:
        """The values that what is made by the end of `stage` depends on.

        Args:
            stage: The last stage that counts.
            stages: The stage of every choice, by name.
        """
        last = STAGES.index(stage)
        return {
            name: value
            for name, value in sorted(self._values.items())
            if STAGES.index(stages[name]) <= last
        }

    def label(self) -> str:
        """`name=value` pairs in order, for messages."""
        return " ".join(f"{name}={show(value)}" for name, value in self._values.items())

    def to_json(self) -> str:
        """Canonical text: equal configurations give equal text."""
        canonical = {
            name: float(value) if isinstance(value, int) and not isinstance(value, bool) else value
            for name, value in sorted(self._values.items())
        }
        return json.dumps(canonical, separators=(",", ":"))


def show(value: Value) -> str:
    """One way to write a value everywhere: no trailing zeros, lower-case booleans."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
