"""The commands, by the time at which they are typed."""

from .morning import compare, export, ls, pick, report, show, ui, verify
from .night import run, status, stop, sync
from .start import cache, doctor, init

COMMANDS = (
    init,
    doctor,
    run,
    status,
    ls,
    stop,
    show,
    pick,
    compare,
    report,
    export,
    verify,
    sync,
    ui,
    cache,
)

__all__ = ["COMMANDS"]
