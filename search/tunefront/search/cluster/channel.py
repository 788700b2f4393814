"""JSON lines between the night and the process that holds Ray."""

import json
import os
import threading
from collections.abc import Mapping
from typing import IO, Any


class Wire:
    """One end of the line.

    Args:
        reading: Where the other end's lines come from.
        writing: The descriptor that lines go to.
    """

    def __init__(self, reading: IO[bytes], writing: int) -> None:
        self._reading = reading
        self._writing = writing
        self._lock = threading.Lock()

    def say(self, **message: object) -> None:
        """Send a line.

        Raises:
            OSError: If nobody is at the other end.
        """
        line = json.dumps(message).encode() + b"\n"
        with self._lock:
            while line:
                line = line[os.write(self._writing, line) :]

    def hear(self) -> Mapping[str, Any] | None:
        """The next line; None where the other end is gone."""
        line = self._reading.readline()
        found: Mapping[str, Any] | None = json.loads(line) if line.endswith(b"\n") else None
        return found
