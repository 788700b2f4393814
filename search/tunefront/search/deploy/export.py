"""Export of a pick as a folder that runs elsewhere; the folder appears only after verification."""

import json
import shutil
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tunefront.evaluators import (
    CandidateRecord,
    EvaluationSettings,
    Isolation,
    describe_workload,
    export_candidate,
    is_built,
)
from tunefront.evaluators.exports.folder import (
    CONFIGURATION,
    README,
    SERVER,
    manifest_digest,
    read_manifest,
    write_manifest,
)
from tunefront.evaluators.exports.open import PROCESSOR, deployment_of
from tunefront.evaluators.interfaces.builtin import interface_of
from tunefront.evaluators.interfaces.generation.run_script import ABOUT
from tunefront.evaluators.isolation.codec import to_plain
from tunefront.evaluators.isolation.cores import Lessee
from tunefront.evaluators.runtimes.base import Deployment
from tunefront.evaluators.statistics.formatting import interval_text, value_text
from tunefront.search.experiment.document import slug_of
from tunefront.search.results.metadata import read_record
from tunefront.search.results.result import Result
from tunefront.search.study.trial import Trial
from tunefront.search.text import OnMessage, command_text, wait_messages
from tunefront.spaces import ExportError, MachineError, detect_hardware, show

from .export_record import record_export
from .quality_recheck import record_items
from .rounds import Rounds, measure_rounds
from .serving import DOCKERFILE, Texts, dockerfile, serving_text, serving_versions
from .verify import Verification, verify


def default_folder(result: Result, trial: Trial) -> Path:
    """Return the default export folder of a trial, in `exports` of the search's results."""
    return result.experiment.results / "exports" / slug_of(trial.name())


def check_export_of(result: Result, trial: Trial, folder: Path) -> None:
    """Refuse a folder that is not the export of this trial.

    Raises:
        ExportError: If the folder is no export, or is one of another trial or experiment.
    """
    manifest = read_manifest(folder)
    held = f"trial {manifest['trial']} ({_words(manifest['configuration'])}) of "
    held += str(manifest["experiment"])
    wanted = f"trial {trial.number} ({_words(trial.configuration)}) of {result.experiment.name}"
    if held != wanted:
        raise ExportError(
            f"{folder} holds {held}, not {wanted}; remove it, or name another with --output"
        )


_WORDS = """
`python run.py "PROMPT"` answers a prompt as text, and needs transformers, too."""
"""Sentence of the README about a model that writes text."""


