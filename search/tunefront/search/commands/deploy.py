"""What leaves the search: export, verify, promote."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .shared import MISMATCH, export_and_verify, find, say, searched_experiment, with_experiment

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from tunefront.search.deploy.verify import Verification
    from tunefront.search.results.result import Answer
    from tunefront.search.study.trial import Trial
    from tunefront.search.tracking.registry import Registry

with_store = click.option(
    "--experiment",
    type=click.Path(path_type=Path),
    help="The experiment whose MLflow store holds the model; without it MLFLOW_TRACKING_URI does.",
)


@click.command("export")
@with_experiment
@click.argument("trial", required=False)
@click.option("--picked", is_flag=True, help="Every trial whose run is tagged pick=yes in MLflow.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="The folder to write; with --picked, one folder a trial below it.",
)
@click.option("--register", metavar="NAME", help="Also a version of this model in MLflow.")
def export_command(
    experiment: Path, trial: str | None, picked: bool, output: Path | None, register: str | None
) -> int:
    """Export a trial as a folder that runs elsewhere, and verify it.

    TRIAL is a number, a pick's name (`recommended` where none is written), a run's id in MLflow, or
    the address of its page in the browser.

    \b
    tunefront export experiments/minilm
    tunefront export experiments/minilm smallest --output deploy/minilm
    tunefront export experiments/minilm --picked
    tunefront export experiments/minilm 38 --register minilm
    """
    from tunefront.search.results.metadata import recorded_answer

    if picked and trial is not None:
        raise click.UsageError("TRIAL and --picked: one of the two")
    answer = recorded_answer(searched_experiment(experiment))
    trials = _picked(answer) if picked else [find(answer, trial or "recommended")]
    registry = _registry(answer, trials, register)
    passed = True
    for found in trials:
        folder = output / _slug(found) if picked and output is not None else output
        keep = picked or registry is not None
        verification = export_and_verify(answer, found, folder, keep=keep)
        passed = passed and verification.passed
        if registry is not None and verification.passed:
            _register(registry, found, verification)
    return 0 if passed else MISMATCH


def _picked(answer: "Answer") -> list["Trial"]:
    """The trials that are tagged; each can be exported."""
    from tunefront.search.text import counted
    from tunefront.search.tracking.runs import PICK, Runs
    from tunefront.spaces import ExportError

    tagged = Runs(answer.experiment).tagged()
    for name, value in tagged.others:
        say(f"left out: {name}, whose tag {PICK} is {value!r}, not 'yes'")
    trials = [answer.trials[number] for number in tagged.trials]
    for trial in trials:
        if not trial.measured:
            raise ExportError(
                f"trial {trial.number} {trial.status}: only measured trials are exported; "
                f"remove the tag {PICK} from its run"
            )
    say(f"{counted(len(trials), 'trial')} tagged {PICK}=yes")
    return trials


def _slug(trial: "Trial") -> str:
    from tunefront.search.experiment.document import slug_of

    return slug_of(trial.name())


def _registry(answer: "Answer", trials: "list[Trial]", name: str | None) -> "Registry | None":
    """Where to register; what could be refused then is refused before the export."""
    if name is None:
        return None
    from tunefront.search.tracking.registry import Registry

    if len(trials) > 1:
        numbers = ", ".join(str(trial.number) for trial in trials)
        raise click.UsageError(
            f"--register takes one trial, but {numbers} are tagged; name the one to register"
        )
    registry = Registry(answer, name)
    registry.run_of(trials[0])
    return registry


def _register(registry: "Registry", trial: "Trial", verification: "Verification") -> None:
    from tunefront.search.tracking.registry import CANDIDATE

    done = registry.register(trial, verification.folder)
    what = "registered" if done.made else "was registered before"
    click.echo(f"{what}: models:/{done.name}/{done.version}, now {CANDIDATE}")
    click.echo(f"version: {done.link}")


@click.command("verify")
@click.argument("export", metavar="FOLDER|MODEL")
@with_store
@click.option("--format", "style", type=click.Choice(["table", "json"]), default="table")
def verify_command(export: str, experiment: Path | None, style: str) -> int:
    """Check an export: files, outputs, choices, speed, memory; exit code 5 where it differs.

    MODEL is a version in MLflow's registry, which is downloaded, verified, and told so.

    \b
    tunefront verify exported
    tunefront verify models:/minilm@candidate
    tunefront verify models:/minilm/3 --experiment experiments/minilm
    """
    from tunefront.evaluators.exports.registry import SCHEME
    from tunefront.search.deploy.verify import verify as verify_folder

    if export.startswith(SCHEME):
        from tunefront.search.tracking.registry import verify_version

        with _fetched(export, experiment) as (folder, version, store):
            verification = verify_version(folder, version)
            _print(verification, style)
            _write_verified(verification, version, store)
        return 0 if verification.passed else MISMATCH
    if experiment is not None:
        raise click.UsageError("--experiment names the store of models:/NAME, not of a folder")
    verification = verify_folder(Path(export))
    _print(verification, style)
    return 0 if verification.passed else MISMATCH


@click.command("promote")
@click.argument("model")
@with_store
def promote_command(model: str, experiment: Path | None) -> int:
    """Verify a registered candidate on this machine, and only then make it the champion.

    MODEL is a name (its candidate is meant) or a version; an earlier version goes back to it.

    \b
    tunefront promote minilm
    tunefront promote models:/minilm/2 --experiment experiments/minilm
    """
    from tunefront.evaluators.exports.registry import SCHEME
    from tunefront.search.tracking.registry import (
        CANDIDATE,
        CHAMPION,
        promote_version,
        verify_version,
    )

    written = model if model.startswith(SCHEME) else f"{SCHEME}{model}@{CANDIDATE}"
    with _fetched(written, experiment) as (folder, version, store):
        verification = verify_version(folder, version)
        _print(verification, "table")
        if not verification.passed:
            say(f"not promoted: {written}; the {CHAMPION} is what it was")
            return MISMATCH
        _write_verified(verification, version, store)
        before = promote_version(version, store)
    click.echo(f"{CHAMPION}: {SCHEME}{version.name}/{version.version}")
    if before is None:
        click.echo("before: none")
    elif before == str(version.version):
        click.echo("before: the same version")
    else:
        click.echo(f"before: {SCHEME}{version.name}/{before} (promote that to go back)")
    return 0


@contextmanager
def _fetched(written: str, experiment: Path | None) -> "Iterator[tuple[Path, ModelVersion, str]]":
    """A version downloaded, what the registry says of it, and the store it is from."""
    from tunefront.evaluators.exports.registry import Reference
    from tunefront.search.tracking.registry import fetched

    reference, store = Reference.parse(written), _store(written, experiment)
    with fetched(reference, store) as (folder, version):
        say(f"{reference} is version {version.version}")
        yield folder, version, store


def _store(written: str, experiment: Path | None) -> str:
    """The MLflow store that is meant."""
    import os

    from tunefront.search.tracking.store import tracking_uri

    if experiment is not None:
        return tracking_uri(searched_experiment(experiment))
    store = os.environ.get("MLFLOW_TRACKING_URI")
    if not store:
        raise click.UsageError(
            f"{written} is in an MLflow registry, but in which? Set MLFLOW_TRACKING_URI to its "
            "server, or name the experiment whose store it is: --experiment FILE"
        )
    return store


def _write_verified(verification: "Verification", version: "ModelVersion", store: str) -> None:
    from tunefront.search.tracking.registry import write_verified

    if verification.passed:
        write_verified(version, store, verification)
        say(f"written on version {version.version} of {version.name}: verified, when and where")


def _print(verification: "Verification", style: str) -> None:
    from dataclasses import asdict

    from tunefront.search.terminal.listings import verification_table
    from tunefront.search.terminal.tables import print_table

    if style == "json":
        click.echo(json.dumps([asdict(check) for check in verification.checks], indent=2))
    else:
        print_table(verification_table(verification))
        if remark := verification.remark():
            say(remark)
        click.echo("verified" if verification.passed else "NOT what was exported")
