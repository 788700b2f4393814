"""The terms of a task's process: session, log, cores, limits, folder, environment, interpreter."""

import ctypes
import faulthandler
import gc
import json
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

_PR_SET_PDEATHSIG = 1
INTERPRETER = "tunefront.evaluators.isolation.child.interpreter"
"""Module that a fresh interpreter runs."""


def set_option(option: int, value: int) -> None:
    """Set an option of this process by the system call prctl."""
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def become_child(request: Mapping[str, Any]) -> None:
    """Give a forked process a separate session, log, cores, limits, folder and environment."""
    gc.enable()
    os.setsid()
    set_option(_PR_SET_PDEATHSIG, signal.SIGKILL)
    null = os.open(os.devnull, os.O_RDONLY)
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    faulthandler.enable()
    if request["cores"]:
        os.sched_setaffinity(0, request["cores"])
    os.environ.update(request["environment"])
    add_paths(request)
    os.environ["TMPDIR"] = tempfile.tempdir = request["scratch"]
    os.chdir(request["scratch"])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if request["memory_mb"]:
        limit = int(request["memory_mb"]) * 2**20
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def add_paths(request: Mapping[str, Any]) -> None:
    """Append the task's folders to the import path."""
    sys.path += [path for path in request["paths"] if path not in sys.path]


def use_fresh_interpreter(request: Mapping[str, Any], out: int) -> NoReturn:
    """Replace this process, which became a child, by a fresh interpreter that runs the task.

    It stays the same process for the system: its pid, session, log, cores and limits remain, and
    it still ends with its parent. The task's environment becomes all of its environment.

    Args:
        request: The task.
        out: File descriptor of the fork server's messages; see `interpreter.py`.
    """
    written = Path(request["result"]).with_suffix(".request")
    task = {name: value for name, value in request.items() if name != "environment"}
    written.write_text(json.dumps(task))
    os.set_inheritable(out, True)
    environment = {**request["environment"], "TMPDIR": request["scratch"]}
    command = [sys.executable, "-P", "-m", INTERPRETER, str(written), str(out)]
    os.execve(sys.executable, command, environment)
