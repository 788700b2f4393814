"""A fresh interpreter for a task that uses GPUs: it imports what the task needs and runs it.

A process can't use CUDA if its parent has called CUDA before the fork, and libraries do that when
they are imported. `terms.py` starts this module as `python -P -m
tunefront.evaluators.isolation.child.interpreter REQUEST OUT`, in the process that was forked for
the task: the file REQUEST contains the task, and OUT is the file descriptor of the fork server's
messages. A message there reports that the imports are done; the time of the task begins then.
"""

import faulthandler
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunefront.evaluators.isolation.preload import load_installed, load_module

from .terms import add_paths
from .work import run_task


def main(written: str, out: int) -> int:
    """Import what a task needs, report that, and run it; return the exit code."""
    os.set_inheritable(out, False)
    faulthandler.enable()
    request: Mapping[str, Any] = json.loads(Path(written).read_text())
    add_paths(request)

    def prepare() -> None:
        for name in request["imports"]:
            load_module(name)
        load_installed(request["needs"])
        started = {"id": request["id"], "pid": os.getpid(), "started": True}
        os.write(out, json.dumps(started).encode() + b"\n")
        os.close(out)

    return run_task(request, prepare)


if __name__ == "__main__":
    code = 1
    try:
        code = main(sys.argv[1], int(sys.argv[2]))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
