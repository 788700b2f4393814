"""The kind of a choice: its domain, stage and help text, before a user selects values."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from .choice import Choice, Condition, Stage, Value
from .errors import SpaceError, did_you_mean

ReadBackRule = Literal["equal", "own", "none"]
RANGE_KEYS = frozenset({"low", "high", "step", "log"})
LONGEST_RANGE = 10_000
"""Maximum number of values of a range; a larger one is taken for an input error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceKind:
    """A choice of the catalogue.

    Attributes:
        name: Its key in experiment files.
        stage: The stage that it affects.
        default: Its value if an experiment does not mention it.
        help: One sentence for `tunefront doctor --choices` and the documentation.
        words: Allowed values of a categorical choice, each with its meaning; None for numbers.
        low: Smallest allowed number.
        high: Largest allowed number.
        numbers: The allowed numbers in order, if only some between `low` and `high` are.
        whole: Whether only whole numbers are allowed.
        log: Whether values are compared by ratio instead of difference.
        unit: Unit of the numbers.
        when: Conditions that must hold for the choice to be active.
        short: What stands before its value in labels (`b` in `b8`).
        label_default: Whether labels show it at its default value, too.
        abbreviations: Values abbreviated in narrow columns; an empty one is left out.
        read_back: How a running candidate proves the choice: `equal` if its `facts()` hold the
            value under this name; `own` if the extension that declares the choice provides a
            function for it; `none` if it is a setting of the measurement itself.
        changes_outputs: Whether the outputs of the model depend on it; if so, quality is measured
            for each of its values.
        interfaces: Names of the interfaces whose tasks it applies to; other tasks have its default.
            All if empty.
    """

    name: str
    stage: Stage
    default: Value
    help: str
    words: Mapping[Value, str] | None = None
    low: float = -math.inf
    high: float = math.inf
    numbers: tuple[int, ...] = ()
    whole: bool = False
    log: bool = False
    unit: str = ""
    when: tuple[Condition, ...] = ()
    short: str = ""
    label_default: bool = False
    abbreviations: Mapping[Value, str] = field(default_factory=lambda: MappingProxyType({}))
    read_back: ReadBackRule = "equal"
    changes_outputs: bool = True
    interfaces: frozenset[str] = frozenset()

    def check(self, value: object) -> Value:
        """Validate `value` and return it in this kind's type.

        Raises:
            SpaceError: If it is not allowed; the message states the rule.
        """
        if self.words is not None:
            return self._check_word(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise SpaceError(f"{self.name}: a number is needed, but got {value!r}")
        if not self.low <= value <= self.high or math.isnan(value):
            raise SpaceError(
                f"{self.name}: `{self.low:g} <= {self.name} <= {self.high:g}` must hold, "
                f"but got {value:g}"
            )
        if math.isinf(value):
            raise SpaceError(f"{self.name}: a finite number is needed, but got {value:g}")
        if self.whole and value != int(value):
            raise SpaceError(f"{self.name}: a whole number is needed, but got {value:g}")
        if self.numbers and value not in self.numbers:
            raise SpaceError(
                f"{self.name}: one of {', '.join(map(str, self.numbers))} is needed, "
                f"but got {value:g}"
            )
        return int(value) if self.whole else float(value)

    def _check_word(self, value: object) -> Value:
        words = self.words or {}
        wanted = "none" if value is None else value
        for known in words:
            if type(known) is type(wanted) and known == wanted:
                return known
        known_texts = [str(known) for known in words]
        raise SpaceError(
            f"{self.name}: unknown value {value!r}{did_you_mean(str(value), known_texts)}"
        )

    def choice(self, written: object) -> Choice:
        """Parse what a user wrote: a value, a list, a range, or `{values, when}`.

        Raises:
            SpaceError: If a value, range or condition is invalid.
        """
        when = self.when
        if isinstance(written, dict) and "when" in written:
            written = dict(written)
            when = (*when, *_conditions(self.name, written.pop("when")))
        values = self._values(written)
        return Choice(
            name=self.name,
            values=tuple(self.check(value) for value in values),
            stage=self.stage,
            default=self.default,
            unit=self.unit,
            ordered=self.words is None,
            log=self.log,
            when=tuple(dict.fromkeys(when)),
        )

    def _values(self, written: object) -> list[object]:
        if isinstance(written, dict):
            if set(written) == {"values"}:
                return self._values(written["values"])
            if unknown := set(written) - RANGE_KEYS:
                name = sorted(map(str, unknown))[0]
                known = RANGE_KEYS | {"values", "when"}
                raise SpaceError(f"{self.name}: unknown key {name!r}{did_you_mean(name, known)}")
            return list(self._range(written))
        return list(written) if isinstance(written, list) else [written]

    def _range(self, written: Mapping[str, object]) -> list[float]:
        """Expand `{low, high, step}` in equal steps, or `{low, high, log: true}` by doubling."""
        if self.words is not None:
            raise SpaceError(f"{self.name}: a list of words is needed, but got a range")
        missing = {"low", "high"} - set(written)
        if missing:
            raise SpaceError(
                f"{self.name}: a range needs low and high, but {min(missing)} is missing"
            )
        low, high = float(self.check(written["low"])), float(self.check(written["high"]))
        if self.numbers and set(written) == {"low", "high"}:
            return [number for number in sorted(self.numbers) if low <= number <= high]
        if low > high:
            raise SpaceError(
                f"{self.name}: `low <= high` must hold, but got low={low:g}, high={high:g}"
            )
        if written.get("log"):
            return self._doubling(low, high, written)
        step = written.get("step", 1 if self.whole else None)
        if isinstance(step, bool) or not isinstance(step, int | float) or not step > 0:
            raise SpaceError(
                f"{self.name}: a range needs `step > 0` or `log: true`, but got step={step!r}"
            )
        count = math.floor((high - low) / step + 1e-9) + 1
        if count > LONGEST_RANGE:
            raise SpaceError(
                f"{self.name}: a range may hold at most {LONGEST_RANGE} values, "
                f"but step={step:g} gives {count}"
            )
        return [round(low + i * step, 12) for i in range(count)]

    def _doubling(self, low: float, high: float, written: Mapping[str, object]) -> list[float]:
        if "step" in written:
            raise SpaceError(f"{self.name}: a range has either step or log, but got both")
        if low <= 0:
            raise SpaceError(f"{self.name}: `low > 0` must hold with log, but got {low:g}")
        doublings = math.floor(math.log2(high) - math.log2(low) + 1e-9)  # high / low can overflow
        return [math.ldexp(low, i) for i in range(doublings + 1)]


def _conditions(name: str, written: object) -> tuple[Condition, ...]:
    if not isinstance(written, dict) or not written:
        raise SpaceError(
            f"{name}: when must map another choice to its values, e.g. "
            f"{{runtime: [torch]}}, but got {written!r}"
        )
    return tuple(Condition.parse(str(other), value) for other, value in written.items())
