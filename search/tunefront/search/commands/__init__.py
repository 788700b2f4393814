"""The commands, by the time at which they are typed."""

from .deploy import export, verify
from .morning import compare, ls, pick, report, show, ui
from .night import run, status, stop, sync
from .over_time import recheck
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
    recheck,
    sync,
    ui,
    cache,
)

__all__ = ["COMMANDS"]
