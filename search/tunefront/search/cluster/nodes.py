"""The nodes of an existing Ray cluster: which of them can run trials, and their resources.

Only nodes with the hardware and library versions of the driver's machine run trials, so that one
front never mixes measurements of different hardware or versions. Querying nodes needs Ray;
deciding on their replies does not.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunefront.search.text import counted
from tunefront.spaces import ClusterError, Hardware, detect_hardware

from .resources import ray_resources_of

NODE_TIMEOUT_S = 60.0
"""Timeout of the query of all nodes; a node that has not replied by then runs no trials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node of the cluster.

    Attributes:
        id: Ray's node ID.
        address: The node's address, for messages.
        cores: Number of cores that the node offers to Ray.
        gpus: Number of GPUs that the node offers to Ray.
        obstacle: Why the node can't run trials; empty if it can.
    """

    id: str
    address: str
    cores: float
    gpus: float
    obstacle: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePool:
    """The nodes that trials can run on.

    Attributes:
        nodes: The nodes that run trials; empty for a local Ray, where any node is allowed.
    """

    nodes: tuple[Node, ...] = ()

    def at_a_time(self, each: int) -> int:
        """Return the number of concurrent trials: `each` per node, but at most one per core."""
        if not self.nodes:
            return each
        return sum(max(1, min(each, int(node.cores))) for node in self.nodes)

    def room_for(self, configuration: Mapping[str, Any]) -> bool:
        """Return whether any node has the cores and GPUs for a trial of this configuration."""
        needs = ray_resources_of(configuration)
        return not self.nodes or any(
            needs["CPU"] <= node.cores and needs.get("GPU", 0.0) <= node.gpus for node in self.nodes
        )

    def selector(self) -> dict[str, str]:
        """Return Ray's label selector for these nodes; empty if any node is allowed."""
        names = ",".join(node.id for node in self.nodes)  # Ray would keep a space as part of an ID
        return {"ray.io/node-id": f"in({names})"} if names else {}


def places_of(nodes: Iterable[Node]) -> NodePool:
    """Return the pool of the nodes without an obstacle."""
    return NodePool(nodes=tuple(node for node in nodes if not node.obstacle))


def check_nodes(nodes: Sequence[Node], address: str, search: Path) -> None:
    """Refuse a cluster in which no node can run trials.

    Raises:
        ClusterError: If no node can run trials, with the obstacle of each.
    """
    if places_of(nodes).nodes:
        return
    told = "; ".join(f"{node.address}: {node.obstacle}" for node in nodes) or "no node lends a core"
    raise ClusterError(
        f"RAY_ADDRESS={address}: none of its nodes can measure for a search that is started on "
        f"{detect_hardware().summary()}: {told}; run `tunefront` on a machine like those that are "
        f"to measure, with the same libraries, and with {search} at the same path on all of them"
    )


def cluster_lines(nodes: Sequence[Node], each: int) -> list[str]:
    """Describe the cluster's usable and unusable nodes; no lines for a local Ray."""
    if not nodes:
        return []
    places = places_of(nodes)
    told = counted(len(places.nodes), "node")
    found = [f"cluster: {told}, {counted(places.at_a_time(each), 'trial')} at a time"]
    return found + [
        f"cluster: {node.address} measures nothing: {node.obstacle}"
        for node in nodes
        if node.obstacle
    ]


def look_at_nodes(folder: Path) -> list[Node]:
    """Query every live node that offers at least one core; Ray must be connected.

    Args:
        folder: The search's folder, which every node needs to see at the same path.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ask = ray.remote(_describe)
    lending = [
        node
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"] and node["Resources"].get("CPU", 0) >= 1
    ]
    answers = []
    for node in lending:
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        answers.append(ask.options(num_cpus=0, scheduling_strategy=there).remote(str(folder)))
    if answers:
        ray.wait(answers, num_returns=len(answers), timeout=NODE_TIMEOUT_S)
    return [_judged(node, _heard(answer)) for node, answer in zip(lending, answers, strict=True)]


def _describe(folder: str) -> Mapping[str, Any]:
    """Describe the node that this runs on; `folder` is empty if the node does not see it."""
    hardware = detect_hardware()
    return {
        "summary": hardware.summary(),
        "fingerprint": hardware.fingerprint,
        "libraries": dict(hardware.libraries),
        "folder": folder if Path(folder).is_dir() else "",
    }


def _heard(answer: Any) -> Mapping[str, Any] | str:
    """Return a node's description, or why there is none."""
    import ray
    from ray.exceptions import GetTimeoutError, RayError

    try:
        found: Mapping[str, Any] = ray.get(answer, timeout=0)
    except GetTimeoutError:
        return f"it has not answered for {NODE_TIMEOUT_S:g} s"
    except RayError as error:
        lines = str(error).strip().splitlines()
        return f"it can't run Tunefront ({lines[-1] if lines else type(error).__name__})"
    return found


def _judged(node: Mapping[str, Any], heard: Mapping[str, Any] | str) -> Node:
    return Node(
        id=node["NodeID"],
        address=node["NodeManagerAddress"],
        cores=float(node["Resources"].get("CPU", 0)),
        gpus=float(node["Resources"].get("GPU", 0)),
        obstacle=heard if isinstance(heard, str) else obstacle_of(heard, detect_hardware()),
    )


def obstacle_of(described: Mapping[str, Any], here: Hardware) -> str:
    """Return why a node can't run trials of a driver on this machine; empty if it can."""
    if described["fingerprint"] != here.fingerprint:
        return f"it is another machine ({described['summary']})"
    there, own = described["libraries"], here.libraries
    other = [
        f"{name} {there.get(name, 'missing')}, here {own.get(name, 'missing')}"
        for name in sorted({*there, *own})
        if there.get(name) != own.get(name)
    ]
    if other:
        return f"it has other libraries ({'; '.join(other)})"
    return "" if described["folder"] else "it does not see the search's folder"
