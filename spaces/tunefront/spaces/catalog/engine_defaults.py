"""Defaults of runtimes as values for every choice: what the library and what its caller decides."""

from collections.abc import Mapping, Sequence

from tunefront.spaces.choice import Value
from tunefront.spaces.choice_kind import ChoiceKind
from tunefront.spaces.errors import SpaceError, did_you_mean
from tunefront.spaces.extension import Extension

from .execution import BATCH_SIZE, REPLICAS, TENSOR_PARALLEL, THREADS
from .generation import MAX_BATCH
from .runtime import DEVICE

DECIDED_BY_CALLER = (DEVICE.name, BATCH_SIZE.name, REPLICAS.name, TENSOR_PARALLEL.name)
"""Choices that no library makes by itself: in its default they are as in the baseline."""
LIMITS_OF_ENGINES = (THREADS.name, MAX_BATCH.name)
"""Choices that limit a library, which uses all cores and takes all requests by itself: in its
default they have their largest value of the space that can run."""


def check_defaults(extensions: Sequence[Extension], kinds: Mapping[str, ChoiceKind]) -> None:
    """Check that defaults name known choices and values.

    Raises:
        SpaceError: Naming the extension, the choice and the rule.
    """
    for extension in extensions:
        for default in extension.defaults:
            for values in default.alternatives:
                _check(extension.name, values, kinds)


def _check(name: str, values: Mapping[str, Value], kinds: Mapping[str, ChoiceKind]) -> None:
    for choice, value in values.items():
        if choice not in kinds:
            raise SpaceError(
                f"extension {name}: defaults names the unknown choice {choice!r}"
                f"{did_you_mean(choice, kinds)}"
            )
        try:
            kinds[choice].check(value)
        except SpaceError as error:
            raise SpaceError(f"extension {name}: defaults: {error}") from error
