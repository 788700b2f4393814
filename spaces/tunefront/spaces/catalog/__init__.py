"""The built-in choices by name; add a family as one file here and its choices in CHOICES."""

from collections.abc import Mapping
from types import MappingProxyType

from tunefront.spaces.choice import Stage
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


def choice_kind(name: str) -> ChoiceKind:
    """Return the built-in choice of that name.

    Raises:
        SpaceError: If there is none; the message suggests the nearest name.
    """
    if name not in CHOICES:
        raise SpaceError(f"unknown choice {name!r}{did_you_mean(name, CHOICES)}")
    return CHOICES[name]


__all__ = [
    "CHOICES",
    "KNOWN_GOOD",
    "PRESETS",
    "RUNTIMES",
    "STAGE_OF",
    "ChoiceKind",
    "RuntimeFacts",
    "choice_kind",
    "claims",
    "refusal",
]
