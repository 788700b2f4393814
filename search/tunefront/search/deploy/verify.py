"""Verification of an export in a fresh process."""

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
    """The result of a verification.

    Attributes:
        folder: The export.
        checks: All checks, in order.
        passed: Whether files, outputs and choices match the recorded ones.
    """

    folder: Path
    checks: "tuple[Check, ...]"
    passed: bool

    def remark(self) -> str:
        """Explain why worse measurements do not fail a passed export; empty if there are none."""
        worse = " and ".join(check.name for check in self.checks if check.holds is False)
        if not self.passed or not worse:
            return ""
        return (
            f"{worse}: worse than recorded, which is no failure, because other processes can "
            "disturb a single measurement; `tunefront recheck FOLDER` measures in several rounds"
        )


def verify(folder: Path, seconds: float | None = None) -> Verification:
    """Load an export in a fresh process, compare outputs on recorded inputs, measure again.

    Args:
        folder: The export.
        seconds: Time for measuring, s; `VERIFY_S` if None.

    Raises:
        ExportError: If the folder does not exist or is no export.
    """
    from tunefront.evaluators.exports.folder import MANIFEST, read_manifest
    from tunefront.evaluators.exports.verification import Check, passed

    if not folder.is_dir():
        raise ExportError(f"{folder} is not a folder; name what `tunefront export` wrote")
    if not (folder / MANIFEST).is_file():
        read_manifest(folder)  # raises an error that names what is missing
    done = subprocess.run(
        [
            sys.executable,
            "-P",
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