def _words(configuration: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {show(configuration[name])}" for name in sorted(configuration))


def export_trial(
    result: Result,
    trial: Trial,
    settings: EvaluationSettings,
    target: Path,
    on_message: OnMessage = lambda line: None,
) -> Verification:
    """Export a measured trial and verify the export in a fresh process.

    Args:
        result: The result of the search, for the README and the manifest.
        trial: The trial to export.
        settings: The evaluation settings of the search.
        target: The folder to write; must not exist yet.
        on_message: Called with what it waits for.

    Raises:
        ExportError: If the trial was not measured, the folder exists already, or verification
            fails; no files remain then.
    """
    if not trial.measured:
        raise ExportError(f"trial {trial.number} {trial.status}: only measured trials are exported")
    target = target.absolute()  # the process that loads it has another working folder
    if target.exists():
        raise ExportError(f"{target} exists already; remove it, or name another with --output")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        _fill(result, trial, settings, partial, on_message)
        verification = verify(partial, sha256=manifest_digest(partial), source="just written")
        if not verification.passed:
            wrong = [c for c in verification.checks if c.holds is False]
            failed = "; ".join(f"{c.name}: {c.detail}" for c in wrong)
            raise ExportError(f"trial {trial.number} does not survive its export: {failed}")
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    _record(result, trial, target, on_message)
    return replace(verification, folder=target)


def _record(result: Result, trial: Trial, folder: Path, on_message: OnMessage) -> None:
    """Record the export; without a record it is as usable, but its origin can't be checked."""
    try:
        record_export(result.experiment, trial.number, folder)
    except (MachineError, OSError) as error:
        on_message(f"the export is not recorded on this machine: {error}")


def _fill(
    result: Result,
    trial: Trial,
    settings: EvaluationSettings,
    folder: Path,
    on_message: OnMessage,
) -> None:
    lessee = Lessee.this_process(f"export of {trial.name()}")
    isolation = Isolation(lessee, wait_messages(on_message))
    log = result.experiment.results / "logs" / f"export-{trial.number:05}.log"
    try:
        if not is_built(settings, trial.complete):
            _check_unchanged(result, settings, isolation, log)
        export_candidate(settings, trial.complete, isolation, log, folder)
    finally:
        isolation.close()
    deployment = deployment_of(folder, CandidateRecord.read(folder))
    if not (folder / SERVER).is_file() and not deployment.not_served:
        interface = interface_of(CandidateRecord.read(folder).interface)
        deployment = replace(deployment, not_served=interface.unserved)
    record_items(trial, folder)
    fields = _manifest(result, trial, measure_rounds(folder), deployment)
    resolved = {"configuration": dict(trial.configuration), "experiment": result.experiment.written}
    (folder / CONFIGURATION).write_text(json.dumps(resolved, indent=2, default=str) + "\n")
    if (folder / SERVER).is_file():
        tag = slug_of(result.experiment.name)
        (folder / DOCKERFILE).write_text(dockerfile(deployment, fields["versions"], tag))
    (folder / README).write_text(_readme(result, trial, deployment, folder, fields))
    write_manifest(folder, fields)


def _texts(folder: Path) -> Texts | None:
    """Return how the model takes texts; None if it does not write text."""
    if not (folder / ABOUT).is_file() or not (folder / PROCESSOR).is_dir():
        return None
    return "chat" if (folder / PROCESSOR / "chat_template.jinja").is_file() else "plain"


def _check_unchanged(
    result: Result, settings: EvaluationSettings, isolation: Isolation, log: Path
) -> None:
    """Raise ExportError if model or data, which a candidate would be built from, have changed."""
    experiment = result.experiment
    found = describe_workload(settings.workload, isolation, log, experiment.baseline).fingerprint
    if found != settings.fingerprint:
        raise ExportError(
            f"model and data have changed since the search ({settings.fingerprint}, now {found}), "
            "and the measured candidate is no longer in the cache; restore them, or run "
            f"`{command_text('run', experiment.path, '--fresh')}`"
        )


def _manifest(
    result: Result, trial: Trial, sample: Rounds, deployment: Deployment
) -> dict[str, Any]:
    hardware = detect_hardware()
    experiment = result.experiment
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "experiment": experiment.name,
        "experiment_file": str(experiment.path.absolute()),
        "experiment_overrides": list(read_record(experiment).get("overrides", ())),
        "smoke": experiment.smoke,
        "judged_on": read_record(experiment).get("workload", {}).get("fingerprint"),
        "trial": trial.number,
        "configuration": dict(trial.configuration),
        "measurements": {name: to_plain(m) for name, m in trial.measurements.items()},
        "against_baseline": result.view(trial).sentence,
        "facts": dict(sample.facts),
        **sample.manifest_fields(),
        "hardware": {
            "fingerprint": hardware.fingerprint,
            "summary": hardware.summary(),
            "isa": sorted(hardware.isa),
        },
        "versions": {
            **serving_versions(deployment),
            **hardware.libraries,
            "python": sys.version.split()[0],
        },
    }


def _readme(
    result: Result, trial: Trial, deployment: Deployment, folder: Path, fields: Mapping[str, Any]
) -> str:
    rows = "\n".join(
        f"| {name} | {value_text(m)} | {interval_text(m) or '-'} | {m.unit} | {m.samples:,} |"
        for name, m in trial.measurements.items()
    )
    choices = "\n".join(f"- {name}: {show(value)}" for name, value in trial.configuration.items())
    interface = interface_of(CandidateRecord.read(folder).interface)
    on_gpu = (
        "\n`run.py` needs an NVIDIA GPU and torch built for CUDA, and names what is missing.\n"
        if deployment.gpu
        else ""
    )
    words = _WORDS if _texts(folder) else ""
    needs = f"the program `{deployment.program}` and " if deployment.program else ""
    return f"""\
# {result.experiment.name}, trial {trial.number}

Against the search's baseline, on {fields["hardware"]["summary"]}:

**{result.view(trial).sentence}**

## Run it

    pip install {" ".join(dict.fromkeys((*deployment.requirements, "numpy")))}
    python run.py

`run.py` needs {needs}nothing else; it runs the recorded request and compares the response with the
recorded one.{words} With Tunefront's evaluators installed:

{textwrap.indent(interface.usage, "    ")}{on_gpu}
`processor/` holds the tokenizer or image processor, where the model has one. `tunefront verify
FOLDER` checks files, outputs, choices, speed and memory.

## Serve it

{serving_text(deployment, _texts(folder))}
## What it is

{choices}

Built with {", ".join(f"{n} {v}" for n, v in fields["versions"].items())}. No file holds pickled
data; sha256 sums are in `manifest.json`.

## What was measured

| metric | value | 95 % interval | unit | samples |
|---|---|---|---|---|
{rows}
"""
