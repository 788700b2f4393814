"""`tunefront promote`: make a verified model version the champion."""

from pathlib import Path

import click

from tunefront.search.exit_codes import ExitCode

from .arguments import print_message
from .registry_options import _fetched, _print, _write_verified, with_store


@click.command("promote")
@click.argument("model")
@with_store
def promote_command(model: str, experiment: Path | None) -> int:
    """Verify a registered model version on this machine and make it the champion if it passes.

    MODEL is a registered name (meaning its candidate) or a version such as models:/minilm/2. To
    go back, promote the earlier version. Exit code 5 if the verification fails.

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
            print_message(f"not promoted: {written}; the {CHAMPION} is unchanged")
            return ExitCode.VERIFICATION_FAILED
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
