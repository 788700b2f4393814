"""Options and steps shared by the commands that use MLflow's model registry."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .arguments import print_message, searched_experiment

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from tunefront.search.deploy.verify import Verification


with_store = click.option(
    "--experiment",
    type=click.Path(path_type=Path),
    help="The experiment whose MLflow store holds the model; without it MLFLOW_TRACKING_URI does.",
)


@contextmanager
def _fetched(written: str, experiment: Path | None) -> "Iterator[tuple[Path, ModelVersion, str]]":
    """Download a model version; yield its folder, its registry entry and its store's address."""
    from tunefront.evaluators.exports.registry import Reference
    from tunefront.search.tracking.registry import fetched

    reference, store = Reference.parse(written), _store(written, experiment)
    with fetched(reference, store) as (folder, version):
        print_message(f"{reference} is version {version.version}")
        yield folder, version, store


def _store(written: str, experiment: Path | None) -> str:
    """Return the address of the MLflow store: the experiment's, else `MLFLOW_TRACKING_URI`."""
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
        print_message(
            f"written on version {version.version} of {version.name}: verified, when and where"
        )


def _print(verification: "Verification", style: str) -> None:
    from dataclasses import asdict

    from tunefront.search.terminal.listings import verification_table
    from tunefront.search.terminal.tables import print_table

    if style == "json":
        click.echo(json.dumps([asdict(check) for check in verification.checks], indent=2))
    else:
        print_table(verification_table(verification))
        if remark := verification.remark():
            print_message(remark)
        click.echo("verified" if verification.passed else "verification failed")
