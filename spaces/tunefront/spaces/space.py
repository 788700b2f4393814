"""The search space: its configurations, and the excluded ones with their reasons."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from .catalog import CHOICES, choice_kind
from .choice import Choice, Value
from .configuration import Configuration
from .errors import SpaceError, did_you_mean
from .rules import RULES, Context, Rule

LARGEST_SPACE = 1_000_000
"""Maximum number of runnable configurations that are enumerated."""


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
class SearchSpace:
    """The choices, and the rules that exclude combinations.

    Attributes:
        choices: The dimensions; conditions can refer to any of them or to any built-in choice.
        context: The machine and the workload that the rules depend on.
        rules: The rules that exclude combinations.
    """

    choices: tuple[Choice, ...]
    context: Context
    rules: tuple[Rule, ...] = RULES

    def __post_init__(self) -> None:
        if not self.choices:
            raise SpaceError("space: at least one choice is needed, but got none")
        names = [choice.name for choice in self.choices]
        if repeated := {name for name in names if names.count(name) > 1}:
            raise SpaceError(f"space: {min(repeated)} is given twice; keep one")
        object.__setattr__(self, "choices", _parents_first(self.choices))

    def defaults(self) -> dict[str, Value]:
        """Return the values of choices that a configuration does not contain."""
        values = {name: kind.default for name, kind in CHOICES.items()}
        values.update({choice.name: choice.default for choice in self.choices})
        return values

    def member(self, values: Mapping[str, Value]) -> Configuration:
        """Return the configuration of this space with these values, omitting inactive choices.

        A choice missing from `values` gets its default, or its first value if the default is not
        among its values.

        Raises:
            SpaceError: If a name is not a choice of this space.
        """
        unknown = [name for name in values if name not in {c.name for c in self.choices}]
        if unknown:
            known = [choice.name for choice in self.choices]
            raise SpaceError(
                f"{unknown[0]!r} is not a choice of this space{did_you_mean(unknown[0], known)}"
            )
        chosen = self.defaults()
        active: dict[str, Value] = {}
        for choice in self.choices:
            if choice.active(chosen):
                fallback = choice.default if choice.default in choice.values else choice.values[0]
                active[choice.name] = chosen[choice.name] = values.get(choice.name, fallback)
        return Configuration(active)

    def obstacle(self, configuration: Configuration) -> str | None:
        """Return the reason why a configuration can't run here, or None."""
        values = {**self.defaults(), **configuration}
        for rule in self.rules:
            reason = rule.reason(self.context, *(values[name] for name in rule.choices))
            if reason is not None:
                return reason
        return None

    def holds(self, configuration: Configuration) -> bool:
        """Return whether a configuration belongs to the space and can run."""
        values, active = self.defaults(), 0
        for choice in self.choices:
            if choice.active(values):
                if configuration.get(choice.name) not in choice.values:
                    return False
                values[choice.name] = configuration[choice.name]
                active += 1
        return active == len(configuration) and self.obstacle(configuration) is None

    def count(self, regions: Sequence[Region]) -> list[int]:
        """Count the runnable configurations of each region that are in no earlier region.

        Nothing is enumerated: subspaces that differ only in choices that no later rule, condition
        or region depends on are counted once, so the time depends on the rules, not on the size of
        the space.
        """
        found = _Count(space=self, regions=regions).counts()
        return [found.get(number, 0) for number in range(len(regions))]

    def enumerate(self, limit: int = LARGEST_SPACE) -> Enumeration:
        """Enumerate the runnable configurations, and count the excluded ones by reason.

        Raises:
            SpaceError: If more than `limit` configurations are runnable.
        """
        walk = _Walk(space=self)
        runnable: list[Configuration] = []
        for configuration in walk.configurations():
            runnable.append(configuration)
            if len(runnable) > limit:
                raise SpaceError(
                    f"space: at most {limit:,} runnable configurations are listed, but this one "
                    "holds more; use coarser ranges or fewer choices"
                )
        dropped = [
            Dropped(
                rule=rule,
                values={name: tuple(values) for name, values in fell.values.items()},
                reason=reason,
                count=fell.count,
            )
            for (rule, reason), fell in walk.dropped.items()
        ]
        return Enumeration(
            runnable=tuple(runnable),
            dropped=tuple(sorted(dropped, key=lambda drop: -drop.count)),
        )


def build_space(written: Mapping[str, object], context: Context) -> SearchSpace:
    """Build the space from what a user wrote: `{choice: values}`.

    Raises:
        SpaceError: If a choice or value is invalid; the message suggests the nearest name.
    """
    choices = tuple(choice_kind(name).choice(values) for name, values in written.items())
    return SearchSpace(choices=choices, context=context)


