"""The search space: its configurations, and the excluded ones with their reasons."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from .catalog import Catalog
from .choice import Choice, Value
from .configuration import Configuration
from .enumeration import DecisionDiagram, Decisions, Enumeration, Region, RegionCount
from .errors import SpaceError, did_you_mean
from .rules import Context, Rule

LARGEST_SPACE = 1_000_000
"""Maximum number of runnable configurations that are enumerated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpace:
    """The choices, and the rules that exclude combinations.

    Attributes:
        choices: The dimensions; conditions can refer to any of them or of the catalogue.
        context: The machine and the workload that the rules depend on.
        catalog: The catalogue that the choices are from.
        rules: The rules that exclude combinations; those of the catalogue if None.
    """

    choices: tuple[Choice, ...]
    context: Context
    catalog: Catalog
    rules: tuple[Rule, ...] | None = None

    def __post_init__(self) -> None:
        if not self.choices:
            raise SpaceError("space: at least one choice is needed, but got none")
        names = [choice.name for choice in self.choices]
        if repeated := {name for name in names if names.count(name) > 1}:
            raise SpaceError(f"space: {min(repeated)} is given twice; keep one")
        object.__setattr__(self, "choices", _parents_first(self.choices, self.catalog))

    @property
    def _rules(self) -> tuple[Rule, ...]:
        return self.catalog.rules if self.rules is None else self.rules

    def _decisions(self) -> Decisions:
        return Decisions(
            choices=self.choices,
            defaults=self.defaults(),
            rules=self._rules,
            context=self.context,
        )

    def defaults(self) -> dict[str, Value]:
        """Return the values of choices that a configuration does not contain."""
        values = {name: kind.default for name, kind in self.catalog.kinds.items()}
        values.update({choice.name: choice.default for choice in self.choices})
        return values

    def calibrated(self) -> bool:
        """Return whether some values of the space learn from the workload's calibration data."""
        defaults = self.defaults()
        values = {name: (value,) for name, value in defaults.items()} | {
            choice.name: tuple(choice.values) for choice in self.choices
        }
        return any(
            extension.calibrated_when
            and all(
                any(condition.holds(value) for value in values[condition.choice])
                for condition in (*extension.conditions, *extension.calibrated_when)
            )
            for extension in self.catalog.extensions
        )

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
        for rule in self._rules:
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
        found = RegionCount(decisions=self._decisions(), regions=regions).counts()
        return [found.get(number, 0) for number in range(len(regions))]

    def enumerate(self, limit: int = LARGEST_SPACE) -> Enumeration:
        """Enumerate the runnable configurations, and count the excluded ones by reason.

        Raises:
            SpaceError: If more than `limit` configurations are runnable.
        """
        diagram = DecisionDiagram(self._decisions(), limit)
        return Enumeration(runnable=diagram.runnable(), dropped=diagram.dropped())

    def count_candidates(self) -> int:
        """Return the number of different runnable configurations up to the runtime stage."""
        execution = frozenset(c.name for c in self.choices if c.stage == "execution")
        first = tuple(choice for choice in self.choices if choice.name not in execution)
        if any(condition.choice in execution for choice in first for condition in choice.when):
            runnable = self.enumerate().runnable
            return len({tuple(i for i in one.items() if i[0] not in execution) for one in runnable})
        last = tuple(choice for choice in self.choices if choice.name in execution)
        decisions = replace(self._decisions(), choices=first + last)
        return DecisionDiagram(decisions).count_before(execution)


def build_space(written: Mapping[str, object], context: Context, catalog: Catalog) -> SearchSpace:
    """Build the space from what a user wrote: `{choice: values}`.

    Raises:
        SpaceError: If a choice or value is invalid; the message suggests the nearest name.
    """
    choices = tuple(catalog.kind(name).choice(values) for name, values in written.items())
    return SearchSpace(choices=choices, context=context, catalog=catalog)


def _parents_first(choices: tuple[Choice, ...], catalog: Catalog) -> tuple[Choice, ...]:
    """Sort into catalogue order, each choice after those that its conditions refer to.

    Raises:
        SpaceError: If a condition names an unknown choice, or conditions form a cycle.
    """
    rank = {name: i for i, name in enumerate(catalog.kinds)}
    waiting = sorted(choices, key=lambda choice: rank.get(choice.name, len(rank)))
    names = {choice.name for choice in choices}
    for choice in waiting:
        for condition in choice.when:
            if condition.choice not in names and condition.choice not in catalog.kinds:
                raise SpaceError(
                    f"{choice.name}: when names the unknown choice {condition.choice!r}"
                    f"{did_you_mean(condition.choice, [*catalog.kinds, *names])}"
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
