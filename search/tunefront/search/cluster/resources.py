"""Ray resources of a trial, computed without Ray."""

from collections.abc import Mapping

from tunefront.search.text import counted
from tunefront.spaces import Value, resources_of


def ray_resources_of(configuration: Mapping[str, Value]) -> dict[str, float]:
    """Return a core per thread of every process, and on CUDA a GPU per process, all on one node.

    The configuration must be complete.
    """
    needed = resources_of(configuration)
    found = {"CPU": float(needed.cores)}
    return {**found, "GPU": float(needed.gpus)} if needed.gpus else found


def ray_resources_text(needs: Mapping[str, float]) -> str:
    """Return a text such as `2 cores and 1 GPU`."""
    named = [(needs["CPU"], "core"), (needs.get("GPU", 0.0), "GPU")]
    return " and ".join(counted(int(count), noun) for count, noun in named if count)
