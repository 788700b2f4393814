"""Verification of an export in a fresh process."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunefront.evaluators.isolation.cores import Lessee, OnWait, wait_unreported
from tunefront.evaluators.isolation.gpus import lease_gpus
from tunefront.spaces import ExportError, detect_hardware

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
        passed: Whether files, outputs, choices and the answer of a server match the recorded ones.
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
    folder: Path,
    seconds: float | None = None,
    *,
    sha256: str | None = None,
    source: str = "given",
    on_wait: OnWait = wait_unreported,
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
        on_wait: Called when a wait for the GPUs that it runs on begins, changes and ends.

    Raises:
        ExportError: If the folder does not exist or is no export, or `sha256` is no digest.
        EvaluationError: With the cause "device", if too few GPUs can be used.
    """
    from tunefront.evaluators.exports.folder import read_manifest
    from tunefront.evaluators.exports.verification import Check, passed

    if not folder.is_dir():
        raise ExportError(f"{folder} is not a folder; name what `tunefront export` wrote")
    manifest = read_manifest(folder)
    origin = check_manifest(folder, sha256, source)
    if origin.holds is False:
        return Verification(folder=folder, checks=(origin,), passed=False)
    with _leased_gpus(manifest, on_wait) as environment:
        done = subprocess.run(
            [
                sys.executable,
                "-P",
                "-m",
                "tunefront.evaluators.exports.verification",
                str(folder.absolute()),
                str(VERIFY_S if seconds is None else seconds),
            ],
            env=environment,
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


@contextmanager
def _leased_gpus(manifest: Mapping[str, Any], on_wait: OnWait) -> Iterator[dict[str, str]]:
    """Lease the GPUs that an export runs on; yield the environment of a process that sees them."""
    configuration = manifest.get("configuration", {})
    ranks = int(configuration.get("tensor_parallel") or 1)
    on_gpus = configuration.get("device") == "cuda"
    wanted = min(ranks, len(detect_hardware().gpus)) if on_gpus else 0  # without any, a check fails
    lessee = Lessee.this_process("tunefront verify")
    with lease_gpus(wanted, lessee=lessee, on_wait=on_wait) as leased:
        names = ",".join(gpu.uuid for gpu in leased)
        visible = {"CUDA_VISIBLE_DEVICES": names, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        yield {**os.environ, **(visible if leased else {})}


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
