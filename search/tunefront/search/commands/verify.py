"""`tunefront verify`: verify an export."""

from pathlib import Path

import click

from tunefront.search.exit_codes import ExitCode

from .registry_options import _fetched, _print, _write_verified, with_store


@click.command("verify")
@click.argument("export", metavar="FOLDER|MODEL")
@with_store
@click.option("--sha256", metavar="DIGEST", help="The manifest's digest that `export` printed.")
@click.option("--format", "style", type=click.Choice(["table", "json"]), default="table")
def verify_command(export: str, experiment: Path | None, sha256: str | None, style: str) -> int:
    """Verify an export: files, outputs, choices, speed and memory.

    FOLDER is an export folder. MODEL is a version in MLflow's registry: it is downloaded and
    verified, and a passed verification is recorded on the version. Exit code 5 if files, outputs
    or choices differ; lower speed or more memory only cause a warning.

    The files are compared with the manifest, and the manifest with DIGEST, with the registry, or
    with the record of exports made on this machine. The last check names with which.

    \b
    tunefront verify exported
    tunefront verify exported --sha256 DIGEST
    tunefront verify models:/minilm@candidate
    tunefront verify models:/minilm/3 --experiment experiments/minilm
    """
    from tunefront.evaluators.exports.registry import SCHEME
    from tunefront.search.deploy.verify import verify as verify_folder
    from tunefront.search.text import wait_messages

    if export.startswith(SCHEME):
        from tunefront.search.tracking.registry import verify_version

        with _fetched(export, experiment) as (folder, version, store):
            verification = verify_version(folder, version, sha256)
            _print(verification, style)
            _write_verified(verification, version, store)
        return 0 if verification.passed else ExitCode.VERIFICATION_FAILED
    if experiment is not None:
        raise click.UsageError("--experiment names the store of models:/NAME, not of a folder")
    on_wait = wait_messages(lambda line: click.echo(line, err=True))
    verification = verify_folder(Path(export), sha256=sha256, on_wait=on_wait)
    _print(verification, style)
    return 0 if verification.passed else ExitCode.VERIFICATION_FAILED
