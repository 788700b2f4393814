"""Enumeration and counting of a space's configurations.

A decision diagram holds the runnable configurations: decisions that leave the same rest of the
space share it. Its size depends on the rules and conditions, not on the number of configurations:
a million are counted, and the excluded ones by reason, without building any of them.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, overload

from .choice import Choice, Value
from .configuration import Configuration
from .errors import SpaceError
from .rules import Context, Rule

MOST_BUILT = 50_000
"""Most configurations that are kept as a list; more are built when they are read."""


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

    runnable: Sequence[Configuration]
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
class _RuleCheck:
    """The rules at each depth of a search, and the earlier choices that the rest depends on.

    Attributes:
        watched: By depth, the decided choices that later conditions or rules read, once the rules
            of this depth have been checked.
    """

    decisions: Decisions
    watched: list[tuple[str, ...]] = field(init=False)
    _rules: list[list[tuple[int, Rule]]] = field(init=False)
    _reasons: dict[tuple[object, ...], str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._rules = self.decisions.rules_by_depth()
        self.watched = [self._watched_from(d) for d in range(len(self.decisions.choices) + 1)]

    def exclusion(self, depth: int, values: Mapping[str, Value]) -> tuple[Rule, str] | None:
        """Return the first rule that excludes these values at a depth, with its reason, or None."""
        for number, rule in self._rules[depth]:
            seen = tuple(values[name] for name in rule.choices)
            key = (number, *seen)
            if key not in self._reasons:
                self._reasons[key] = rule.reason(self.decisions.context, *seen)
            if (reason := self._reasons[key]) is not None:
                return rule, reason
        return None

    def _watched_from(self, depth: int) -> tuple[str, ...]:
        decided = {choice.name for choice in self.decisions.choices[:depth]}
        later = {c.choice for choice in self.decisions.choices[depth:] for c in choice.when}
        later.update(n for rules in self._rules[depth + 1 :] for _, r in rules for n in r.choices)
        return tuple(sorted(decided & later))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exclusion:
    """Why a rule excludes a part of the space.

    Attributes:
        rule: Name of the rule.
        reason: Its reason.
        values: Values of the rule's active choices.
        size: Number of configurations of the part, before any rule.
    """

    rule: str
    reason: str
    values: Mapping[str, Value]
    size: int


@dataclass(slots=True, eq=False)
class _Node:
    """A part of the space, shared by all decisions that leave the same rest.

    Attributes:
        choice: Name of the choice that is decided next; empty at an end.
        branches: Its values, each with the part that it leads to.
        count: Number of runnable configurations.
        exclusion: Why no configuration can run; None unless a rule excludes the part.
        paths: Number of sequences of decisions that lead to it.
    """

    choice: str = ""
    branches: tuple[tuple[Value, "_Node"], ...] = ()
    count: int = 1
    exclusion: _Exclusion | None = None
    paths: int = 0


@dataclass(slots=True)
class _Exclusions:
    """Exclusions by one reason so far; the values are in the order of first occurrence."""

    count: int = 0
    values: dict[str, dict[Value, None]] = field(default_factory=dict)


@dataclass(slots=True)
class DecisionDiagram:
    """The configurations of a space as a graph of decisions.

    Attributes:
        decisions: What is decided, in this order.
        limit: Most runnable configurations.
        root: The whole space.

    Raises:
        SpaceError: If more than `limit` configurations are runnable.
    """

    decisions: Decisions
    limit: float = math.inf
    root: _Node = field(init=False)
    _rules: _RuleCheck = field(init=False)
    _conditional: list[tuple[str, ...]] = field(init=False)
    _nodes: dict[tuple[object, ...], _Node] = field(default_factory=dict)
    _sizes: dict[tuple[object, ...], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._rules = _RuleCheck(self.decisions)
        conditional = {choice.name for choice in self.decisions.choices if choice.when}
        self._conditional = [
            tuple(name for name in names if name in conditional) for names in self._rules.watched
        ]
        self.root = self._node(0, self.decisions.defaults, {})
        self.root.paths = 1
        for node in reversed(self._nodes.values()):  # each stands behind those that it leads to
            for _, below in node.branches:
                below.paths += node.paths

    def runnable(self) -> Sequence[Configuration]:
        """Return the runnable configurations, in the order of the choices' values."""
        found = RunnableConfigurations(self.root)
        return tuple(found) if len(found) <= MOST_BUILT else found

    def dropped(self) -> tuple[Dropped, ...]:
        """Return the excluded configurations by rule and reason, most first."""
        found: dict[tuple[str, str], _Exclusions] = {}
        for node in self._nodes.values():
            if (excluded := node.exclusion) is not None:
                total = found.setdefault((excluded.rule, excluded.reason), _Exclusions())
                total.count += node.paths * excluded.size
                for name, value in excluded.values.items():
                    total.values.setdefault(name, {})[value] = None
        dropped = [
            Dropped(
                rule=rule,
                values={name: tuple(values) for name, values in total.values.items()},
                reason=reason,
                count=total.count,
            )
            for (rule, reason), total in found.items()
        ]
        return tuple(sorted(dropped, key=lambda drop: -drop.count))

    def count_before(self, names: frozenset[str]) -> int:
        """Return the number of different runnable decisions before the first of these choices."""
        counts: dict[_Node, int] = {}
        for node in self._nodes.values():
            ends = not node.choice or node.choice in names
            below = (counts[child] for _, child in node.branches)
            counts[node] = min(node.count, 1) if ends else sum(below)
        return counts[self.root]

    def _node(self, depth: int, values: Mapping[str, Value], active: Mapping[str, Value]) -> _Node:
        """Return the part of the space that these decisions leave."""
        if (excluded := self._rules.exclusion(depth, values)) is not None:
            return self._excluded(depth, values, active, *excluded)
        if depth == len(self.decisions.choices):
            return self._kept((depth,), _Node)
        choice = self.decisions.choices[depth]
        if not choice.active(values):
            return self._node(depth + 1, values, active)
        watched, conditional = self._rules.watched[depth], self._conditional[depth]
        key = depth, *[values[n] for n in watched], *[n in active for n in conditional]
        return self._kept(key, lambda: self._decide(choice, depth, values, active))

    def _decide(
        self, choice: Choice, depth: int, values: Mapping[str, Value], active: Mapping[str, Value]
    ) -> _Node:
        name, branches, count = choice.name, list[tuple[Value, _Node]](), 0
        for value in choice.values:
            below = self._node(depth + 1, {**values, name: value}, {**active, name: value})
            branches.append((value, below))
            count += below.count
            if count > self.limit:
                raise SpaceError(
                    f"space: at most {self.limit:,} runnable configurations are listed, but this "
                    "one holds more; use coarser ranges or fewer choices"
                )
        return _Node(name, tuple(branches), count)

    def _excluded(
        self,
        depth: int,
        values: Mapping[str, Value],
        active: Mapping[str, Value],
        rule: Rule,
        reason: str,
    ) -> _Node:
        seen = {name: active[name] for name in rule.choices if name in active}
        size = self._size(depth, values)
        exclusion = _Exclusion(rule=rule.name, reason=reason, values=seen, size=size)
        key = "excluded", rule.name, reason, size, *seen.items()
        return self._kept(key, lambda: _Node(count=0, exclusion=exclusion))

    def _kept(self, key: tuple[object, ...], make: Callable[[], _Node]) -> _Node:
        """Return the part under a key, made if it is not known yet."""
        found = self._nodes.get(key)
        if found is None:
            found = self._nodes[key] = make()
        return found

    def _size(self, depth: int, values: Mapping[str, Value]) -> int:
        """Return the number of configurations below some decisions, before any rule."""
        rest = self.decisions.choices[depth:]
        watched = sorted({condition.choice for choice in rest for condition in choice.when})
        key = (depth, *(values[name] for name in watched))
        if key not in self._sizes:
            self._sizes[key] = self._count(depth, values)
        return self._sizes[key]

    def _count(self, depth: int, values: Mapping[str, Value]) -> int:
        rest = self.decisions.choices[depth:]
        if not any(choice.when for choice in rest):
            return math.prod(len(choice.values) for choice in rest)
        choice = rest[0]
        if not choice.active(values):
            return self._size(depth + 1, values)
        return sum(self._size(depth + 1, {**values, choice.name: v}) for v in choice.values)


