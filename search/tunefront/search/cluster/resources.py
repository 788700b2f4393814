"""Ray resources of a trial, computed without Ray."""

from collections.abc import Mapping
from typing import Any

from tunefront.search.text import counted


def ray_resources_of(configuration: Mapping[str, Any]) -> dict[str, float]:
    """Return a core per thread of every process, and on CUDA a GPU per process.

    The number of processes is replicas x tensor-parallel ranks; all run on one node.
    """
    ranks = int(configuration.get("tensor_parallel", 1))
    processes = int(configuration.get("replicas", 1)) * ranks
    needs = {"CPU": float(configuration.get("threads", 1)) * processes}
    if configuration.get("device", "cpu") == "cuda":
        needs["GPU"] = float(processes)
    return needs


def ray_resources_text(needs: Mapping[str, float]) -> str:
    """Return a text such as `2 cores and 1 GPU`."""
    named = [(needs["CPU"], "core"), (needs.get("GPU", 0.0), "GPU")]
    return " and ".join(counted(int(count), noun) for count, noun in named if count)
