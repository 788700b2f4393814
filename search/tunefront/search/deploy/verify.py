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


def verify(
    folder: Path, seconds: float | None = None, *, sha256: str | None = None, source: str = "given"
) -> Verification:
    """Load an export in a fresh process, compare outputs on recorded inputs, measure again.

    The last check names what the manifest itself was compared with: the digest given, else the
    record of exports made on this machine, else nothing outside the folder. With another manifest
    than expected, nothing of the folder is run.

    Args:
        folder: The export.
        seconds: Time for measuring, s; `VERIFY_S` if None.
        sha256: The expected sha256 of its manifest.
        source: Where that digest is from, for the check: `given`, `registered`.

    Raises:
        ExportError: If the folder does not exist or is no export, or `sha256` is no digest.
    """
    from tunefront.evaluators.exports.folder import read_manifest
    from tunefront.evaluators.exports.verification import Check, passed

    if not folder.is_dir():
        raise ExportError(f"{folder} is not a folder; name what `tunefront export` wrote")
    read_manifest(folder)  # raises an error that names what is missing
    origin = check_manifest(folder, sha256, source)
    if origin.holds is False:
        return Verification(folder=folder, checks=(origin,), passed=False)
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
    checks = (*(Check(**fields) for fields in json.loads(lines[-1])), origin)
    return Verification(folder=folder, checks=checks, passed=passed(checks))


def check_manifest(folder: Path, sha256: str | None, source: str) -> "Check":
    """Compare the manifest's sha256 with the expected one, else with this machine's record.

    Raises:
        ExportError: If the manifest can't be read, or `sha256` is no digest.
    """
    from tunefront.evaluators.exports.folder import MANIFEST, check_form, manifest_digest
    from tunefront.evaluators.exports.verification import Check

    from .export_record import export_recorded_at, known_export

    found = manifest_digest(folder)
    here = f"sha256 {found}"
    if sha256 is not None:
        if found == check_form(sha256):
            return Check(name="manifest", holds=True, detail=f"{here}, as {source}")
        wrong = f"{MANIFEST} has {here}, but {sha256} is the one {source}"
        return Check(name="files", holds=False, detail=wrong)
    if (known := known_export(found)) is not None:
        origin = f"{here}, as recorded here for trial {known.trial} of {known.name}"
        return Check(name="manifest", holds=True, detail=origin)
    if (other := export_recorded_at(folder)) is not None:
        wrong = f"{MANIFEST} has {here}, but {other.sha256} was recorded for trial {other.trial} "
        wrong += "in this folder; if another export was put here, give its digest with --sha256"
        return Check(name="files", holds=False, detail=wrong)
    alone = "known only from this folder: files replaced with their sums are not noticed; "
    alone += "give the digest that `tunefront export` printed with --sha256"
    return Check(name="manifest", holds=None, detail=f"{here}, {alone}")
