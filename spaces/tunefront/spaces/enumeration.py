"""Enumeration and counting of a space's configurations by depth-first search over its choices."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from .choice import Choice, Value
from .configuration import Configuration
from .rules import Context, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """Configurations that one rule excluded for one reason before the first trial.

    Attributes:
        rule: Name of the rule.
        values: Values at which the rule excluded configurations, by choice.
        reason: Why they can't run.
        count: Number of configurations excluded.
    """

    rule: str
    values: Mapping[str, tuple[Value, ...]]
    reason: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Enumeration:
    """All configurations of a space: the runnable ones, and the excluded ones with reasons."""

    runnable: tuple[Configuration, ...]
    dropped: tuple[Dropped, ...]

    @property
    def total(self) -> int:
        """Number of configurations before any rule."""
        return len(self.runnable) + sum(drop.count for drop in self.dropped)


class Region(Protocol):
    """A part of a space; a choice without a value in a configuration counts with its default."""

    @property
    def equal(self) -> Mapping[str, Value]:
        """Required values by choice."""
        ...

    @property
    def least(self) -> Mapping[str, float]:
        """Minimum values by choice."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """What a depth-first search goes through.

    Attributes:
        choices: The choices, each after those that its conditions refer to.
        defaults: The values of choices that are not in the space or not active.
        rules: The rules; each is checked as soon as all its choices are decided.
        context: The machine and the workload.
    """

    choices: tuple[Choice, ...]
    defaults: Mapping[str, Value]
    rules: tuple[Rule, ...]
    context: Context

    def rules_by_depth(self) -> list[list[tuple[int, Rule]]]:
        """Return, for every number of decided choices, the rules whose choices are then decided."""
        depth_of = {choice.name: i for i, choice in enumerate(self.choices)}
        by_depth: list[list[tuple[int, Rule]]] = [[] for _ in range(len(self.choices) + 1)]
        for number, rule in enumerate(self.rules):
            depths = [depth_of[name] + 1 for name in rule.choices if name in depth_of]
            by_depth[max(depths, default=0)].append((number, rule))
        return by_depth


@dataclass(slots=True)
class _Exclusions:
    """Exclusions by one reason so far; the values are in the order of first occurrence."""

    count: int = 0
    values: dict[str, dict[Value, None]] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class SpaceWalk:
    """A depth-first search over the choices; a rule is checked once all its choices are decided."""

    decisions: Decisions
    dropped: dict[tuple[str, str], _Exclusions] = field(default_factory=dict)
    _reasons: dict[tuple[Value, ...], str | None] = field(default_factory=dict)
    _sizes: dict[tuple[object, ...], int] = field(default_factory=dict)

    def configurations(self) -> Iterator[Configuration]:
        """Yield the runnable configurations; `dropped` is complete when the iteration has ended."""
        yield from self._descend(
            0, dict(self.decisions.defaults), {}, self.decisions.rules_by_depth()
        )

    def _descend(
        self,
        depth: int,
        values: dict[str, Value],
        active: dict[str, Value],
        by_depth: list[list[tuple[int, Rule]]],
    ) -> Iterator[Configuration]:
        for number, rule in by_depth[depth]:
            reason = self.reason(number, rule, values)
            if reason is not None:
                found = self.dropped.setdefault((rule.name, reason), _Exclusions())
                found.count += self._size(depth, values)
                for name in rule.choices:
                    if name in active:
                        found.values.setdefault(name, {})[active[name]] = None
                return
        if depth == len(self.decisions.choices):
            yield Configuration(active)
            return
        choice = self.decisions.choices[depth]
        if not choice.active(values):
            yield from self._descend(depth + 1, values, active, by_depth)
            return
        for value in choice.values:
            yield from self._descend(
                depth + 1,
                {**values, choice.name: value},
                {**active, choice.name: value},
                by_depth,
            )

    def reason(self, number: int, rule: Rule, values: Mapping[str, Value]) -> str | None:
        """Return the rule's reason to exclude these values, or None; cached by those values."""
        seen = tuple(values[name] for name in rule.choices)
        key = (number, *seen)
        if key not in self._reasons:
            self._reasons[key] = rule.reason(self.decisions.context, *seen)
        return self._reasons[key]

    def _size(self, depth: int, values: Mapping[str, Value]) -> int:
        """Return the number of configurations below a node of the search, before any rule."""
        rest = self.decisions.choices[depth:]
        watched = sorted({condition.choice for choice in rest for condition in choice.when})
        key = (depth, *(values[name] for name in watched))
        if key not in self._sizes:
            self._sizes[key] = self._count(depth, dict(values))
        return self._sizes[key]

    def _count(self, depth: int, values: dict[str, Value]) -> int:
        rest = self.decisions.choices[depth:]
        if not any(choice.when for choice in rest):
            return math.prod(len(choice.values) for choice in rest)
        choice = rest[0]
        if not choice.active(values):
            return self._size(depth + 1, values)
        return sum(self._size(depth + 1, {**values, choice.name: v}) for v in choice.values)


