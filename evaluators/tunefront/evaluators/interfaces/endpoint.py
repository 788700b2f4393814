"""The contract of an endpoint: a candidate that is open and can be called."""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from tunefront.spaces import Value

Facts = Mapping[str, Value]
"""The read-back of an endpoint: its actual properties, by choice name where one fits.

`weight_bits`: mean bits per weight, over weight tensors of at least two dimensions; `sparsity`:
share of zeros among these weights; `parameters`: their number.
"""
COPY_SHARE = "copy_share"
"""Fact: share of the copies to and from the GPU in the time of a request."""
GPUS = "gpus"
"""Fact: UUIDs of the GPUs that the candidate's tensors are on, separated by commas."""
VARYING_FACTS = frozenset({COPY_SHARE, GPUS})
"""Facts that differ between two readings of the same candidate."""


class Endpoint(ABC):
    """An open candidate; each interface adds the calls by which it is used.

    An endpoint belongs to the process that opened it. It can start further processes, or send
    its requests to a server.
    """

    @abstractmethod
    def facts(self) -> Facts:
        """Return the actual properties of what runs, by choice name.

        This can allocate memory; call it after memory has been measured.
        """

    def processes(self) -> Sequence[int] | None:
        """Return the ids of the processes that do the work; None if they are on another machine.

        Descendants of these processes belong to them and need not be listed.
        """
        return (os.getpid(),)

    def close(self) -> None:
        """End the processes that the endpoint started, if any."""
        return
