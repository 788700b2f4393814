"""The interfaces by name, and the requests of a workload as a folder."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tunefront.spaces import SpaceError, did_you_mean
from tunefront.spaces.metric import Metric

from .base import Interface, PassSize
from .generation import Generation
from .load import Load
from .tensors import Tensors

AnyInterface = Interface[Any, Any, Any]
INTERFACES: Mapping[str, AnyInterface] = {one.name: one for one in (Tensors(), Generation())}
INTERFACE_METRICS: tuple[Metric, ...] = tuple(
    metric for interface in INTERFACES.values() for metric in interface.metrics
)
"""The metrics of all interfaces; at most one of each interface is its reference rate."""
LOAD_FILE = "load.json"


def interface_of(name: str) -> AnyInterface:
    """Return the interface of that name.

    Raises:
        SpaceError: If there is none; the message suggests the nearest name.
    """
    if name not in INTERFACES:
        raise SpaceError(f"unknown interface {name!r}{did_you_mean(name, INTERFACES)}")
    return INTERFACES[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSet:
    """The requests that speed is measured with.

    Attributes:
        interface: The interface of the requests.
        load: When they are sent.
        requests: The requests of one pass.
    """

    interface: AnyInterface
    load: Load
    requests: Sequence[Any]

    @property
    def size(self) -> PassSize:
        """The size of a pass."""
        return self.interface.size(self.requests)

    def write(self, folder: Path) -> None:
        """Write the requests and their load to a folder."""
        fields = {"interface": self.interface.name, **asdict(self.load)}
        (folder / LOAD_FILE).write_text(json.dumps(fields) + "\n")
        self.interface.write(self.requests, folder)

    @classmethod
    def read(cls, folder: Path) -> "RequestSet":
        """Read the requests that `write` wrote."""
        fields = json.loads((folder / LOAD_FILE).read_text())
        interface = interface_of(fields.pop("interface"))
        return cls(interface=interface, load=Load(**fields), requests=interface.read(folder))
