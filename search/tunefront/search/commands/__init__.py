"""The commands, by the time at which they are typed."""

from .compare import compare_command
from .deploy import export_command, promote_command, verify_command
from .morning import ls_command, pick_command, report_command, show_command, ui_command
from .night import run_command, status_command, stop_command, sync_command
from .over_time import recheck_command
from .profile import profile_command
from .start import cache_command, doctor_command, init_command

COMMANDS = (
    init_command,
    doctor_command,
    run_command,
    status_command,
    ls_command,
    stop_command,
    show_command,
    pick_command,
    compare_command,
    report_command,
    profile_command,
    export_command,
    verify_command,
    promote_command,
    recheck_command,
    sync_command,
    ui_command,
    cache_command,
)

__all__ = ["COMMANDS"]
