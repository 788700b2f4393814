"""The built-in choices by name; add a family as one file here and its choices in CHOICES."""

from collections.abc import Mapping
from types import MappingProxyType

from tunefront.spaces.choice import Stage, Value
from tunefront.spaces.configuration import Configuration
from tunefront.spaces.errors import SpaceError, did_you_mean

from .claims import claims, refusal
from .execution import BATCH_SIZE, REPLICAS, TENSOR_PARALLEL, THREADS
from .kind import ChoiceKind
from .numerics import PRECISION, QUANTIZATION
from .presets import KNOWN_GOOD, PRESETS
from .pruning import PRUNING_METHOD, PRUNING_RATIO
from .runtime import DEVICE, RUNTIME, RUNTIMES, RuntimeFacts

CHOICES: Mapping[str, ChoiceKind] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            PRUNING_RATIO,
            PRUNING_METHOD,
            RUNTIME,
            DEVICE,
            PRECISION,
            QUANTIZATION,
            TENSOR_PARALLEL,
            BATCH_SIZE,
            THREADS,
            REPLICAS,
        )
    }
)
"""Every built-in choice, in the order in which configurations are written."""

STAGE_OF: Mapping[str, Stage] = MappingProxyType(
    {name: kind.stage for name, kind in CHOICES.items()}
)
_DEFAULTS = {name: kind.default for name, kind in CHOICES.items()}
_CONDITIONAL = tuple(kind for kind in CHOICES.values() if kind.when)


def choice_kind(name: str) -> ChoiceKind:
    """Return the built-in choice of that name.

    Raises:
        SpaceError: If there is none; the message suggests the nearest name.
    """
    if name not in CHOICES:
        raise SpaceError(f"unknown choice {name!r}{did_you_mean(name, CHOICES)}")
    return CHOICES[name]


def complete(values: Mapping[str, Value]) -> Configuration:
    """Return the configuration that has a value for every choice: the default if none is given.

    A choice whose conditions in the catalogue do not hold gets its default, even if given.

    Raises:
        SpaceError: For an unknown choice, with the nearest known one.
    """
    completed = {**_DEFAULTS, **values}
    if len(completed) > len(_DEFAULTS):
        choice_kind(next(name for name in values if name not in CHOICES))
    for kind in _CONDITIONAL:
        if not all(condition.holds(completed[condition.choice]) for condition in kind.when):
            completed[kind.name] = kind.default
    return Configuration(completed)


def check_complete(configuration: Configuration) -> None:
    """Raise an error if a configuration has no value for some choice.

    Raises:
        SpaceError: Naming the first missing choice.
    """
    for name in CHOICES:
        if name not in configuration:
            raise SpaceError(
                f"{name}: every choice must have a value here, but the configuration "
                f"[{configuration.label()}] has none; `tunefront.spaces.complete` fills in defaults"
            )


__all__ = [
    "CHOICES",
    "KNOWN_GOOD",
    "PRESETS",
    "RUNTIMES",
    "STAGE_OF",
    "ChoiceKind",
    "RuntimeFacts",
    "check_complete",
    "choice_kind",
    "claims",
    "complete",
    "refusal",
]
