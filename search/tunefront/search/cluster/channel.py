"""JSON-lines channel between the search driver and the Ray supervisor process."""

import json
import os
import threading
from collections.abc import Mapping
from typing import IO, Any


class Channel:
    """One end of the channel.

    Args:
        reading: Stream of the lines from the other end.
        writing: File descriptor that lines are written to.
    """

    def __init__(self, reading: IO[bytes], writing: int) -> None:
        self._reading = reading
        self._writing = writing
        self._lock = threading.Lock()

    def send(self, **message: object) -> None:
        """Send one message; concurrent calls are serialized.

        Raises:
            OSError: If the other end is closed.
        """
        line = json.dumps(message).encode() + b"\n"
        with self._lock:
            while line:
                line = line[os.write(self._writing, line) :]

    def receive(self) -> Mapping[str, Any] | None:
        """Receive the next message, blocking; None if the other end is closed."""
        line = self._reading.readline()
        found: Mapping[str, Any] | None = json.loads(line) if line.endswith(b"\n") else None
        return found