def _parents_first(choices: tuple[Choice, ...]) -> tuple[Choice, ...]:
    """Sort into catalogue order, each choice after those that its conditions refer to.

    Raises:
        SpaceError: If a condition names an unknown choice, or conditions form a cycle.
    """
    rank = {name: i for i, name in enumerate(CHOICES)}
    waiting = sorted(choices, key=lambda choice: rank.get(choice.name, len(rank)))
    names = {choice.name for choice in choices}
    for choice in waiting:
        for condition in choice.when:
            if condition.choice not in names and condition.choice not in CHOICES:
                raise SpaceError(
                    f"{choice.name}: when names the unknown choice {condition.choice!r}"
                    f"{did_you_mean(condition.choice, [*CHOICES, *names])}"
                )
    placed: list[Choice] = []
    while waiting:
        open_names = {choice.name for choice in waiting}
        ready = [c for c in waiting if not open_names & {w.choice for w in c.when}]
        if not ready:
            cycle = ", ".join(sorted(open_names))
            raise SpaceError(f"when: conditions must not form a circle, but got one among {cycle}")
        placed.append(ready[0])
        waiting.remove(ready[0])
    return tuple(placed)


def _by_depth(space: SearchSpace) -> list[list[tuple[int, Rule]]]:
    """Return, for every number of decided choices, the rules whose choices are then all decided."""
    depth_of = {choice.name: i for i, choice in enumerate(space.choices)}
    by_depth: list[list[tuple[int, Rule]]] = [[] for _ in range(len(space.choices) + 1)]
    for number, rule in enumerate(space.rules):
        depths = [depth_of[name] + 1 for name in rule.choices if name in depth_of]
        by_depth[max(depths, default=0)].append((number, rule))
    return by_depth


@dataclass(slots=True)
class _Fell:
    """Exclusions by one reason so far; the values are in the order of first occurrence."""

    count: int = 0
    values: dict[str, dict[Value, None]] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class _Walk:
    """A depth-first search over the choices; a rule is checked once all its choices are decided."""

    space: SearchSpace
    dropped: dict[tuple[str, str], _Fell] = field(default_factory=dict)
    _reasons: dict[tuple[Value, ...], str | None] = field(default_factory=dict)
    _sizes: dict[tuple[object, ...], int] = field(default_factory=dict)

    def configurations(self) -> Iterator[Configuration]:
        """Yield the runnable configurations; `dropped` is complete when the iteration has ended."""
        yield from self._descend(0, self.space.defaults(), {}, _by_depth(self.space))

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
                fell = self.dropped.setdefault((rule.name, reason), _Fell())
                fell.count += self._size(depth, values)
                for name in rule.choices:
                    if name in active:
                        fell.values.setdefault(name, {})[active[name]] = None
                return
        if depth == len(self.space.choices):
            yield Configuration(active)
            return
        choice = self.space.choices[depth]
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
            self._reasons[key] = rule.reason(self.space.context, *seen)
        return self._reasons[key]

    def _size(self, depth: int, values: Mapping[str, Value]) -> int:
        """Return the number of configurations below a node of the search, before any rule."""
        rest = self.space.choices[depth:]
        watched = sorted({condition.choice for choice in rest for condition in choice.when})
        key = (depth, *(values[name] for name in watched))
        if key not in self._sizes:
            self._sizes[key] = self._count(depth, dict(values))
        return self._sizes[key]

    def _count(self, depth: int, values: dict[str, Value]) -> int:
        rest = self.space.choices[depth:]
        if not any(choice.when for choice in rest):
            return math.prod(len(choice.values) for choice in rest)
        choice = rest[0]
        if not choice.active(values):
            return self._size(depth + 1, values)
        return sum(self._size(depth + 1, {**values, choice.name: v}) for v in choice.values)


@dataclass(slots=True, kw_only=True)
class _Count:
    """A depth-first count like `_Walk` that counts each distinct remainder of the space once."""

    space: SearchSpace
    regions: Sequence[Region]
    _walk: _Walk = field(init=False)
    _rules: list[list[tuple[int, Rule]]] = field(init=False)
    _watched: list[tuple[str, ...]] = field(init=False)
    _counted: dict[tuple[object, ...], Counter[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._walk = _Walk(space=self.space)
        self._rules = _by_depth(self.space)
        self._watched = [self._watched_from(d) for d in range(len(self.space.choices) + 1)]

    def counts(self) -> Counter[int]:
        """Return the counts by region index; counts of 0 are omitted."""
        values = self.space.defaults()
        names = {choice.name for choice in self.space.choices}
        open_regions = tuple(range(len(self.regions)))
        for name in {n for r in self.regions for n in (*r.equal, *r.least)} - names:
            open_regions = self._inside(open_regions, name, values[name])
        return self._below(0, values, open_regions)

    def _watched_from(self, depth: int) -> tuple[str, ...]:
        """Return the choices decided before `depth` that later conditions or pending rules read."""
        decided = {choice.name for choice in self.space.choices[:depth]}
        later = {c.choice for choice in self.space.choices[depth:] for c in choice.when}
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
        if depth == len(self.space.choices):
            return Counter({open_regions[0]: 1})
        choice = self.space.choices[depth]
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
