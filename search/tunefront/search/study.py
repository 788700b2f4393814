"""The Optuna study: ask, tell, limits, storage. The one truth about trials.

A configuration is decided elsewhere (samplers/) and enqueued, so the study holds exactly what was
run, trial by trial. Everything that is known about a trial lies with it as JSON.
"""

import math
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from tunefront.evaluators import Evaluation, Measurement
from tunefront.spaces import Configuration, StudyError, Value

from .experiment import Experiment
from .figures import figures_of
from .trial import Status, Trial

if TYPE_CHECKING:
    import optuna

FILE = "study.db"
_CONFIGURATION = "configuration"
_EVALUATION = "evaluation"
_IDENTITY = "identity"
_ID = "search_id"
_OBJECTIVES = "objectives"
_CONFIRMATION = "confirmation"
_ATTEMPT = "attempt"
_WHY = "why"


class Study:
    """The record of one search, in sqlite beside the experiment.

    Args:
        experiment: What is searched.
        study: The Optuna study that holds it.
    """

    def __init__(self, experiment: Experiment, study: "optuna.Study") -> None:
        self.experiment = experiment
        self._study = study

    @classmethod
    def open(cls, experiment: Experiment, identity: Mapping[str, object]) -> "Study":
        """Open the record, or start it.

        Args:
            experiment: What is searched.
            identity: What figures depend on beside the configuration: the content of model and
                data, the machine, library versions.

        Raises:
            StudyError: If the record belongs to another identity or other objectives.
        """
        experiment.results.mkdir(parents=True, exist_ok=True)
        study = _optuna_study(experiment, create=True)
        known = study.user_attrs.get(_IDENTITY)
        if known is None:
            study.set_user_attr(_IDENTITY, dict(identity))
            study.set_user_attr(_ID, uuid.uuid4().hex[:12])
            study.set_user_attr(_OBJECTIVES, [o.metric for o in experiment.objectives])
        else:
            _same_identity(experiment, known, identity)
        _same_objectives(experiment, study)
        return cls(experiment, study)

    @classmethod
    def read(cls, experiment: Experiment) -> "Study":
        """Open the record to look at it.

        Raises:
            StudyError: If there is none yet.
        """
        if not (experiment.results / FILE).is_file():
            raise StudyError(
                f"{experiment.name}: no record in {experiment.results}; "
                f"start with `tunefront run {experiment.path}`"
            )
        return cls(experiment, _optuna_study(experiment, create=False))

    @property
    def identity(self) -> Mapping[str, Any]:
        """What the figures depend on beside the configuration."""
        return cast(Mapping[str, Any], self._study.user_attrs.get(_IDENTITY, {}))

    @property
    def search_id(self) -> str:
        """What tells this search from others of its name."""
        return str(self._study.user_attrs[_ID])

    def ask(self, configuration: Configuration, attempt: int = 1, why: str = "") -> int:
        """Start a trial of this configuration, and say why; its number."""
        attributes = {_CONFIGURATION: dict(configuration), _ATTEMPT: attempt, _WHY: why}
        self._study.enqueue_trial(dict(configuration), user_attrs=attributes)
        return int(self._study.ask(self._distributions(configuration)).number)

    def _distributions(
        self, configuration: Configuration
    ) -> "dict[str, optuna.distributions.BaseDistribution]":
        """Every active choice as a category; the baseline may lie outside the listed values."""
        from optuna.distributions import CategoricalDistribution

        baseline = self.experiment.baseline
        found: dict[str, optuna.distributions.BaseDistribution] = {}
        for choice in self.experiment.space.choices:
            if choice.name in configuration:
                values: list[Value] = list(choice.values)
                if choice.name in baseline and baseline[choice.name] not in values:
                    values.append(baseline[choice.name])
                found[choice.name] = CategoricalDistribution(values)
        return found

    def tell(self, number: int, evaluation: Evaluation) -> Trial:
        """End a trial; the trial as recorded."""
        import optuna

        trial = self._trial(number)
        baseline = None if number == 0 else self.baseline()
        measurements = self._figures(evaluation, baseline)
        problem = self._unusable(evaluation, measurements)
        if problem is not None:
            evaluation = problem
        trial.set_user_attr(_EVALUATION, evaluation.to_dict())
        if evaluation.status == "failed":
            self._study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        else:
            for limit in self.experiment.limits:
                value = measurements[limit.metric].value
                trial.set_constraint(str(limit), limit.violation(value))
            values = [measurements[o.metric].value for o in self.experiment.objectives]
            self._study.tell(trial.number, values)
        return self.trial(number)

    def _unusable(
        self, evaluation: Evaluation, measurements: Mapping[str, Measurement]
    ) -> Evaluation | None:
        """The evaluation as a failure, where an objective or a limit has no finite figure."""
        if evaluation.status == "failed":
            return None
        needed = [o.metric for o in self.experiment.objectives]
        needed += [limit.metric for limit in self.experiment.limits]
        for name in needed:
            if name not in measurements or not math.isfinite(measurements[name].value):
                found = measurements[name].value if name in measurements else "nothing"
                return Evaluation(
                    status="failed",
                    cause="invalid output",
                    stage="measure",
                    message=f"{name} must be a finite number, but got {found}",
                    seconds=evaluation.seconds,
                )
        return None

    def _figures(self, evaluation: Evaluation, baseline: Trial | None) -> dict[str, Measurement]:
        base = baseline.evaluation if baseline is not None else None
        base = base if base is not None and base.status == "ok" else None
        return figures_of(self.experiment, evaluation, base)

    def _trial(self, number: int) -> "optuna.Trial":
        import optuna

        frozen = self._study.get_trials(deepcopy=False)[number]
        return optuna.Trial(self._study, frozen._trial_id)

    def trial(self, number: int) -> Trial:
        """One trial.

        Raises:
            StudyError: If there is none of that number.
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
        """All trials, by number."""
        frozen = self._study.get_trials(deepcopy=False)
        first = self._plain(frozen[0], None) if frozen else None
        return [self._plain(f, first if i else None) for i, f in enumerate(frozen)]

    def baseline(self) -> Trial | None:
        """Trial 0, once it has been asked for."""
        frozen = self._study.get_trials(deepcopy=False)
        return self._plain(frozen[0], None) if frozen else None

    def _plain(self, frozen: "optuna.trial.FrozenTrial", baseline: Trial | None) -> Trial:
        configuration = Configuration(frozen.user_attrs[_CONFIGURATION])
        if not frozen.state.is_finished() or _EVALUATION not in frozen.user_attrs:
            return Trial(
                number=frozen.number,
                configuration=configuration,
                status="failed" if frozen.state.is_finished() else "running",
                started=frozen.datetime_start,
                ended=frozen.datetime_complete,
                why=str(frozen.user_attrs.get(_WHY, "")),
            )
        evaluation = Evaluation.from_dict(frozen.user_attrs[_EVALUATION])
        measurements = self._figures(evaluation, baseline)
        broken = tuple(
            limit
            for limit in self.experiment.limits
            if limit.metric in measurements and not limit.kept(measurements[limit.metric].value)
        )
        measured: Status = "infeasible" if broken else "ok"
        return Trial(
            number=frozen.number,
            configuration=configuration,
            status="failed" if evaluation.status == "failed" else measured,
            measurements=measurements if evaluation.status == "ok" else {},
            evaluation=evaluation,
            broken=broken if evaluation.status == "ok" else (),
            started=frozen.datetime_start,
            ended=frozen.datetime_complete,
            why=str(frozen.user_attrs.get(_WHY, "")),
        )

    def reconcile(self, results: Mapping[int, Evaluation], attempts: int = 2) -> list[Trial]:
        """Settle the trials that were running when a driver ended.

        Args:
            results: Evaluations that were finished but not told, by trial number.
            attempts: How often a configuration that never finished is run at most.

        Returns:
            Trials whose configuration is to be run again.
        """
        again: list[Trial] = []
        for frozen in self._study.get_trials(deepcopy=False):
            if frozen.state.is_finished():
                continue
            if frozen.number in results:
                self.tell(frozen.number, results[frozen.number])
                continue
            self.tell(
                frozen.number,
                Evaluation(
                    status="failed",
                    cause="crash",
                    stage="measure",
                    message="the search ended while this trial was running",
                ),
            )
            if int(frozen.user_attrs.get(_ATTEMPT, 1)) < attempts:
                again.append(self.trial(frozen.number))
        return again

    def confirmation(self) -> Mapping[str, Any]:
        """What confirmation found, as `confirm.py` wrote it; empty before."""
        return cast(Mapping[str, Any], self._study.user_attrs.get(_CONFIRMATION, {}))

    def set_confirmation(self, found: Mapping[str, Any]) -> None:
        """Keep what confirmation found."""
        self._study.set_user_attr(_CONFIRMATION, dict(found))


def _optuna_study(experiment: Experiment, *, create: bool) -> "optuna.Study":
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = experiment.results / FILE
    try:
        storage = optuna.storages.RDBStorage(
            f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": 60}}
        )
        if not create:
            return optuna.load_study(study_name=experiment.slug, storage=storage)
        return optuna.create_study(
            study_name=experiment.slug,
            storage=storage,
            directions=[objective.direction for objective in experiment.objectives],
            load_if_exists=True,
        )
    except KeyError as error:
        raise StudyError(f"{path} holds no search named {experiment.slug}") from error
    except Exception as error:  # SQLAlchemy and Optuna raise many kinds; each means: not readable
        raise StudyError(f"{path} can't be opened: {error}") from error


def _same_identity(
    experiment: Experiment, known: Mapping[str, Any], now: Mapping[str, object]
) -> None:
    differing = [name for name in sorted({*known, *now}) if known.get(name) != now.get(name)]
    if differing:
        told = "; ".join(f"{name}: was {known.get(name)}, is {now.get(name)}" for name in differing)
        raise StudyError(
            f"{experiment.results} holds figures of something else ({told}); "
            "start anew with --fresh, or under another name"
        )


def _same_objectives(experiment: Experiment, study: "optuna.Study") -> None:
    names = study.user_attrs.get(_OBJECTIVES, [])
    directions = [direction.name.lower() for direction in study.directions]
    known = list(zip(names, directions, strict=True))
    now = [(objective.metric, objective.direction) for objective in experiment.objectives]
    if known != now:
        raise StudyError(
            f"{experiment.results} was searched for {known}, but the file says {now}; "
            "start anew with --fresh, or under another name"
        )
