"""The built-in techniques, and the selection of those that a configuration uses."""

from collections.abc import Mapping
from types import MappingProxyType

from tunefront.spaces import Configuration

from .base import Technique
from .layers import LayerDropping
from .magnitude import MagnitudePruning
from .structured import channels, heads

PRUNING: Mapping[str, Technique] = MappingProxyType(
    {
        technique.name: technique
        for technique in (channels(), heads(), LayerDropping(), MagnitudePruning())
    }
)


def active_techniques(configuration: Configuration) -> list[tuple[Technique, float]]:
    """Return the techniques that a complete configuration uses, in order, each with its amount."""
    ratio = configuration.number("pruning_ratio")
    if ratio == 0.0:
        return []
    return [(PRUNING[configuration.text("pruning_method")], ratio)]
