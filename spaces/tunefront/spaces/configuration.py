"""A configuration: one value for every active choice; immutable and hashable."""

import json
from collections.abc import Iterator, Mapping
from typing import cast

from .choice import STAGES, Stage, Value


class Configuration(Mapping[str, Value]):
    """Values by choice name; equality ignores the order.

    Args:
        values: The active choices and their values. Equal numbers of different types are the same
            value: ratios `0` and `0.0` give the same configuration.
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

    def __reduce__(self) -> tuple[type["Configuration"], tuple[dict[str, Value]]]:
        """Build it again where it is unpickled: hashes of texts differ between processes."""
        return Configuration, (self._values,)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Configuration):
            return NotImplemented
        return self._values == other._values

    def __repr__(self) -> str:
        return f"Configuration({self.label()})"

    def text(self, name: str) -> str:
        """Return the value of a categorical choice."""
        return cast(str, self._values[name])

    def number(self, name: str) -> float:
        """Return the value of a numeric choice as a float."""
        return float(self._values[name])

    def integer(self, name: str) -> int:
        """Return the value of a choice of whole numbers."""
        return int(self._values[name])

    def up_to(self, stage: Stage, stages: Mapping[str, Stage]) -> dict[str, Value]:
        """Return the values that the output of `stage` depends on: this and earlier stages.

        Args:
            stage: The last stage included.
            stages: Stage of every choice, by name.
        """
        last = STAGES.index(stage)
        return {
            name: value
            for name, value in sorted(self._values.items())
            if STAGES.index(stages[name]) <= last
        }

    def label(self) -> str:
        """Return `name=value` pairs in order, for messages."""
        return " ".join(f"{name}={show(value)}" for name, value in self._values.items())

    def to_json(self) -> str:
        """Return canonical JSON: equal configurations give equal text."""
        canonical = {
            name: float(value) if isinstance(value, int) and not isinstance(value, bool) else value
            for name, value in sorted(self._values.items())
        }
        return json.dumps(canonical, separators=(",", ":"))


def show(value: Value) -> str:
    """Format a value: no trailing zeros, lower-case booleans."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
