"""A terminal for tests: a pseudo-terminal for a command, and what a person would see on it."""

import fcntl
import os
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence

ROWS, COLUMNS = 40, 80
CONTROL = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|(\r)|(\n)|([^\x1b\r\n]+)|(\x1b.?)")


class Screen:
    """What has been printed, as lines: the scrollback and the screen below it."""

    def __init__(self, columns: int = COLUMNS) -> None:
        self._columns = columns
        self._lines: list[list[str]] = [[]]
        self._row = self._column = 0
        self.cursor_shown = True

    def feed(self, text: str) -> None:
        """Print; colours are ignored, an unknown control sequence is an error."""
        for parameters, order, back, down, letters, unknown in CONTROL.findall(text):
            assert not unknown, repr(unknown)
            if back:
                self._column = 0
            elif down:
                self._down()
            elif letters:
                for letter in letters:
                    self._put(letter)
            else:
                self._obey(order, parameters)

    def _obey(self, order: str, parameters: str) -> None:
        if order == "A":
            self._row = max(0, self._row - int(parameters or 1))
        elif order == "K":
            assert parameters == "2", parameters
            self._lines[self._row] = []
        elif parameters == "?25":
            self.cursor_shown = order == "h"
        else:
            assert order == "m", (parameters, order)

    def _put(self, letter: str) -> None:
        if self._column == self._columns:
            self._column = 0
            self._down()
        line = self._lines[self._row]
        line += " " * (self._column + 1 - len(line))
        line[self._column] = letter
        self._column += 1

    def _down(self) -> None:
        self._row += 1
        if self._row == len(self._lines):
            self._lines.append([])

    @property
    def lines(self) -> list[str]:
        """Every line, without what is blank at its end."""
        return ["".join(line).rstrip() for line in self._lines]


TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Makes its standard input the terminal that Ctrl-C comes from, then becomes the command."""


class Typed:
    """A command in a pseudo-terminal.

    Args:
        command: What is run.
        environment: Its variables.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._terminal, end = os.openpty()
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        # Not `pty.fork`: this process may have threads of libraries, which a fork does not survive.
        self._process = subprocess.Popen(
            [sys.executable, "-c", TAKE_TERMINAL, *command],
            stdin=end,
            stdout=end,
            stderr=end,
            env=dict(environment),
            start_new_session=True,
        )
        os.close(end)
        self.raw = b""

    def interrupt(self) -> None:
        """Type Ctrl-C."""
        os.write(self._terminal, b"\x03")

    def read_until(self, reached: Callable[[str], bool], limit_s: float) -> bool:
        """Read what is printed until something holds, or the command has ended."""
        deadline = time.monotonic() + limit_s
        while not reached(self.text):
            assert time.monotonic() < deadline, self.text
            if select.select([self._terminal], [], [], 0.2)[0]:
                try:
                    self.raw += os.read(self._terminal, 65_536)
                except OSError:  # Linux: nobody is at the other end any more
                    return False
        return True

    def exit_code(self, limit_s: float) -> int:
        """Read to the end."""
        self.read_until(lambda text: False, limit_s)
        os.close(self._terminal)
        return self._process.wait()

    @property
    def text(self) -> str:
        """Everything so far, with its control sequences."""
        return self.raw.decode(errors="replace")

    @property
    def screen(self) -> Screen:
        """What a person would see."""
        found = Screen()
        found.feed(self.text)
        return found
