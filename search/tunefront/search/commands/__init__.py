"""The commands, by the time at which they are typed."""

from .morning import compare, export, pick, show, ui, verify
from .night import run, status, stop, sync
from .start import doctor, init

COMMANDS = (init, doctor, run, status, stop, show, pick, compare, export, verify, sync, ui)

__all__ = ["COMMANDS"]
