"""The record of a search in an Optuna study: the single source of truth about trials.

The samplers (sampling/) choose a configuration; it is added here as a running trial in one
transaction, so the study contains exactly the trials that were run, even if the process is
killed. The data of a trial are stored with it as JSON.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from tunefront.evaluators import Evaluation, Measurement
from tunefront.evaluators.isolation.codec import CodecError, from_plain, to_plain
from tunefront.search.experiment.experiment import Experiment
from tunefront.search.experiment.metrics import QUALITY_DROP
from tunefront.search.experiment.scarcity import near_zero_problem
from tunefront.search.text import command_text
from tunefront.spaces import Configuration, Direction, StudyError

from .confirmation import Confirmation
from .derived_metrics import measurements_of
from .outputs import write_trial_outputs
from .sqlite_reader import ReadStudy, ReadTrial, read_study
from .storage import (
    CONFIGURATION_KEY,
    IDENTITY_KEY,
    LONGEST_S,
    SEARCH_ID_KEY,
    OnStudyEvent,
    Retries,
    begin_record,
    completed,
    distributions_of,
    open_study,
    reopen_trial,
    search_command,
    unreported,
)
from .trial import Trial, TrialStatus

if TYPE_CHECKING:
    import optuna

STUDY_FILE = "study.db"
_EVALUATION = "evaluation"
_CONFIRMATION = "confirmation"
_ATTEMPT = "attempt"
_REASON = "reason"
_EXPECTED = "expected_s"
_EXPECTED_VALUES = "expected"
_SPENT = "spent_s"
_HOUR = "another_hour"
RECORD_FORMAT = "5"
"""Version of the record format; a record in another format cannot be resumed."""
TRIAL_ATTEMPTS = 3
"""Number of times a trial is started if its worker, node or driver exits before it ends."""


class Study:
    """The record of one search, in sqlite in its results folder.

    Args:
        experiment: The experiment.
        study: The Optuna study, or a read-only snapshot of it.
        retried: Accesses to its file, each retried while the file can't be used.
    """

    def __init__(
        self, experiment: Experiment, study: "optuna.Study | ReadStudy", retried: Retries
    ) -> None:
        self.experiment = experiment
        self._source = study
        self._retried = retried
        self._frozen_trials: Sequence[optuna.trial.FrozenTrial | ReadTrial] | None = None
        self._trials: list[Trial] | None = None
        self._ended_trials: dict[int, Trial] = {}

    @classmethod
    def open(
        cls,
        experiment: Experiment,
        identity: Mapping[str, object],
        on_event: OnStudyEvent = unreported,
    ) -> "Study":
        """Open the record for writing; create it if there is none.

        Args:
            experiment: The experiment.
            identity: Everything besides the configuration that measurements depend on: content of
                model and data, the machine, library versions.
            on_event: Called when the record's file can't be used, and when it can be again.

        Raises:
            StudyError: If the record has another identity, baseline or objectives, or cannot be
                opened. Its methods raise it if the file can't be used for `LONGEST_S` seconds.
        """
        experiment.results.mkdir(parents=True, exist_ok=True)
        advice = (
            f"`{search_command(experiment)}` resumes the search; nothing that has ended is lost"
        )
        retried = Retries(experiment.results / STUDY_FILE, advice, LONGEST_S, on_event)
        directions: list[Direction] = [one.direction for one in experiment.objectives]
        study = open_study(experiment.slug, retried, directions)
        retried(lambda: begin_record(experiment, study, {**identity, "record": RECORD_FORMAT}))
        return cls(experiment, study, retried)

    @classmethod
    def read(cls, experiment: Experiment) -> "Study":
        """Open the record for reading.

        Raises:
            StudyError: If there is no record, or it cannot be opened.
        """
        if not (experiment.results / STUDY_FILE).is_file():
            raise StudyError(
                f"{experiment.name}: no record in {experiment.results}; "
                f"start with `{command_text('run', experiment.path)}`"
            )
        retried = Retries(experiment.results / STUDY_FILE, "try again")
        read = read_study(retried.path, experiment.slug)
        return cls(experiment, read or open_study(experiment.slug, retried), retried)

    @property
    def _study(self) -> "optuna.Study":
        """The Optuna study; replaces a read-only snapshot when it is first needed."""
        if isinstance(self._source, ReadStudy):
            self._reopen()
        return cast("optuna.Study", self._source)

    def _reopen(self) -> None:
        """Open the file again by Optuna; what was read before is dropped."""
        self._source = open_study(self.experiment.slug, self._retried)
        self._read_again()

    def _read_again(self) -> None:
        """Drop the trials that were read: the file has changed, or is about to."""
        self._frozen_trials, self._trials = None, None

    @property
    def _attributes(self) -> Mapping[str, Any]:
        """The attributes of the study, read from the file."""
        return self._retried(lambda: self._source.user_attrs)

    def _set_attribute(self, name: str, value: object) -> None:
        self._retried(lambda: self._study.set_user_attr(name, value))

    @property
    def waiting(self) -> bool:
        """Whether an access to the file has failed and is being repeated."""
        return self._retried.waiting

    @property
    def identity(self) -> Mapping[str, Any]:
        """Everything besides the configuration that the measurements depend on."""
        return cast(Mapping[str, Any], self._attributes.get(IDENTITY_KEY, {}))

    @property
    def search_id(self) -> str:
        """Unique id of this search; distinguishes searches of the same name."""
        return str(self._attributes[SEARCH_ID_KEY])

    def ask(
        self,
        configuration: Configuration,
        reason: str = "",
        expected_s: float | None = None,
        expected: Mapping[str, tuple[float, float]] | None = None,
    ) -> int:
        """Add a running trial of a configuration and return its number.

        Args:
            configuration: The configuration.
            reason: Text: why it was proposed.
            expected_s: Expected duration in seconds.
            expected: Predicted 90 % interval of metrics, by name.
        """
        import optuna

        attributes = {CONFIGURATION_KEY: dict(configuration), _ATTEMPT: 1, _REASON: reason}
        trial = optuna.trial.create_trial(
            state=optuna.trial.TrialState.RUNNING,
            params=dict(configuration),
            distributions=distributions_of(configuration, self.experiment.space.catalog),
            user_attrs={**attributes, _EXPECTED: expected_s, _EXPECTED_VALUES: expected or {}},
        )
        self._read_again()
        self._retried(lambda: self._study.add_trial(trial))
        return int(self._frozen[-1].number)

    def restart(self, number: int, *, counted: bool = True) -> Trial | None:
        """Start an interrupted trial again; return None if it has no attempts left.

        A trial without attempts left is recorded as failed (crash): it can have caused the exit of
        its worker.

        Args:
            number: Number of the trial.
            counted: Whether this counts as an attempt, because the trial can be the cause.
        """
        trial = self.trial(number)
        if not counted:
            return trial
        if trial.attempt < TRIAL_ATTEMPTS:
            running = self._trial(number)
            self._read_again()
            self._retried(lambda: running.set_user_attr(_ATTEMPT, trial.attempt + 1))
            return self.trial(number)
        self.tell(
            number,
            Evaluation(
                status="failed",
                cause="crash",
                stage="measure",
                message=f"the worker process died {TRIAL_ATTEMPTS} times before the trial finished",
            ),
        )
        return None

    def tell(self, number: int, evaluation: Evaluation) -> Trial:
        """Record the result of a trial and return the trial.

        Example outputs go to a separate file. A result without a finite value for every objective
        and limit is recorded as failed (invalid output).
        """
        import optuna

        write_trial_outputs(self.experiment.results, number, evaluation.outputs)
        evaluation = replace(evaluation, outputs=())
        trial = self._trial(number)
        baseline = None if number == 0 else self.baseline()
        measurements = self._measurements(evaluation, baseline)
        problem = self._invalid(evaluation, measurements)
        if problem is not None:
            evaluation = problem
        self._read_again()
        self._retried(partial(trial.set_user_attr, _EVALUATION, to_plain(evaluation)))
        if evaluation.status == "failed":
            state = optuna.trial.TrialState.FAIL
            self._retried(lambda: self._study.tell(number, state=state))
        else:
            for limit in self.experiment.limits:
                violation = limit.violation(measurements[limit.metric].value)
                self._retried(partial(trial.set_constraint, str(limit), violation))
            values = [measurements[o.metric].value for o in self.experiment.objectives]
            self._retried(lambda: self._study.tell(number, values))
        return self.trial(number)

    def reopen_baseline(self) -> None:
        """Return a baseline that failed to the running state, so that it can run again."""
        path, name = self._retried.path, self.experiment.slug
        self._retried(lambda: reopen_trial(path, name, 0))
        self._reopen()
        self._ended_trials.clear()

    def _invalid(
        self, evaluation: Evaluation, measurements: Mapping[str, Measurement]
    ) -> Evaluation | None:
        """Return a failed evaluation if an objective or limit has no finite value, else None."""
        if evaluation.status == "failed":
            return None
        needed = [o.metric for o in self.experiment.objectives]
        needed += [limit.metric for limit in self.experiment.limits]
        for name in needed:
            if name not in measurements or not math.isfinite(measurements[name].value):
                return Evaluation(
                    status="failed",
                    cause="invalid output",
                    stage="measure",
                    message=self._why_invalid(name, measurements),
                    seconds=evaluation.seconds,
                )
        return None

    def _why_invalid(self, name: str, measurements: Mapping[str, Measurement]) -> str:
        """Return why an objective or limit has no finite value."""
        if name in measurements:
            return f"{name} must be a finite number, but got {measurements[name].value}"
        quality = measurements.get(self.experiment.primary.name)
        if name == QUALITY_DROP.name and quality is not None:
            return near_zero_problem(self.experiment, quality.value)
        return f"{name} must be a finite number, but got nothing"

    def _measurements(
        self, evaluation: Evaluation, baseline: Trial | None
    ) -> dict[str, Measurement]:
        base = baseline.evaluation if baseline is not None else None
        base = base if base is not None and base.status == "ok" else None
        return measurements_of(self.experiment, evaluation, base)

    def _trial(self, number: int) -> "optuna.Trial":
        import optuna

        study = self._study
        frozen = cast("optuna.trial.FrozenTrial", self._frozen[number])
        return self._retried(lambda: optuna.Trial(study, frozen._trial_id))

    @property
    def _frozen(self) -> "Sequence[optuna.trial.FrozenTrial | ReadTrial]":
        """All trials in the file, cached until this object writes.

        Only its own writes invalidate the cache: `only_driver` guarantees that there is no other
        writer.
        """
        if self._frozen_trials is None:
            self._frozen_trials = self._retried(lambda: self._source.get_trials(deepcopy=False))
        return self._frozen_trials

    def trial(self, number: int) -> Trial:
        """Return one trial.

        Raises:
            StudyError: If there is no trial of that number.
        """
        trials = self.trials()
        if not 0 <= number < len(trials):
            raise StudyError(
                f"trial {number} does not exist; there are 0 to {len(trials) - 1}"
                if trials
                else f"trial {number} does not exist; nothing has been run yet"
            )
        return trials[number]

    def trials(self) -> list[Trial]:
        """Return all trials by number."""
        if self._trials is None:
            frozen, first = self._frozen, self.baseline()
            self._trials = [
                self._cached_trial(one, first if place else None)
                for place, one in enumerate(frozen)
            ]
        return list(self._trials)

    def baseline(self) -> Trial | None:
        """Return trial 0; None if no trial has been started."""
        return self._cached_trial(self._frozen[0], None) if self._frozen else None

    def _cached_trial(
        self, frozen: "optuna.trial.FrozenTrial | ReadTrial", baseline: Trial | None
    ) -> Trial:
        """Return a trial; ended trials are cached, because they never change."""
        if frozen.number not in self._ended_trials:
            trial = self._trial_from(frozen, baseline)
            if _is_running(frozen):
                return trial
            self._ended_trials[frozen.number] = trial
        return self._ended_trials[frozen.number]

    def _trial_from(
        self, frozen: "optuna.trial.FrozenTrial | ReadTrial", baseline: Trial | None
    ) -> Trial:
        configuration = completed(self.experiment, frozen.user_attrs[CONFIGURATION_KEY])
        if not frozen.state.is_finished() or _EVALUATION not in frozen.user_attrs:
            return Trial(
                number=frozen.number,
                configuration=configuration,
                catalog=self.experiment.space.catalog,
                status="failed" if frozen.state.is_finished() else "running",
                started=frozen.datetime_start,
                ended=frozen.datetime_complete,
                **_proposal_fields(frozen),
            )
        evaluation = self._evaluation(frozen)
        measurements = self._measurements(evaluation, baseline)
        broken = tuple(
            limit
            for limit in self.experiment.limits
            if limit.metric in measurements and not limit.kept(measurements[limit.metric].value)
        )
        measured: TrialStatus = "infeasible" if broken else "ok"
        return Trial(
            number=frozen.number,
            configuration=configuration,
            catalog=self.experiment.space.catalog,
            status="failed" if evaluation.status == "failed" else measured,
            measurements=measurements if evaluation.status == "ok" else {},
            evaluation=evaluation,
            broken=broken if evaluation.status == "ok" else (),
            started=frozen.datetime_start,
            ended=frozen.datetime_complete,
            **_proposal_fields(frozen),
        )

    def _evaluation(self, frozen: "optuna.trial.FrozenTrial | ReadTrial") -> Evaluation:
        try:
            return from_plain(Evaluation, frozen.user_attrs[_EVALUATION])
        except (KeyError, CodecError) as error:
            raise StudyError(
                f"{self.experiment.results / STUDY_FILE}: trial {frozen.number} is recorded in "
                f"format {self.identity.get('record', 1)}, but this version reads format "
                f"{RECORD_FORMAT}: the version that wrote it reads it"
            ) from error

    def reconcile(self, results: Mapping[int, Evaluation]) -> list[int]:
        """Record the results of trials that were running when a driver exited.

        Args:
            results: Evaluations that finished but were not recorded, by trial number.

        Returns:
            Numbers of the running trials without a result.
        """
        running = [one.number for one in self._frozen if _is_running(one)]
        for number in running:
            if number in results:
                self.tell(number, results[number])
        return [number for number in running if number not in results]

    @property
    def spent_s(self) -> float:
        """Seconds spent on this search, over all runs."""
        return float(self._attributes.get(_SPENT, 0.0))

    def spend(self, seconds: float) -> None:
        """Store the seconds spent over all runs."""
        self._set_attribute(_SPENT, seconds)

    @property
    def forecast(self) -> tuple[int, float] | None:
        """Forecast for one more hour: trials and largest expected gain; None if unknown."""
        found = self._attributes.get(_HOUR)
        return None if found is None else (int(found[0]), float(found[1]))

    def set_forecast(self, trials: int, gain: float) -> None:
        """Store the forecast for one more hour.

        Args:
            trials: Number of trials that fit into the hour.
            gain: Largest expected gain, as a share of the front's hypervolume.
        """
        self._set_attribute(_HOUR, [trials, gain])

    def confirmation(self) -> Confirmation:
        """Return the recorded confirmation; without rounds before the first one."""
        recorded = self._attributes.get(_CONFIRMATION, {})
        return from_plain(Confirmation, cast(Mapping[str, Any], recorded))

    def set_confirmation(self, confirmation: Confirmation) -> None:
        """Record the confirmation."""
        self._set_attribute(_CONFIRMATION, to_plain(confirmation))


def _is_running(frozen: "optuna.trial.FrozenTrial | ReadTrial") -> bool:
    return not frozen.state.is_finished()


def _proposal_fields(frozen: "optuna.trial.FrozenTrial | ReadTrial") -> dict[str, Any]:
    """Return the `Trial` fields for reason, attempt, expected duration and expected values."""
    attributes = frozen.user_attrs
    expected = attributes.get(_EXPECTED_VALUES, {})
    return {
        "reason": str(attributes.get(_REASON, "")),
        "attempt": int(attributes.get(_ATTEMPT, 1)),
        "expected_s": attributes.get(_EXPECTED),
        "expected": {name: (low, high) for name, (low, high) in expected.items()},
    }
