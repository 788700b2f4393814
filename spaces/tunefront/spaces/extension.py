"""Extensions: what a folder or a user's file adds to the space, as pure data next to its code."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from .choice import Condition, Value
from .choice_kind import ChoiceKind
from .errors import SpaceError
from .hardware import LIBRARIES, Hardware
from .machine.distributions import installed_version
from .metric import Metric
from .rules import Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """A distribution or an executable that must be installed.

    Attributes:
        distribution: Name of a Python distribution; empty if `executable` is given.
        executable: Name of a program on the path; empty if `distribution` is given.
        extra: The extra of this project that installs it; empty if there is none.
        when: Conditions on the configuration under which it is needed; always if empty.
        imports: Modules that a build imports where it is needed.
    """

    distribution: str = ""
    executable: str = ""
    extra: str = ""
    when: tuple[Condition, ...] = ()
    imports: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.distribution) == bool(self.executable):
            raise SpaceError(
                "a requirement names either a distribution or an executable, but got "
                f"distribution={self.distribution!r}, executable={self.executable!r}"
            )

    @property
    def name(self) -> str:
        """Name of the distribution or the executable."""
        return self.distribution or self.executable

    def version_on(self, hardware: Hardware) -> str | None:
        """Return the installed version (the path of an executable); None if it is missing.

        Distributions of `LIBRARIES` are read from `hardware`, others from this process's machine.
        """
        if self.executable:
            return shutil.which(self.executable)
        if self.distribution in LIBRARIES:
            return hardware.libraries.get(self.distribution)
        return installed_version(self.distribution)

    def hint(self) -> str:
        """Return how to install it, to be appended to a message; empty if no extra does."""
        return f"; pip install 'tunefront[{self.extra}]'" if self.extra else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """A combination that can't run, with its reason.

    Attributes:
        when: Conditions on the configuration; the combination is excluded if all of them hold.
        reason: Why it can't run.
        unless_isa: Instruction sets (as in `Hardware.isa`) of which one suffices to allow the
            combination; they count on the device `cpu` only, elsewhere nothing is excluded.
        unless_capability: CUDA compute capability that allows the combination if all GPUs have it;
            it counts on the device `cuda` only. Without this and `unless_isa` the combination is
            excluded on every machine.
    """

    when: tuple[Condition, ...]
    reason: str
    unless_isa: frozenset[str] = frozenset()
    unless_capability: tuple[int, int] | None = None

    @property
    def depends_on_hardware(self) -> bool:
        """Whether some machines can run the combination."""
        return bool(self.unless_isa) or self.unless_capability is not None

    def applies(self, values: Mapping[str, Value], hardware: Hardware) -> bool:
        """Return whether these values are excluded on this machine."""
        if not all(condition.holds(values[condition.choice]) for condition in self.when):
            return False
        if not self.depends_on_hardware:
            return True
        if values["device"] == "cpu":
            return bool(self.unless_isa) and not hardware.isa & self.unless_isa
        least = self.unless_capability
        return least is not None and any(gpu.capability < least for gpu in hardware.gpus)


@dataclass(frozen=True, slots=True, kw_only=True)
class Default:
    """What a runtime does by itself, when its user sets nothing.

    Attributes:
        alternatives: Values by choice, the first that the machine can run counts: a library takes
            bf16 where the processor has it. Choices that are not named have the default of the
            catalogue.
        suffix: Text that distinguishes several defaults of a runtime: `with 8-bit weights`.
    """

    alternatives: tuple[Mapping[str, Value], ...] = (MappingProxyType({}),)
    suffix: str = ""


Purpose = Literal["load", "build", "open"]
NOTHING: Mapping[str, Mapping[Value, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """What a folder (or a user's file) adds to the space; pure data, stored next to its code.

    An extension that adds values to a known choice is active in configurations that have one of
    these values; its requirements and exclusions apply there only. Without `values` it is always
    active.

    Attributes:
        name: Its name; by it `provides` is found. A runtime, a task or a technique has the name of
            its value.
        choices: New choices.
        values: Values added to known choices, each with its meaning.
        short: Abbreviation of its name for narrow columns.
        supports: For a runtime: by choice, the values that it supports; None for any value. A
            choice that any runtime lists must have its default in all runtimes that do not list it.
        defaults: For a runtime: what it does when its user sets nothing. Every search runs them
            before its sampler proposes anything.
        excludes: Combinations that can't run, each with its reason.
        rules: Further rules that exclude combinations.
        requires: What must be installed.
        calibrated_when: Conditions under which a configuration learns from the workload's
            calibration data, if it is active and all of them hold; never if empty.
        metrics: Metrics that it measures: of a measure, or of a task's own pipeline. Those of a
            pipeline with the kind `quality` are the quality of a trial, the primary one first.
        interfaces: For a runtime or a task: names of the interfaces by which it is called; a
            runtime can run the tasks that have one of them in common.
        uses: For a task with its own pipeline: the choices of other extensions that it
            applies; an experiment cannot set further ones. None: all of them.
        provides: The classes that implement contracts, by contract (`runtime`, `workload`,
            `pipeline`, `profiler`, `technique`, `measure`, `read_back`), as `module:name`; imported
            on use. A task provides a `workload`, or a `pipeline` that needs none.
        imports: Modules that fork servers import once, before they fork: for a runtime to `build`
            and to `open` a candidate, for a task to `load` its model. A function named after a
            colon is called.
        origin: Where it comes from, such as a file or a package; empty for built-in ones. It is
            set when an extension is loaded.
    """

    name: str
    choices: tuple[ChoiceKind, ...] = ()
    values: Mapping[str, Mapping[Value, str]] = field(default_factory=lambda: NOTHING)
    short: str = ""
    supports: Mapping[str, frozenset[Value] | None] = field(default_factory=dict)
    defaults: tuple[Default, ...] = ()
    excludes: tuple[Exclusion, ...] = ()
    rules: tuple[Rule, ...] = ()
    requires: tuple[Requirement, ...] = ()
    calibrated_when: tuple[Condition, ...] = ()
    metrics: tuple[Metric, ...] = ()
    interfaces: frozenset[str] = frozenset({"tensors"})
    uses: frozenset[str] | None = None
    provides: Mapping[str, str] = field(default_factory=dict)
    imports: Mapping[Purpose, tuple[str, ...]] = field(default_factory=dict)
    origin: str = ""

    def __post_init__(self) -> None:
        for contract, written in self.provides.items():
            module, _, name = written.partition(":")
            if not module or not name:
                raise SpaceError(
                    f"extension {self.name}: provides.{contract} is written module:name, "
                    f"but got {written!r}"
                )

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Conditions under which it is active; always if empty."""
        return tuple(
            Condition(choice=choice, test="==", operands=tuple(values))
            for choice, values in self.values.items()
        )
