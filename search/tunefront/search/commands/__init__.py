"""The commands, by the time at which they are typed."""

from .deploy import export, verify
from .morning import compare, ls, pick, report, show, ui
from .night import run, status, stop, sync
from .profile import profile
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
    profile,
    export,
    verify,
    sync,
    ui,
    cache,
)

__all__ = ["COMMANDS"]
