"""The catalogue: every known choice and rule, collected from extensions into one value."""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from tunefront.spaces.choice import Stage, Value
from tunefront.spaces.choice_kind import ChoiceKind
from tunefront.spaces.configuration import Configuration, show
from tunefront.spaces.errors import SpaceError, did_you_mean
from tunefront.spaces.extension import Extension, Purpose, Requirement
from tunefront.spaces.hardware import Hardware
from tunefront.spaces.rules import Context, Rule

from .engine_defaults import check_defaults
from .extension_rules import (
    exclusion_rules,
    interface_rules,
    requirement_rules,
    support_rules,
)

_Values = Mapping[str, Value]

EXPERIMENT = "experiment"
"""Name of the extension with the choices that an experiment declares."""
_LABEL_STAGES: tuple[Stage, ...] = ("runtime", "model", "execution")


class Catalog:
    """All choices, rules and implementations that some extensions add; immutable.

    Args:
        extensions: The extensions. Choices keep their order; a value can be added only to a choice
            of an earlier extension.

    Raises:
        SpaceError: If two extensions add the same choice, value or implementation, or one adds
            values to an unknown choice, or names one in its defaults.
    """

    def __init__(self, extensions: Sequence[Extension]) -> None:
        self.extensions = tuple(extensions)
        self._hash = hash(tuple(extension.name for extension in self.extensions))
        self.kinds: Mapping[str, ChoiceKind] = MappingProxyType(_kinds(self.extensions))
        self.stages: Mapping[str, Stage] = MappingProxyType(
            {name: kind.stage for name, kind in self.kinds.items()}
        )
        self._provided = _provided(self.extensions)
        self.defaults: Mapping[str, Value] = MappingProxyType(
            {name: kind.default for name, kind in self.kinds.items()}
        )
        check_defaults(self.extensions, self.kinds)
        self._conditional = tuple(kind for kind in self.kinds.values() if kind.when)
        supports = support_rules(self.extensions, self.kinds)
        excludes = exclusion_rules(self.extensions, self.kinds)
        self._format_rules = (*supports, *excludes)
        self.rules: tuple[Rule, ...] = (
            *requirement_rules(self.extensions, self.kinds),
            *interface_rules(self.extensions, self.kinds),
            *supports,
            *(rule for extension in self.extensions for rule in extension.rules),
            *excludes,
        )
        """In order of precedence; the first that excludes a combination counts."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Catalog) and self.extensions == other.extensions

    def __hash__(self) -> int:
        return self._hash

    def extended(self, *extensions: Extension) -> "Catalog":
        """Return a catalogue with further extensions."""
        return Catalog((*self.extensions, *extensions))

    def kind(self, name: str) -> ChoiceKind:
        """Return the choice of that name.

        Raises:
            SpaceError: If there is none; the message suggests the nearest name.
        """
        if name not in self.kinds:
            raise SpaceError(f"unknown choice {name!r}{did_you_mean(name, self.kinds)}")
        return self.kinds[name]

    def names(self, contract: str) -> tuple[str, ...]:
        """Return the names of the extensions that implement a contract, in order."""
        return tuple(name for provided, name in self._provided if provided == contract)

    def runtimes(self, task: str) -> tuple[str, ...]:
        """Return the names of the runtimes that have an interface of a task, in order."""
        needed = self.extension(task).interfaces
        names = self.names("runtime")
        return tuple(name for name in names if needed & self.extension(name).interfaces)

    def provided(self, contract: str, name: str) -> object:
        """Import and return the implementation of a contract (`runtime`) by name (`torch`).

        Raises:
            SpaceError: If there is none; the message suggests the nearest name.
        """
        written = self._provided.get((contract, name))
        if written is None:
            raise SpaceError(
                f"unknown {contract} {name!r}{did_you_mean(name, self.names(contract))}"
            )
        module, _, attribute = written.partition(":")
        return getattr(importlib.import_module(module), attribute)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks: extensions that provide a workload or a pipeline."""
        names = (*self.names("workload"), *self.names("pipeline"))
        return tuple(dict.fromkeys(names))

    def used_by(self, task: str) -> frozenset[str] | None:
        """Return the choices that a task can use; None if all.

        These are those that its extension lists, its own choices, and those that the
        experiment declares.
        """
        extension = self.extension(task)
        if extension.uses is None:
            return None
        declared = {kind.name for kind in extension.choices}
        for other in self.extensions:
            if other.name == EXPERIMENT:
                declared |= {kind.name for kind in other.choices}
        return extension.uses | declared

    def extension(self, name: str) -> Extension:
        """Return the extension of that name; KeyError if there is none."""
        return {extension.name: extension for extension in self.extensions}[name]

    def declaring(self, choice: str) -> Extension:
        """Return the extension that declares a choice; KeyError if none does."""
        owners = {kind.name: one for one in self.extensions for kind in one.choices}
        return owners[choice]

    def origin(self, choice: str, value: Value | None = None) -> str:
        """Return where a choice, or one of its values, comes from; empty if it is built in."""
        if value is None:
            return self.declaring(choice).origin
        adding = (one for one in self.extensions if value in one.values.get(choice, {}))
        return next((one.origin for one in adding), self.declaring(choice).origin)

    def complete(self, values: _Values) -> Configuration:
        """Return the configuration with a value for every choice: the default if none is given.

        A choice whose conditions in the catalogue do not hold gets its default, even if given.

        Raises:
            SpaceError: For an unknown choice, with the nearest known one.
        """
        completed = {**self.defaults, **values}
        if len(completed) > len(self.defaults):
            self.kind(next(name for name in values if name not in self.kinds))
        for kind in self._conditional:
            if not all(condition.holds(completed[condition.choice]) for condition in kind.when):
                completed[kind.name] = kind.default
        return Configuration(completed)

    def check_complete(self, configuration: Configuration) -> None:
        """Raise an error if a configuration has no value for some choice.

        Raises:
            SpaceError: Naming the first missing choice.
        """
        for name in self.kinds:
            if name not in configuration:
                raise SpaceError(
                    f"{name}: every choice must have a value here, but the configuration "
                    f"[{configuration.label()}] has none; `Catalog.complete` fills in defaults"
                )

    def active(self, configuration: Configuration) -> Iterator[tuple[ChoiceKind, Value]]:
        """Yield the choices of a complete configuration whose conditions hold, with their values.

        The conditions are those of the catalogue, not those that a user added.
        """
        for name, kind in self.kinds.items():
            if all(condition.holds(configuration[condition.choice]) for condition in kind.when):
                yield kind, configuration[name]

    def without_defaults(self, configuration: Configuration) -> Configuration:
        """Return only the values that differ from the defaults, equal across spaces."""
        return Configuration(
            {
                name: value
                for name, value in configuration.items()
                if name not in self.kinds or value != self.defaults[name]
            }
        )

    def up_to(self, configuration: Configuration, stage: Stage) -> Configuration:
        """Return the values that the product of a stage depends on: this and earlier stages."""
        return Configuration(configuration.up_to(stage, self.stages))

    def outputs_of(self, configuration: Configuration) -> Configuration:
        """Return the values that outputs, and so quality, depend on.

        These are the choices up to the runtime stage, and those of the execution stage that change
        outputs.
        """
        return Configuration(
            {
                name: value
                for name, value in configuration.items()
                if self.stages[name] != "execution" or self.kinds[name].changes_outputs
            }
        )

    def label(self, configuration: Configuration, *, narrow: bool = False) -> str:
        """Return the most informative choices: `openvino bf16 w8 static b8 t2`.

        A choice is shown with its `short` name before the value, unless it has its default (see
        `ChoiceKind.label_default`). Choices of the runtime stage come first. It is `defaults` if
        there is nothing else to show.

        Args:
            configuration: The configuration; choices without a value are left out.
            narrow: Whether to abbreviate values for narrow columns.
        """
        parts: list[str] = []
        for stage in _LABEL_STAGES:
            for name, kind in self.kinds.items():
                if kind.stage == stage and name in configuration:
                    parts.append(self._labelled(kind, configuration, narrow=narrow))
        return " ".join(part for part in parts if part) or "defaults"

    def _labelled(self, kind: ChoiceKind, values: Configuration, *, narrow: bool) -> str:
        value = values[kind.name]
        if value == kind.default and not kind.label_default:
            return ""
        completed = {**self.defaults, **values}
        if not all(condition.holds(completed[condition.choice]) for condition in kind.when):
            return ""
        shown = kind.abbreviations.get(value) if narrow else None
        return f"{kind.short}{show(value)}" if shown is None else shown

    def refusal(self, values: _Values, hardware: Hardware) -> str | None:
        """Return why a runtime can't run a combination on this machine, or None.

        What a runtime supports is checked before what the processor lacks. Installed libraries,
        cores and GPUs are not checked.

        Args:
            values: Some values; the others have their defaults.
            hardware: The machine.
        """
        completed = self.complete(values)
        context = Context(hardware=hardware, task="")
        for rule in self._format_rules:
            reason = rule.reason(context, *(completed[name] for name in rule.choices))
            if reason is not None:
                return reason
        return None

    def imports(self, name: str, purpose: Purpose) -> tuple[str, ...]:
        """Return the modules that an extension imports for a purpose; empty if it names none."""
        return tuple(self.extension(name).imports.get(purpose, ()))

    def build_imports(self, configuration: Configuration) -> tuple[str, ...]:
        """Return the modules that building a complete configuration imports."""
        runtime = self.extension(configuration.text("runtime"))
        needed = [
            name
            for requirement in runtime.requires
            if all(one.holds(configuration[one.choice]) for one in requirement.when)
            for name in requirement.imports
        ]
        return (*runtime.imports.get("build", ()), *needed)

    def missing(self, name: str, hardware: Hardware) -> tuple[Requirement, ...]:
        """Return what an extension always needs and this machine lacks."""
        return tuple(
            requirement
            for requirement in self.extension(name).requires
            if not requirement.when and requirement.version_on(hardware) is None
        )


