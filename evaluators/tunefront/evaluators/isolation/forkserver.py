"""Fork server: imports libraries once, then forks the processes of tasks; no threads, no state.

`process.py` starts it as `python -m tunefront.evaluators.isolation.forkserver MODULE[:FUNCTION]
...`. It imports the modules (and calls the functions), then reads one JSON object per line from
stdin. For each it imports the modules that the task needs in addition and forks a child. It writes
the child's pid to stdout at once, with `started`, and its wait status when the child has exited.
When stdin closes, because the parent has exited, it kills its children and exits.

A task that uses GPUs is `fresh`: its child replaces itself by a fresh interpreter, which imports
the task's libraries itself and then writes its pid again, with `started`.
"""

import gc
import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from .child.terms import become_child, set_option, use_fresh_interpreter
from .child.work import run_task
from .mapped_pages import PageRange, map_pages, mapped_pages
from .preload import load_installed, load_module
from .shared_memory import remove_leftovers

_PR_SET_CHILD_SUBREAPER = 36


def main(modules: list[str]) -> None:
    """Import the modules, then serve requests until stdin closes."""
    set_option(_PR_SET_CHILD_SUBREAPER, 1)
    out = os.dup(1)
    os.dup2(2, 1)  # only the protocol is written to the original stdout
    # Imports create little garbage, and collecting takes a fifth of their time. The imports of
    # candidates enable it (preload.py): what is not collected would count as their memory.
    gc.disable()
    for name in modules:
        load_module(name)
    _answer(out, {"ready": os.getpid()})
    _serve(out, set(modules), _freeze())


def _serve(out: int, loaded: set[str], pages: Sequence[PageRange]) -> None:
    children: dict[int, int] = {}  # pidfd -> pid
    requests: dict[int, int] = {}  # pid -> request id
    began: dict[int, float] = {}  # pid -> seconds since the epoch
    pending = b""
    while True:
        ready, _, _ = select.select([0, *children], [], [])
        for descriptor in [d for d in ready if d != 0]:
            pid = children.pop(descriptor)
            os.close(descriptor)
            _, status, usage = os.wait4(pid, 0)
            _end_group(pid)
            _end_orphans(set(requests) - {pid})
            remove_leftovers(began.pop(pid))
            _answer(out, {"id": requests.pop(pid), "status": status, "maxrss_kb": usage.ru_maxrss})
        if 0 not in ready:
            continue
        block = os.read(0, 65536)
        if not block:
            _end_all(requests)
            remove_leftovers(min(began.values(), default=time.time()))
            return
        *lines, pending = (pending + block).split(b"\n")
        for line in lines:
            request = json.loads(line)
            missing = [name for name in request["needs"] if name not in loaded]
            if missing and not request["fresh"]:
                pages = _load(missing, loaded)
            start = time.time()
            pid = _fork(request, out, pages)
            began[pid] = start
            requests[pid] = request["id"]
            children[os.pidfd_open(pid)] = pid
            started = not request["fresh"]
            _answer(out, {"id": request["id"], "pid": pid, "started": started})


def _freeze() -> Sequence[PageRange]:
    """Exclude imported objects from the children's garbage collection; return the mapped pages.

    A collection would write to shared pages and so copy them.
    """
    gc.collect()
    gc.freeze()
    return mapped_pages()


def _load(names: Collection[str], loaded: set[str]) -> Sequence[PageRange]:
    """Import the modules that a task needs in addition to the import profile, once per server."""
    loaded |= set(names)
    try:
        load_installed(names)
    except Exception:  # libraries raise many classes; the task's own import raises the error again
        traceback.print_exc()
    return _freeze()


def _answer(out: int, message: Mapping[str, object]) -> None:
    os.write(out, json.dumps(message).encode() + b"\n")


def _fork(request: Mapping[str, Any], out: int, pages: Sequence[PageRange]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        become_child(request)
        if request["fresh"]:
            use_fresh_interpreter(request, out)
        os.close(out)
        map_pages(pages)
        code = run_task(request)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _end_group(pid: int) -> None:
    """Kill the processes that remain in the process group of an exited child."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _end_all(pids: Collection[int]) -> None:
    """Kill children, their process groups and their orphans."""
    for pid in pids:
        _end_group(pid)
        os.kill(pid, signal.SIGKILL)  # a child that was just forked has no group yet
        os.waitpid(pid, 0)
    _end_orphans(set())


def _end_orphans(known: set[int]) -> None:
    """Kill orphans: children of this process whose pid is not in `known`.

    As a subreaper this process inherits the grandchildren whose parent has exited, and then those
    of the orphans that it kills.
    """
    listed = Path(f"/proc/self/task/{os.getpid()}/children")
    while orphans := {int(pid) for pid in listed.read_text().split()} - known:
        for orphan in orphans:
            try:
                os.kill(orphan, signal.SIGKILL)
                os.waitpid(orphan, 0)
            except (ProcessLookupError, ChildProcessError):
                continue


if __name__ == "__main__":
    main(sys.argv[1:])
