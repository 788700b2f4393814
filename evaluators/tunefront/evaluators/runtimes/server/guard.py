"""Runs a server's command and ends all of its processes with it; needs the standard library only.

`process.py` starts it as a program: `python -I -S guard.py CORES COMMAND...`, in a session of its
own. The server runs on these cores (`0,1`), in another session, and writes to the guard's stderr.
The guard writes one line of JSON to stdout when the server has started (`pid`) or can't be
(`error`), and one when it has ended (`exit`, negative for a signal). It reads stdin: the line `stop
SECONDS` ends the server by SIGTERM and, after that time, by SIGKILL; the end of stdin, as when the
process that started the guard has been killed, ends it by SIGKILL at once. All descendants of the
server are killed then, also those that have left its process group: the guard is their subreaper.
"""

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_POLL_S = 0.05


def main(cores: str, command: list[str]) -> int:
    """Start the command, wait for its end or for stdin, and kill what is left."""
    os.sched_setaffinity(0, [int(core) for core in cores.split(",")])
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal; the parent decides
    try:
        server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=2,
            start_new_session=True,
            preexec_fn=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0),
        )
    except OSError as error:
        _report({"error": f"{command[0]}: {error.strerror}"})
        return 0
    _report({"pid": server.pid})
    ended = os.pidfd_open(server.pid)
    ready, _, _ = select.select([0, ended], [], [])
    if ended not in ready:
        words = os.read(0, 100).split()
        if words[:1] == [b"stop"]:
            _stop(server, float(words[1]))
    _kill_group(server.pid)
    server.wait()
    _kill_descendants()
    _report({"exit": server.returncode})
    return 0


def _report(message: dict[str, object]) -> None:
    try:
        os.write(1, json.dumps(message).encode() + b"\n")
    except OSError:  # nothing reads it any more
        return


def _stop(server: "subprocess.Popen[bytes]", limit_s: float) -> None:
    """Send SIGTERM to the server's group and wait for its end, for a limited time."""
    deadline = time.monotonic() + limit_s
    try:
        os.killpg(server.pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    while server.poll() is None and time.monotonic() < deadline:
        time.sleep(_POLL_S)


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _kill_descendants() -> None:
    """Kill all processes that were inherited, until there is none; each one leaves its own."""
    while True:
        with open(f"/proc/self/task/{os.getpid()}/children") as listed:
            children = [int(pid) for pid in listed.read().split()]
        if not children:
            return
        for pid in children:
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                continue


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
