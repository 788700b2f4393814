"""References: configurations that recommendations are compared with besides the baseline.

They are what each runtime of the space does when its user sets nothing, and the current settings
of the user. A search runs them before its sampler proposes anything, and confirms them together
with the finalists, so that a result states how the recommended trial compares with them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from tunefront.spaces import (
    EXPERIMENT,
    Catalog,
    Configuration,
    Default,
    SearchSpace,
    Value,
    show,
)
from tunefront.spaces.catalog.engine_defaults import DECIDED_BY_CALLER, LIMITS_OF_ENGINES
from tunefront.spaces.catalog.runtime import RUNTIME

CURRENT_SETTINGS = "current settings"
"""Name of the reference that the key `current` describes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceConfiguration:
    """A configuration that recommendations are compared with besides the baseline.

    Attributes:
        name: Its name: `default of openvino`, `current settings`.
        configuration: The configuration; None if it is left out.
        obstacle: Why it is left out; empty if it is not.
    """

    name: str
    configuration: Configuration | None
    obstacle: str = ""


def references_of(
    space: SearchSpace, baseline: Configuration, current: Configuration | None
) -> tuple[ReferenceConfiguration, ...]:
    """Return the current settings, if given, then the defaults of the runtimes of the space.

    Args:
        space: The search space.
        baseline: The baseline, of which defaults have what callers decide (see
            `DECIDED_BY_CALLER`).
        current: The user's current settings; None if not given.
    """
    found = (
        []
        if current is None
        else [ReferenceConfiguration(name=CURRENT_SETTINGS, configuration=current)]
    )
    catalog, task = space.catalog, space.context.task
    if task not in catalog.names("workload"):
        return tuple(found)
    able = catalog.runtimes(task)
    for runtime in _listed(space, RUNTIME.name):
        if runtime in able:
            for default in catalog.extension(str(runtime)).defaults:
                found.append(_reference(space, baseline, str(runtime), default))
    return tuple(found)


def names_of(references: Sequence[ReferenceConfiguration], configuration: Configuration) -> str:
    """Return the names of the references that have a configuration, separated by commas."""
    return ", ".join(one.name for one in references if one.configuration == configuration)


def to_run(
    references: Sequence[ReferenceConfiguration], baseline: Configuration
) -> Mapping[Configuration, str]:
    """Return the configurations that run after the baseline, in order, with their names."""
    known = (one.configuration for one in references)
    return {one: names_of(references, one) for one in known if one is not None and one != baseline}


def left_out(
    references: Sequence[ReferenceConfiguration], baseline: Configuration, trials: int | None
) -> Mapping[str, str]:
    """Return why references do not run, by name; one that is the baseline is not left out.

    Args:
        references: The references.
        baseline: The baseline.
        trials: `budget.trials`; None if it is not limited.
    """
    found = {one.name: one.obstacle for one in references if one.configuration is None}
    running = list(to_run(references, baseline))
    if trials is not None and trials <= len(running):
        reason = f"budget.trials {trials} is used up before; raise it to {1 + len(running)} or more"
        late = running[trials - 1 :]
        found |= {one.name: reason for one in references if one.configuration in late}
    return found


def texts_of(
    references: Sequence[ReferenceConfiguration], baseline: Configuration, trials: int | None
) -> Mapping[str, str]:
    """Return for each reference its configuration, or why it is left out, by name.

    Args:
        references: The references.
        baseline: The baseline.
        trials: `budget.trials`; None if it is not limited.
    """
    missing = left_out(references, baseline, trials)
    found: dict[str, str] = {}
    for one in references:
        if one.name in missing:
            found[one.name] = f"left out: {missing[one.name]}"
        elif one.configuration is not None:
            same = one.configuration == baseline
            found[one.name] = "the baseline" if same else one.configuration.label()
    return found


def still_runnable(reference: ReferenceConfiguration, space: SearchSpace) -> ReferenceConfiguration:
    """Return a reference, or without its configuration one that a space can't run."""
    if reference.configuration is None:
        return reference
    obstacle = space.obstacle(reference.configuration)
    if obstacle is None:
        return reference
    return ReferenceConfiguration(name=reference.name, configuration=None, obstacle=obstacle)


def _reference(
    space: SearchSpace, baseline: Configuration, runtime: str, default: Default
) -> ReferenceConfiguration:
    """Return the first alternative of a default that can run here, if the space contains it."""
    name = " ".join(filter(None, [f"default of {runtime}", default.suffix]))
    obstacles: list[str] = []
    for wanted in _alternatives(space, baseline, runtime, default):
        obstacle = space.obstacle(wanted)
        if obstacle is None:
            return _placed(space, name, wanted)
        obstacles.append(obstacle)
    return ReferenceConfiguration(name=name, configuration=None, obstacle=obstacles[-1])


def _alternatives(
    space: SearchSpace, baseline: Configuration, runtime: str, default: Default
) -> Iterator[Configuration]:
    """Yield complete configurations, for each alternative those with the largest limits first."""
    catalog = space.catalog
    whole = catalog.complete(baseline)
    kept = {name: whole[name] for name in (*DECIDED_BY_CALLER, *_declared(catalog))}
    limits = [sorted(_listed(space, name), reverse=True) for name in LIMITS_OF_ENGINES]
    for values in default.alternatives:
        for most in product(*limits):
            given = {**kept, **dict(zip(LIMITS_OF_ENGINES, most, strict=True)), **values}
            yield catalog.complete({**given, RUNTIME.name: runtime})


def _declared(catalog: Catalog) -> list[str]:
    """Return the names of the choices that the experiment declares."""
    own = (one.choices for one in catalog.extensions if one.name == EXPERIMENT)
    return [kind.name for kinds in own for kind in kinds]


def _listed(space: SearchSpace, name: str) -> tuple[Value, ...]:
    """Return the values of a choice in the space: the default if it is not searched."""
    values = (choice.values for choice in space.choices if choice.name == name)
    return next(values, (space.catalog.kind(name).default,))


def _placed(space: SearchSpace, name: str, wanted: Configuration) -> ReferenceConfiguration:
    """Return a complete configuration as one of the space, or why it is not."""
    listed = {choice.name: choice.values for choice in space.choices}
    member = space.member({one: value for one, value in wanted.items() if one in listed})
    fixed = space.defaults()
    for kind, value in space.catalog.active(wanted):
        allowed = listed[kind.name] if kind.name in member else (fixed[kind.name],)
        if value not in allowed:
            obstacle = (
                f"its {kind.name} is {show(value)}, but the space has "
                f"{', '.join(map(show, allowed))}; add the value to compare with this default"
            )
            return ReferenceConfiguration(name=name, configuration=None, obstacle=obstacle)
    return ReferenceConfiguration(name=name, configuration=member)
