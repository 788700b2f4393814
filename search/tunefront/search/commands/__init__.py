"""The commands, by the time at which they are typed."""

from .compare import compare
from .deploy import export, promote, verify
from .morning import ls, pick, report, show, ui
from .night import run, status, stop, sync
from .over_time import recheck
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
    promote,
    recheck,
    sync,
    ui,
    cache,
)

__all__ = ["COMMANDS"]
