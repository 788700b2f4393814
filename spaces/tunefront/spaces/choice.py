"""A choice: one dimension of the space, with values, unit, stage and conditions."""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, cast

from .errors import SpaceError

Value = str | int | float | bool
Stage = Literal["model", "runtime", "execution"]
STAGES: tuple[Stage, ...] = ("model", "runtime", "execution")
Operator = Literal["==", "!=", "<", "<=", ">", ">="]

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_EXPRESSION = re.compile(r"\s*(==|!=|<=|>=|<|>)\s*(.+?)\s*")


def parse_value(text: str) -> Value:
    """Convert text to int or float if possible; otherwise return the text."""
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A condition on another choice; the choice that has it is active only while it holds.

    Attributes:
        choice: Name of the other choice.
        test: Comparison operator; `==` and `!=` take several operands, the others one number.
        operands: Values that the other choice's value is compared with.
    """

    choice: str
    test: Operator
    operands: tuple[Value, ...]

    def __post_init__(self) -> None:
        if self.test in _COMPARE and not (
            len(self.operands) == 1 and isinstance(self.operands[0], int | float)
        ):
            raise SpaceError(
                f"when: {self.choice}: {self.test!r} must be followed by one number, "
                f"but got {list(self.operands)}; write e.g. '> 0'"
            )

    def holds(self, value: Value) -> bool:
        """Return whether `value` of the other choice satisfies the condition."""
        if self.test == "==":
            return value in self.operands
        if self.test == "!=":
            return value not in self.operands
        operand = self.operands[0]
        if not isinstance(value, int | float) or not isinstance(operand, int | float):
            return False
        return _COMPARE[self.test](value, operand)

    @classmethod
    def parse(cls, choice: str, written: object) -> "Condition":
        """Parse `value`, `[value, ...]` or `"> 0"`, as users write it below `when:`.

        Raises:
            SpaceError: If it has none of these forms.
        """
        if isinstance(written, str) and (match := _EXPRESSION.fullmatch(written)):
            test, text = match.groups()
            return cls(choice=choice, test=cast(Operator, test), operands=(parse_value(text),))
        values: list[object] = written if isinstance(written, list) else [written]
        plain = tuple(value for value in values if isinstance(value, str | int | float))
        if not values or len(plain) < len(values):
            raise SpaceError(
                f"when: {choice} must be a value, a list of values or a comparison such as "
                f"'> 0', but got {written!r}"
            )
        return cls(choice=choice, test="==", operands=plain)

    def __str__(self) -> str:
        shown = ", ".join(str(operand) for operand in self.operands)
        return f"{self.choice} {self.test} {shown}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One dimension of the space.

    Attributes:
        name: Its key in files, records and configurations.
        values: Values to choose from, in order if `ordered`; the order is not checked.
        stage: The stage that it affects.
        default: Its value if it is not searched or not active.
        unit: Unit of the values; empty if they have none.
        ordered: Whether neighbouring values are more similar than distant ones.
        log: Whether values are compared by ratio instead of difference.
        when: Conditions that must all hold for the choice to be active.
    """

    name: str
    values: tuple[Value, ...]
    stage: Stage
    default: Value
    unit: str = ""
    ordered: bool = False
    log: bool = False
    when: tuple[Condition, ...] = ()

    def __post_init__(self) -> None:
        if not self.values:
            raise SpaceError(f"space: {self.name}: at least one value is needed, but got none")
        if len(set(self.values)) != len(self.values):
            raise SpaceError(
                f"space: {self.name}: values must differ, but got {list(self.values)}; "
                "remove the repeated one"
            )

    def active(self, values: Mapping[str, Value]) -> bool:
        """Return whether all conditions hold for the `values` of the other choices."""
        return all(
            condition.choice in values and condition.holds(values[condition.choice])
            for condition in self.when
        )
