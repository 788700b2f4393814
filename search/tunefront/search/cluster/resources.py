"""Ray resources of a trial, computed without Ray."""

from collections.abc import Mapping

from tunefront.search.text import counted
from tunefront.spaces import Resources, detect_hardware


def ray_resources_of(needed: Resources) -> dict[str, float]:
    """Return the physical cores for all threads of all processes, and the GPUs, on one node.

    All nodes that run trials are machines like this one.
    """
    found = {"CPU": float(detect_hardware().cores_leased(needed.cores))}
    return {**found, "GPU": float(needed.gpus)} if needed.gpus else found


def ray_resources_text(needs: Mapping[str, float]) -> str:
    """Return a text such as `2 cores and 1 GPU`."""
    named = [(needs["CPU"], "core"), (needs.get("GPU", 0.0), "GPU")]
    return " and ".join(counted(int(count), noun) for count, noun in named if count)
