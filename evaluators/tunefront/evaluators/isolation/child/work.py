"""The work of a task's process: run the task and write its result, or its error, to a file."""

import json
import os
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tunefront.evaluators.isolation.call import run_plain

from .failure import failure_kind, last_written


def run_task(request: Mapping[str, Any], prepare: Callable[[], None] = lambda: None) -> int:
    """Run the task and write its result, or its error, to the result file; return the exit code.

    Args:
        request: The task.
        prepare: Called first; its error is the task's.
    """
    log = Path(request["log"])
    begin = os.fstat(2).st_size
    outcome: dict[str, object]
    try:
        prepare()
        outcome = {"result": run_plain(str(request["function"]), request["request"])}
    except BaseException as error:
        kind = failure_kind(error, lambda: last_written(log, begin))
        traceback.print_exc()
        outcome = {"error": _message(error), "kind": kind}
    target = Path(request["result"])
    partial = target.with_suffix(".partial")
    partial.write_text(json.dumps(outcome))
    partial.rename(target)
    return 0


def _message(error: BaseException) -> str:
    """Return an error's text, preceded by its class unless it is one of Tunefront's errors."""
    from tunefront.spaces import TunefrontError, named_error, text_of

    return text_of(error) if isinstance(error, TunefrontError) else named_error(error)