class RunnableConfigurations(Sequence[Configuration]):
    """The runnable configurations of a decision diagram; each is built when it is read."""

    __slots__ = ("_root",)

    def __init__(self, root: _Node) -> None:
        self._root = root

    def __len__(self) -> int:
        return self._root.count

    @overload
    def __getitem__(self, place: int) -> Configuration: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[Configuration, ...]: ...

    def __getitem__(self, place: int | slice) -> Configuration | tuple[Configuration, ...]:
        if isinstance(place, slice):
            return tuple(self._at(one) for one in range(len(self))[place])
        return self._at(range(len(self))[place])

    def _at(self, place: int) -> Configuration:
        node, values = self._root, dict[str, Value]()
        while node.choice:
            for value, below in node.branches:
                if place < below.count:
                    values[node.choice] = value
                    node = below
                    break
                place -= below.count
        return Configuration(values)

    def __iter__(self) -> Iterator[Configuration]:
        return _configurations(self._root, {})

    def __contains__(self, wanted: object) -> bool:
        if not isinstance(wanted, Configuration):
            return False
        node, decided = self._root, 0
        while node.choice:
            value = wanted.get(node.choice)
            found = next((below for one, below in node.branches if one == value), None)
            if found is None:
                return False
            node, decided = found, decided + 1
        return node.count == 1 and decided == len(wanted)


def _configurations(node: _Node, values: Mapping[str, Value]) -> Iterator[Configuration]:
    if node.count and not node.choice:
        yield Configuration(values)
    for value, below in node.branches if node.count else ():
        yield from _configurations(below, {**values, node.choice: value})


@dataclass(slots=True, kw_only=True)
class RegionCount:
    """A depth-first count of the runnable configurations by region of the space.

    Each distinct rest of the space is counted once.
    """

    decisions: Decisions
    regions: Sequence[Region]
    _rules: _RuleCheck = field(init=False)
    _counted: dict[tuple[object, ...], Counter[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._rules = _RuleCheck(self.decisions)

    def counts(self) -> Counter[int]:
        """Return the counts by region index; counts of 0 are omitted."""
        values = self.decisions.defaults
        names = {choice.name for choice in self.decisions.choices}
        open_regions = tuple(range(len(self.regions)))
        for name in {n for r in self.regions for n in (*r.equal, *r.least)} - names:
            open_regions = self._inside(open_regions, name, values[name])
        return self._below(0, values, open_regions)

    def _below(
        self, depth: int, values: Mapping[str, Value], open_regions: tuple[int, ...]
    ) -> Counter[int]:
        if not open_regions or self._rules.exclusion(depth, values) is not None:
            return Counter()
        key = (depth, open_regions, *(values[name] for name in self._rules.watched[depth]))
        if key not in self._counted:
            self._counted[key] = self._count(depth, values, open_regions)
        return self._counted[key]

    def _count(
        self, depth: int, values: Mapping[str, Value], open_regions: tuple[int, ...]
    ) -> Counter[int]:
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
