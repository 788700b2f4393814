"""The end of an export's run.py: it sends the recorded request and compares the response.

Scripts of exports contain this code.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tunefront.evaluators.interfaces.source_bundle import bundle

HTTP_SAMPLE = "sample.json"
"""File of an export with a recorded request and the value of its response."""
_HTTP_CALL = """

if __name__ == "__main__":
    call_recorded(HERE, load, run)
"""


def http_sample_script() -> str:
    """Return the end of run.py."""
    code = bundle([f"{__name__}:{call_recorded.__name__}"])
    return f"\n\n{code}\n{_HTTP_CALL}"


def call_recorded(
    folder: Path, load: Callable[[], str], run: Callable[[str, Mapping[str, Any]], object]
) -> None:
    """Send the recorded request and print whether the response is the recorded one."""
    sample = json.loads((folder / HTTP_SAMPLE).read_text())
    request = sample["request"]
    value = run(load(), request)
    same = value == sample["response"]
    print(request["method"], request["path"], "|", "as recorded" if same else "different")
