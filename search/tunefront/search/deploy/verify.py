"""An export verified in a clean process: what holds and what does not."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tunefront.spaces import ExportError

if TYPE_CHECKING:
    from tunefront.evaluators.exports.verification import Check

VERIFY_S = 3.0
VERIFY_TIMEOUT_S = 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was checked.

    Attributes:
        folder: The export.
        checks: Every check, in order.
        passed: Whether files, outputs and choices are what they were.
    """

    folder: Path
    checks: "tuple[Check, ...]"
    passed: bool

    def remark(self) -> str:
        """What figures that are worse mean for an export that passed; empty where none is."""
        worse = " and ".join(check.name for check in self.checks if check.holds is False)
        if not self.passed or not worse:
            return ""
        return (
            f"{worse}: worse than recorded, which decides nothing here, because other programs may "
            "be in the way; `tunefront recheck FOLDER` measures in rounds and judges"
        )


def verify(folder: Path, seconds: float | None = None) -> Verification:
    """Load an export in a fresh Python, compare outputs on recorded inputs, measure again.

    Args:
        folder: The export.
        seconds: Time for measuring; `SECONDS` where None.

    Raises:
        ExportError: If there is no such folder, or it is no export.
    """
    from tunefront.evaluators.exports.folder import MANIFEST, read_manifest
    from tunefront.evaluators.exports.verification import Check, passed

    if not folder.is_dir():
        raise ExportError(f"{folder} is not a folder; name what `tunefront export` wrote")
    if not (folder / MANIFEST).is_file():
        read_manifest(folder)  # says what is missing
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tunefront.evaluators.exports.verification",
            str(folder.absolute()),
            str(VERIFY_S if seconds is None else seconds),
        ],
        capture_output=True,
        text=True,
        timeout=VERIFY_TIMEOUT_S,
        check=False,
    )
    lines = done.stdout.splitlines()
    if not lines:
        check = Check(
            name="outputs",
            holds=False,
            detail=f"the process ended with {done.returncode}: {done.stderr.strip()[-300:]}",
        )
        return Verification(folder=folder, checks=(check,), passed=False)
    checks = tuple(Check(**fields) for fields in json.loads(lines[-1]))
    return Verification(folder=folder, checks=checks, passed=passed(checks))
