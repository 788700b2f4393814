"""Recheck of an export: whether its recorded checks and measurements still hold; its history."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tunefront.search.text import OnMessage, command_text
from tunefront.spaces import ExportError, detect_hardware
from tunefront.spaces.hardware import LIBRARIES
from tunefront.spaces.machine.distributions import installed_version

from .drift import DriftVerdict, Finding, measurement_findings
from .quality_recheck import reevaluate_quality
from .rounds import measure_rounds
from .verify import verify

VERIFY_SECONDS = 0.5
HISTORY = ".rechecks.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recheck:
    """The result of a recheck.

    Attributes:
        folder: The export.
        at: The time of the recheck.
        findings: The findings, one for each check and metric.
        machine: The machine's state during the measurement; empty if a check failed before it.
        libraries: Libraries whose version differs from the recorded one, `name: recorded -> now`.
    """

    folder: Path
    at: datetime
    findings: tuple[Finding, ...]
    machine: Mapping[str, float]
    libraries: tuple[str, ...]

    @property
    def verdict(self) -> DriftVerdict:
        """`drifted` if any finding drifted, else `holds` if any holds, else `not compared`."""
        found = {finding.verdict for finding in self.findings}
        return "drifted" if "drifted" in found else "holds" if "holds" in found else "not compared"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "schema": 1,
            "folder": str(self.folder),
            "at": self.at.isoformat(timespec="seconds"),
            "verdict": self.verdict,
            "findings": [finding.to_dict() for finding in self.findings],
            "machine": dict(self.machine),
            "libraries": list(self.libraries),
        }


def recheck_export(folder: Path, experiment: Path | None, on_message: OnMessage) -> Recheck:
    """Check an export's files, outputs and choices; if they hold, measure speed and quality again.

    Args:
        folder: The export.
        experiment: The experiment file for the quality. If None, the one that this machine's
            record has for this export; the manifest's own is not run.
        on_message: Called with a line for every step.

    Raises:
        ExportError: If the folder is no export, or does not run.
        ExperimentError: If `experiment` is given and can't be used.
    """
    from tunefront.evaluators.exports.folder import read_manifest
    from tunefront.evaluators.exports.verification import DECIDING

    folder = folder.absolute()
    if not folder.is_dir():
        raise ExportError(f"{folder} is not a folder; name what `tunefront export` wrote")
    manifest = read_manifest(folder)
    on_message("checking files and outputs")
    checks = [c for c in verify(folder, VERIFY_SECONDS).checks if c.name in DECIDING]
    findings = [
        Finding(metric=c.name, verdict="holds" if c.holds else "drifted", detail=c.detail)
        for c in checks
    ]
    machine: Mapping[str, float] = {}
    if all(finding.verdict == "holds" for finding in findings):
        rounds = measure_rounds(folder, on_message)
        machine = rounds.machine
        findings += measurement_findings(manifest, rounds, detect_hardware().fingerprint)
        findings += reevaluate_quality(folder, manifest, experiment, on_message)
    return Recheck(
        folder=folder,
        at=datetime.now(),
        findings=tuple(findings),
        machine=machine,
        libraries=_libraries(manifest),
    )


def _libraries(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    recorded: Mapping[str, str] = manifest.get("versions", {})
    return tuple(
        f"{name}: {version} -> {_installed(name) or 'not installed'}"
        for name, version in sorted(recorded.items())
        if name != "python" and _installed(name) != version
    )


def _installed(name: str) -> str | None:
    """Return the installed version of a library; None if it is not installed.

    Libraries that do not decide what can run (not in `LIBRARIES`), such as those that serve the
    export, are looked up in the package metadata.
    """
    if name in LIBRARIES:
        return detect_hardware().libraries.get(name)
    return installed_version(name)


def history_file(folder: Path) -> Path:
    """Return the history file of an export, next to its folder, whose contents must not change."""
    whole = folder.absolute()
    return whole.with_name(whole.name + HISTORY)


def keep(found: Recheck) -> None:
    """Append a recheck to the export's history.

    Raises:
        ExportError: If the file can't be written.
    """
    path = history_file(found.folder)
    try:
        with path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(found.to_dict()) + "\n")
    except OSError as error:
        raise ExportError(f"{path} can't be written: {error}") from error


def history(folder: Path) -> Sequence[Mapping[str, Any]]:
    """Read all rechecks of an export, oldest first, as `to_dict` returned them.

    Raises:
        ExportError: If the export was never rechecked, or the file can't be read.
    """
    path = history_file(folder)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]
    except FileNotFoundError as error:
        raise ExportError(
            f"{folder} was never rechecked: no {path}; `{command_text('recheck', folder)}` does so"
        ) from error
    except (OSError, ValueError) as error:
        raise ExportError(f"{path} can't be read: {error}") from error
