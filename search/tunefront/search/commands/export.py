"""`tunefront export`: write a trial as a folder that runs elsewhere."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tunefront.search.exit_codes import ExitCode

from .arguments import export_and_verify, find, print_message, searched_experiment, with_experiment

if TYPE_CHECKING:
    from tunefront.search.deploy.verify import Verification
    from tunefront.search.results.result import Result
    from tunefront.search.study.trial import Trial
    from tunefront.search.tracking.registry import Registry


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

    TRIAL is a number, a pick's name (default: `recommended`), an MLflow run id, or the address of
    the run's page in the browser. The sha256 that is printed identifies the export: keep it, and
    give it to `tunefront verify --sha256` where the export arrives.

    \b
    tunefront export experiments/minilm
    tunefront export experiments/minilm smallest --output deploy/minilm
    tunefront export experiments/minilm --picked
    tunefront export experiments/minilm 38 --register minilm
    """
    from tunefront.search.results.metadata import recorded_result

    if picked and trial is not None:
        raise click.UsageError("TRIAL and --picked: one of the two")
    result = recorded_result(searched_experiment(experiment))
    trials = _picked(result) if picked else [find(result, trial or "recommended")]
    registry = _registry(result, trials, register)
    passed = True
    for found in trials:
        folder = output / _slug(found) if picked and output is not None else output
        keep = picked or registry is not None
        verification = export_and_verify(result, found, folder, keep=keep)
        passed = passed and verification.passed
        if verification.passed:
            _tag(result, found, verification)
        if registry is not None and verification.passed:
            _register(registry, found, verification)
    return 0 if passed else ExitCode.VERIFICATION_FAILED


def _picked(result: "Result") -> list["Trial"]:
    """Return the trials whose MLflow runs are tagged for export.

    Raises:
        ExportError: If a tagged trial was not measured.
        ExperimentError: If no run is tagged.
    """
    from tunefront.search.text import counted
    from tunefront.search.tracking.runs import PICK, Runs
    from tunefront.spaces import ExportError

    tagged = Runs(result.experiment).tagged()
    for name, value in tagged.others:
        print_message(f"left out: {name}, whose tag {PICK} is {value!r}, not 'yes'")
    trials = [result.trials[number] for number in tagged.trials]
    for trial in trials:
        if not trial.measured:
            raise ExportError(
                f"trial {trial.number} {trial.status}: only measured trials are exported; "
                f"remove the tag {PICK} from its run"
            )
    print_message(f"{counted(len(trials), 'trial')} tagged {PICK}=yes")
    return trials


def _slug(trial: "Trial") -> str:
    from tunefront.search.experiment.document import slug_of

    return slug_of(trial.name())


def _registry(result: "Result", trials: "list[Trial]", name: str | None) -> "Registry | None":
    """Return the registry for `--register NAME`, or None; check the request before the export."""
    if name is None:
        return None
    from tunefront.search.tracking.registry import Registry

    if len(trials) > 1:
        numbers = ", ".join(str(trial.number) for trial in trials)
        raise click.UsageError(
            f"--register takes one trial, but {numbers} are tagged; name the one to register"
        )
    registry = Registry(result, name)
    registry.run_of(trials[0])
    return registry


def _tag(result: "Result", trial: "Trial", verification: "Verification") -> None:
    """Tag the trial's run in MLflow with the export's digest, if MLflow holds the search."""
    from tunefront.evaluators.exports.folder import manifest_digest
    from tunefront.search.tracking.address import front_page_of
    from tunefront.search.tracking.runs import Runs
    from tunefront.spaces import TrackingError

    if front_page_of(result.experiment) is None:
        return
    try:
        Runs(result.experiment).tag_export(trial.number, manifest_digest(verification.folder))
    except TrackingError as error:
        print_message(f"{error}; the export's sha256 is not among its tags")


def _register(registry: "Registry", trial: "Trial", verification: "Verification") -> None:
    from tunefront.search.tracking.registry import CANDIDATE

    done = registry.register(trial, verification.folder)
    what = "registered" if done.made else "was registered before"
    click.echo(f"{what}: models:/{done.name}/{done.version}, now {CANDIDATE}")
    click.echo(f"version: {done.link}")
