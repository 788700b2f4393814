"""The commands of the command line, one file per command."""

from .cache import cache_command
from .compare import compare_command
from .diff import diff_command
from .doctor import doctor_command
from .export import export_command
from .init import init_command
from .ls import ls_command
from .pick import pick_command
from .profile import profile_command
from .promote import promote_command
from .recheck import recheck_command
from .report import report_command
from .run import run_command
from .show import show_command
from .status import status_command
from .stop import stop_command
from .sync import sync_command
from .ui import ui_command
from .verify import verify_command

COMMANDS = (
    init_command,
    doctor_command,
    run_command,
    status_command,
    ls_command,
    stop_command,
    show_command,
    diff_command,
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