@dataclass(slots=True, kw_only=True)
class RegionCount:
    """A depth-first count like `SpaceWalk` that counts each distinct rest of the space once."""

    decisions: Decisions
    regions: Sequence[Region]
    _walk: SpaceWalk = field(init=False)
    _rules: list[list[tuple[int, Rule]]] = field(init=False)
    _watched: list[tuple[str, ...]] = field(init=False)
    _counted: dict[tuple[object, ...], Counter[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._walk = SpaceWalk(decisions=self.decisions)
        self._rules = self.decisions.rules_by_depth()
        self._watched = [self._watched_from(d) for d in range(len(self.decisions.choices) + 1)]

    def counts(self) -> Counter[int]:
        """Return the counts by region index; counts of 0 are omitted."""
        values = self.decisions.defaults
        names = {choice.name for choice in self.decisions.choices}
        open_regions = tuple(range(len(self.regions)))
        for name in {n for r in self.regions for n in (*r.equal, *r.least)} - names:
            open_regions = self._inside(open_regions, name, values[name])
        return self._below(0, values, open_regions)

    def _watched_from(self, depth: int) -> tuple[str, ...]:
        """Return the choices decided before `depth` that later conditions or pending rules read."""
        decided = {choice.name for choice in self.decisions.choices[:depth]}
        later = {c.choice for choice in self.decisions.choices[depth:] for c in choice.when}
        later.update(name for rules in self._rules[depth:] for _, r in rules for name in r.choices)
        return tuple(sorted(decided & later))

    def _below(
        self, depth: int, values: Mapping[str, Value], open_regions: tuple[int, ...]
    ) -> Counter[int]:
        if not open_regions:
            return Counter()
        key = (depth, open_regions, *(values[name] for name in self._watched[depth]))
        if key not in self._counted:
            self._counted[key] = self._count(depth, values, open_regions)
        return self._counted[key]

    def _count(
        self, depth: int, values: Mapping[str, Value], open_regions: tuple[int, ...]
    ) -> Counter[int]:
        if any(self._walk.reason(n, rule, values) is not None for n, rule in self._rules[depth]):
            return Counter()
        if depth == len(self.decisions.choices):
            return Counter({open_regions[0]: 1})
        choice = self.decisions.choices[depth]
        name, found = choice.name, Counter[int]()
        for value in choice.values if choice.active(values) else (values[name],):
            inside = self._inside(open_regions, name, value)
            found.update(self._below(depth + 1, {**values, name: value}, inside))
        return found

    def _inside(self, numbers: tuple[int, ...], name: str, value: Value) -> tuple[int, ...]:
        """Return the regions that contain this value of the choice."""
        return tuple(n for n in numbers if _within(self.regions[n], name, value))


def _within(region: Region, name: str, value: Value) -> bool:
    if name in region.equal and region.equal[name] != value:
        return False
    return name not in region.least or float(value) >= region.least[name]
