"""The nodes of an existing Ray cluster: which of them can run trials, and their resources.

Only nodes with the hardware and library versions of the driver's machine run trials, so that one
front never mixes measurements of different hardware or versions. Querying nodes needs Ray;
evaluating their replies does not.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunefront.spaces import ClusterError, Hardware, Resources, detect_hardware

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

    def concurrent_trials(self, per_node: int) -> int:
        """Return the number of concurrent trials: `per_node` per node, but at most one per core."""
        if not self.nodes:
            return per_node
        return sum(max(1, min(per_node, int(node.cores))) for node in self.nodes)

    def room_for(self, needed: Resources) -> bool:
        """Return whether any node has the cores and GPUs that a trial needs."""
        needs = ray_resources_of(needed)
        return not self.nodes or any(
            needs["CPU"] <= node.cores and needs.get("GPU", 0.0) <= node.gpus for node in self.nodes
        )

    def selector(self) -> dict[str, str]:
        """Return Ray's label selector for these nodes; empty if any node is allowed."""
        names = ",".join(node.id for node in self.nodes)  # Ray would keep a space as part of an ID
        return {"ray.io/node-id": f"in({names})"} if names else {}


def usable_nodes(nodes: Iterable[Node]) -> NodePool:
    """Return the pool of the nodes without an obstacle."""
    return NodePool(nodes=tuple(node for node in nodes if not node.obstacle))


def check_nodes(nodes: Sequence[Node], address: str, search: Path) -> None:
    """Refuse a cluster in which no node can run trials.

    Raises:
        ClusterError: If no node can run trials, with the obstacle of each.
    """
    if usable_nodes(nodes).nodes:
        return
    obstacles = (
        "; ".join(f"{node.address}: {node.obstacle}" for node in nodes) or "no node offers a core"
    )
    raise ClusterError(
        f"RAY_ADDRESS={address}: none of its nodes can run trials of a search started on "
        f"{detect_hardware().summary()}: {obstacles}; run `tunefront` on a machine like those that "
        f"run trials, with the same libraries, and with {search} at the same path on all of them"
    )


def query_nodes(folder: Path) -> list[Node]:
    """Query every live node that offers at least one core; Ray must be connected.

    Args:
        folder: The search's folder, which every node needs to see at the same path.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ask = ray.remote(_describe)
    offering = [
        node
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"] and node["Resources"].get("CPU", 0) >= 1
    ]
    replies = []
    for node in offering:
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        replies.append(ask.options(num_cpus=0, scheduling_strategy=there).remote(str(folder)))
    if replies:
        ray.wait(replies, num_returns=len(replies), timeout=NODE_TIMEOUT_S)
    return [_node_of(node, _reply_of(reply)) for node, reply in zip(offering, replies, strict=True)]


def _describe(folder: str) -> Mapping[str, Any]:
    """Describe the node that this runs on; `folder` is empty if the node does not see it."""
    hardware = detect_hardware()
    return {
        "summary": hardware.summary(),
        "fingerprint": hardware.fingerprint,
        "libraries": dict(hardware.libraries),
        "variables": dict(hardware.variables),
        "folder": folder if Path(folder).is_dir() else "",
    }


def _reply_of(reply: Any) -> Mapping[str, Any] | str:
    """Return a node's description, or why there is none."""
    import ray
    from ray.exceptions import GetTimeoutError, RayError

    try:
        found: Mapping[str, Any] = ray.get(reply, timeout=0)
    except GetTimeoutError:
        return f"no reply within {NODE_TIMEOUT_S:g} s"
    except RayError as error:
        lines = str(error).strip().splitlines()
        return f"it can't run Tunefront ({lines[-1] if lines else type(error).__name__})"
    return found


def _node_of(node: Mapping[str, Any], reply: Mapping[str, Any] | str) -> Node:
    return Node(
        id=node["NodeID"],
        address=node["NodeManagerAddress"],
        cores=float(node["Resources"].get("CPU", 0)),
        gpus=float(node["Resources"].get("GPU", 0)),
        obstacle=reply if isinstance(reply, str) else obstacle_of(reply, detect_hardware()),
    )


def obstacle_of(described: Mapping[str, Any], here: Hardware) -> str:
    """Return why a node can't run trials of a driver on this machine; empty if it can."""
    if described["fingerprint"] != here.fingerprint:
        return f"it is another machine ({described['summary']})"
    for kind, there, own in (
        ("libraries", described["libraries"], here.libraries),
        ("environment variables", described["variables"], here.variables),
    ):
        other = [
            f"{name} {there.get(name, 'missing')}, here {own.get(name, 'missing')}"
            for name in sorted({*there, *own})
            if there.get(name) != own.get(name)
        ]
        if other:
            return f"it has other {kind} ({'; '.join(other)})"
    return "" if described["folder"] else "it does not see the search's folder"
