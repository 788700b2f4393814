"""Lookup from MLflow to the search: the trial of a run, and the runs that a user has tagged."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunefront.evaluators.exports.registry import SHA256
from tunefront.search.experiment.experiment import Experiment
from tunefront.search.study.study import Study
from tunefront.search.text import command_text
from tunefront.spaces import ExperimentError, TrackingError

from .projection import MADE_FOR, SEARCH, TRIAL
from .store import connect_to, error_text, shown_uri, tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PICK = "pick"
"""The tag that a user sets in the browser to select a run for export."""
YES = ("yes", "y", "true", "1")
_ID = re.compile(r"(?<![0-9a-zA-Z-])[0-9a-f]{32}(?![0-9a-zA-Z])")
_PAGE = re.compile(r"https?://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagged:
    """The runs with the tag `pick`.

    Attributes:
        trials: The numbers of the trials tagged for export.
        others: Names of other tagged runs, each with its value, which is not a form of yes.
    """

    trials: Sequence[int]
    others: Sequence[tuple[str, str]]


def run_named_in(written: str) -> str | None:
    """Return the run id in a text, which is an id or the address of a run's page; None without one.

    Raises:
        ExperimentError: If the text is the address of another page, or contains several run ids.
    """
    found = list(dict.fromkeys(_ID.findall(written)))
    if len(found) == 1:
        return str(found[0])
    if len(found) > 1:
        raise ExperimentError(f"{written!r} names {len(found)} runs; name one")
    if _PAGE.match(written):
        raise ExperimentError(
            f"{written!r} is not the page of a run; open the run and copy that page's address"
        )
    return None


class Runs:
    """The runs of one search in MLflow.

    Args:
        experiment: The experiment.

    Raises:
        TrackingError: If the store can't be opened or does not hold the search.
        StudyError: If the search has no record.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self._store = shown_uri(tracking_uri(experiment))
        self._client: MlflowClient = connect_to(tracking_uri(experiment), make=False)
        search = Study.read(experiment).search_id
        found = self._client.search_experiments(filter_string=f"tags.`{SEARCH}` = '{search}'")
        if not found:
            raise TrackingError(
                f"MLflow: {self._store} does not hold {experiment.name!r}; "
                f"`{command_text('sync', experiment.path)}` writes it"
            )
        self.experiment_id = str(found[0].experiment_id)

    def trial_of(self, run_id: str) -> int:
        """Return the number of a run's trial.

        Raises:
            ExperimentError: If the run does not exist or belongs to no trial of this search.
        """
        from mlflow.exceptions import MlflowException

        try:
            run = self._client.get_run(run_id)
        except MlflowException as error:
            raise ExperimentError(
                f"run {run_id} is not in {self._store} ({error_text(error)}); "
                f"`{command_text('show', self.experiment.path, '--all')}` lists the trials"
            ) from error
        number = _number(run)
        if str(run.info.experiment_id) != self.experiment_id:
            other = self._client.get_experiment(run.info.experiment_id).name
            raise ExperimentError(
                f"run {run_id} is of {other!r}, not of this search of {self.experiment.name!r}; "
                "name the experiment file of that one"
            )
        if number is None:
            raise ExperimentError(
                f"run {run_id} ({run.info.run_name}) is no trial's; name a trial's run"
            )
        return number

    def run_of(self, number: int) -> str:
        """Return the id of a trial's run.

        Raises:
            TrackingError: If the trial has no run yet.
        """
        found = self._search(f"tags.`{TRIAL}` = '{number}'")
        if not found:
            raise TrackingError(
                f"MLflow: {self._store} does not hold trial {number} yet; "
                f"`{command_text('sync', self.experiment.path)}` writes it"
            )
        return str(found[0].info.run_id)

    def tag_export(self, number: int, sha256: str) -> None:
        """Tag a trial's run with the sha256 of its export's manifest.

        Raises:
            TrackingError: If the trial has no run yet, or the run can't be written.
        """
        run_id = self.run_of(number)
        try:
            self._client.set_tag(run_id, SHA256, sha256)
        except Exception as error:  # each type of store raises its own; each means: not written
            raise TrackingError(f"MLflow: {self._store}: {error_text(error)}") from error

    def tagged(self) -> Tagged:
        """Return the trials whose runs a user has tagged with `pick` = `yes`.

        Raises:
            ExperimentError: If there are none.
        """
        values = [(run, run.data.tags[PICK].strip()) for run in self._search(f"tags.{PICK} != ''")]
        chosen = [_number(run) for run, value in values if value.lower() in YES]
        others = [(str(r.info.run_name), v) for r, v in values if v and v.lower() not in YES]
        trials = sorted(number for number in chosen if number is not None)
        if not trials:
            text = "".join(f"; {name} has {PICK}={value}" for name, value in others)
            raise ExperimentError(
                f"no run of {self.experiment.name!r} is tagged {PICK}=yes{text}; "
                f"`{command_text('ui', self.experiment.path)}`, open a run, and under Tags add "
                f"{PICK} with the value yes"
            )
        return Tagged(trials=trials, others=others)

    def _search(self, rule: str) -> "list[Run]":
        return list(self._client.search_runs([self.experiment_id], rule, max_results=1000))


def _number(run: "Run") -> int | None:
    """Return the number of a run's trial; None for the summary and for other programs' runs."""
    written = run.data.tags.get(TRIAL) or run.data.tags.get(MADE_FOR) or ""
    return int(written) if written.isdigit() else None