def _kinds(extensions: Sequence[Extension]) -> dict[str, ChoiceKind]:
    """Return the choices in order, with the values that extensions add to them.

    Raises:
        SpaceError: If a choice or a value is added twice, or a value to an unknown choice.
    """
    kinds: dict[str, ChoiceKind] = {}
    for extension in extensions:
        for kind in extension.choices:
            if kind.name in kinds:
                raise SpaceError(f"extension {extension.name}: choice {kind.name} exists already")
            kinds[kind.name] = kind
        for name, added in extension.values.items():
            known = kinds.get(name)
            if known is None or known.words is None:
                raise SpaceError(
                    f"extension {extension.name}: values can be added only to a known choice of "
                    f"words, but got {name!r}{did_you_mean(name, kinds)}"
                )
            for value in added:
                if value in known.words:
                    raise SpaceError(
                        f"extension {extension.name}: {name} has the value {value!r} already"
                    )
            short = {value: extension.short for value in added if extension.short}
            kinds[name] = replace(
                known,
                words=MappingProxyType({**known.words, **added}),
                abbreviations=MappingProxyType({**known.abbreviations, **short}),
            )
    return kinds


def _provided(extensions: Sequence[Extension]) -> Mapping[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for extension in extensions:
        for contract, written in extension.provides.items():
            if (contract, extension.name) in found:
                raise SpaceError(f"two extensions provide the {contract} {extension.name!r}")
            found[contract, extension.name] = written
    return MappingProxyType(found)
