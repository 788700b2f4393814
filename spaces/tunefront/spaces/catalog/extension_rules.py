"""The rules that follow from extensions: requirements, interfaces, support, exclusions."""

from collections.abc import Callable, Mapping, Sequence

from tunefront.spaces.choice import Condition, Value
from tunefront.spaces.choice_kind import ChoiceKind
from tunefront.spaces.configuration import show
from tunefront.spaces.errors import SpaceError, did_you_mean
from tunefront.spaces.extension import Exclusion, Extension, Requirement
from tunefront.spaces.hardware import Hardware
from tunefront.spaces.rules import Context, Rule

ConfigurationCheck = Callable[[Hardware, Mapping[str, Value]], str | None]
"""Returns the reason why complete values can't run on a machine, or None."""


def _grouped(
    name: str, checks: Sequence[tuple[tuple[Condition, ...], tuple[str, ...], ConfigurationCheck]]
) -> tuple[Rule, ...]:
    """Return one rule for all checks that depend on the same choices.

    Args:
        name: Name of the rules.
        checks: Of each check its conditions, further choices that it reads, and the check itself.
    """
    by_choices: dict[tuple[str, ...], list[tuple[tuple[Condition, ...], ConfigurationCheck]]] = {}
    for conditions, others, check in checks:
        read = tuple(dict.fromkeys([*(c.choice for c in conditions), *others]))
        by_choices.setdefault(read, []).append((conditions, check))
    return tuple(
        Rule(name=name, choices=read, reason=_first_reason(read, tuple(group)))
        for read, group in by_choices.items()
    )


def _first_reason(
    read: tuple[str, ...], checks: tuple[tuple[tuple[Condition, ...], ConfigurationCheck], ...]
) -> Callable[..., str | None]:
    def reason(context: Context, *given: Value) -> str | None:
        values = dict(zip(read, given, strict=True))
        for conditions, check in checks:
            if all(condition.holds(values[condition.choice]) for condition in conditions):
                found = check(context.hardware, values)
                if found is not None:
                    return found
        return None

    return reason


def _active_when(extension: Extension, kinds: Mapping[str, ChoiceKind]) -> tuple[Condition, ...]:
    """Return the conditions under which an extension and the choices of its values are active."""
    inherited = (condition for name in extension.values for condition in kinds[name].when)
    return (*extension.conditions, *inherited)


def requirement_rules(
    extensions: Sequence[Extension], kinds: Mapping[str, ChoiceKind]
) -> tuple[Rule, ...]:
    """Return the rules that what an active extension requires is installed."""
    together: dict[tuple[Condition, ...], list[Requirement]] = {}
    for extension in extensions:
        for requirement in extension.requires:
            conditions = (*_active_when(extension, kinds), *requirement.when)
            together.setdefault(conditions, []).append(requirement)
    return _grouped(
        "library", [(conditions, (), _lacking(some)) for conditions, some in together.items()]
    )


def _lacking(requirements: Sequence[Requirement]) -> ConfigurationCheck:
    def check(hardware: Hardware, _: Mapping[str, Value]) -> str | None:
        missing = [one for one in requirements if one.version_on(hardware) is None]
        if not missing:
            return None
        return f"{', '.join(one.name for one in missing)} not installed{missing[0].hint()}"

    return check


def exclusion_rules(
    extensions: Sequence[Extension], kinds: Mapping[str, ChoiceKind]
) -> tuple[Rule, ...]:
    """Return the rules of exclusions; those that hold on every machine come first."""
    excludes = [(extension, one) for extension in extensions for one in extension.excludes]
    found: list[Rule] = []
    for depends_on_hardware in (False, True):
        checks = [
            (
                _active_when(extension, kinds),
                (
                    *(condition.choice for condition in exclusion.when),
                    *(("device",) if depends_on_hardware else ()),
                ),
                _excluding(exclusion),
            )
            for extension, exclusion in excludes
            if exclusion.depends_on_hardware == depends_on_hardware
        ]
        found += _grouped("excluded", checks)
    return tuple(found)


def _excluding(exclusion: Exclusion) -> ConfigurationCheck:
    def check(hardware: Hardware, values: Mapping[str, Value]) -> str | None:
        return exclusion.reason if exclusion.applies(values, hardware) else None

    return check


def interface_rules(
    extensions: Sequence[Extension], kinds: Mapping[str, ChoiceKind]
) -> tuple[Rule, ...]:
    """Return the rules that a runtime and choices have an interface of the task."""
    tasks = {one.name: one for one in extensions if "workload" in one.provides}
    by_name = {one.name: one for one in extensions}

    def reason(context: Context, runtime: Value) -> str | None:
        task, runs = tasks.get(context.task), by_name.get(str(runtime))
        if task is None or runs is None or task.interfaces & runs.interfaces:
            return None
        return f"{runtime} has the interface {_names(runs)}, but task {_needs(task)}"

    runtime_rules = (Rule(name="interface", choices=("runtime",), reason=reason),)
    return (
        *(runtime_rules if "runtime" in kinds else ()),
        *(
            Rule(name="interface", choices=(name,), reason=_not_of_the_task(kind, tasks))
            for name, kind in kinds.items()
            if kind.interfaces
        ),
    )


def _not_of_the_task(kind: ChoiceKind, tasks: Mapping[str, Extension]) -> Callable[..., str | None]:
    def reason(context: Context, value: Value) -> str | None:
        task = tasks.get(context.task)
        if task is None or value == kind.default or task.interfaces & kind.interfaces:
            return None
        needed = ", ".join(sorted(kind.interfaces))
        return f"{kind.name} applies to the interface {needed}, but task {_needs(task)}"

    return reason


def _names(extension: Extension) -> str:
    return ", ".join(sorted(extension.interfaces))


def _needs(task: Extension) -> str:
    return f"{task.name} needs {_names(task)}"


def support_rules(
    extensions: Sequence[Extension], kinds: Mapping[str, ChoiceKind]
) -> tuple[Rule, ...]:
    """Return a rule for each choice that some runtime lists in `supports`, in catalogue order."""
    runtimes = {one.name: one for one in extensions if "runtime" in one.values}
    listed = {name for runtime in runtimes.values() for name in runtime.supports}
    if unknown := sorted(listed - set(kinds)):
        raise SpaceError(
            f"supports names the unknown choice {unknown[0]!r}{did_you_mean(unknown[0], kinds)}"
        )
    return tuple(
        Rule(
            name="support",
            choices=("runtime", name, *(condition.choice for condition in kind.when)),
            reason=_unsupported(kind, runtimes),
        )
        for name, kind in kinds.items()
        if name in listed
    )


def _unsupported(kind: ChoiceKind, runtimes: Mapping[str, Extension]) -> Callable[..., str | None]:
    def reason(_: Context, runtime: Value, value: Value, *others: Value) -> str | None:
        extension = runtimes.get(str(runtime))
        if extension is None or value == kind.default and kind.name not in extension.supports:
            return None
        if not all(c.holds(other) for c, other in zip(kind.when, others, strict=True)):
            return None
        supported = extension.supports.get(kind.name, frozenset({kind.default}))
        if supported is None or value in supported:
            return None
        named = ", ".join(sorted(map(show, supported)))
        return f"{runtime} does not support {kind.name} {show(value)}; it supports {named}"

    return reason
