"""The Optuna study: ask, tell, limits, storage. The one truth about trials.

A configuration is decided elsewhere (samplers/) and added as a running trial in one transaction, so
the study holds exactly what was run, trial by trial, whatever ends the process. Everything that is
known about a trial lies with it as JSON.
"""

import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from tunefront.evaluators import Evaluation, Measurement
from tunefront.search.experiment.experiment import Experiment
from tunefront.spaces import CHOICES, Configuration, StudyError

from .derived_metrics import figures_of
from .outputs import write_trial_outputs
from .sqlite_reader import ReadStudy, ReadTrial, read_study
from .trial import Trial, TrialStatus

if TYPE_CHECKING:
    import optuna

STUDY_FILE = "study.db"
_CONFIGURATION = "configuration"
_EVALUATION = "evaluation"
_IDENTITY = "identity"
_ID = "search_id"
_OBJECTIVES = "objectives"
_CONFIRMATION = "confirmation"
_ATTEMPT = "attempt"
_WHY = "why"
_EXPECTED = "expected_s"
_SPENT = "spent_s"
_HOUR = "another_hour"
RECORD_FORMAT = "3"
"""The form of the record; another one can't be gone on with."""
TRIAL_ATTEMPTS = 3
"""How often a trial is started whose worker, node or driver ended under it."""


class Study:
    """The record of one search, in sqlite beside the experiment.

    Args:
        experiment: What is searched.
        study: The Optuna study that holds it, or what was read of it to look at it.
    """

    def __init__(self, experiment: Experiment, study: "optuna.Study | ReadStudy") -> None:
        self.experiment = experiment
        self._source = study
        self._found: Sequence[optuna.trial.FrozenTrial | ReadTrial] | None = None
        self._ended: dict[int, Trial] = {}

    @classmethod
    def open(cls, experiment: Experiment, identity: Mapping[str, object]) -> "Study":
        """Open the record, or start it.

        Args:
            experiment: What is searched.
            identity: What figures depend on beside the configuration: the content of model and
                data, the machine, library versions.

        Raises:
            StudyError: If the record belongs to another identity, baseline or other objectives.
        """
        experiment.results.mkdir(parents=True, exist_ok=True)
        identity = {**identity, "record": RECORD_FORMAT}
        study = _optuna_study(experiment, create=True)
        known = study.user_attrs.get(_IDENTITY)
        if known is None:
            study.set_user_attr(_ID, uuid.uuid4().hex[:12])
            study.set_user_attr(_OBJECTIVES, [o.metric for o in experiment.objectives])
            study.set_user_attr(_IDENTITY, dict(identity))
        else:
            _same_identity(experiment, known, identity)
        _same_objectives(experiment, study)
        _same_baseline(experiment, study)
        return cls(experiment, study)

    @classmethod
    def read(cls, experiment: Experiment) -> "Study":
        """Open the record to look at it.

        Raises:
            StudyError: If there is none yet.
        """
        if not (experiment.results / STUDY_FILE).is_file():
            raise StudyError(
                f"{experiment.name}: no record in {experiment.results}; "
                f"start with `tunefront run {experiment.path}`"
            )
        read = read_study(experiment.results / STUDY_FILE, experiment.slug)
        return cls(experiment, read or _optuna_study(experiment, create=False))

    @property
    def _study(self) -> "optuna.Study":
        """The study to write to."""
        if isinstance(self._source, ReadStudy):
            self._source = _optuna_study(self.experiment, create=False)
            self._found = None
        return self._source

    @property
    def identity(self) -> Mapping[str, Any]:
        """What the figures depend on beside the configuration."""
        return cast(Mapping[str, Any], self._source.user_attrs.get(_IDENTITY, {}))

    @property
    def search_id(self) -> str:
        """What tells this search from others of its name."""
        return str(self._source.user_attrs[_ID])

    def ask(
        self, configuration: Configuration, why: str = "", expected_s: float | None = None
    ) -> int:
        """Start a trial of this configuration, and say why; its number.

        Args:
            configuration: What is run.
            why: Why it was proposed.
            expected_s: What it should take.
        """
        import optuna

        attributes = {_CONFIGURATION: dict(configuration), _ATTEMPT: 1, _WHY: why}
        trial = optuna.trial.create_trial(
            state=optuna.trial.TrialState.RUNNING,
            params=dict(configuration),
            distributions=_distributions(configuration),
            user_attrs={**attributes, _EXPECTED: expected_s},
        )
        self._found = None
        self._study.add_trial(trial)
        return int(self._frozen[-1].number)

    def again(self, number: int, *, counted: bool = True) -> Trial | None:
        """Start a trial once more that never ended; None where it was started often enough.

        Then it is told as failed: what ends whatever runs it is a crash, too.

        Args:
            number: The trial.
            counted: Whether it could have been the trial's own fault.
        """
        trial = self.trial(number)
        if not counted:
            return trial
        if trial.attempt < TRIAL_ATTEMPTS:
            running = self._trial(number)
            self._found = None
            running.set_user_attr(_ATTEMPT, trial.attempt + 1)
            return self.trial(number)
        self.tell(
            number,
            Evaluation(
                status="failed",
                cause="crash",
                stage="measure",
                message=f"what ran it was gone {TRIAL_ATTEMPTS} times before it ended",
            ),
        )
        return None

    def tell(self, number: int, evaluation: Evaluation) -> Trial:
        """End a trial; the trial as recorded, its samples in a file beside it."""
        import optuna

        write_trial_outputs(self.experiment.results, number, evaluation.samples)
        evaluation = replace(evaluation, samples=())
        trial = self._trial(number)
        baseline = None if number == 0 else self.baseline()
        measurements = self._figures(evaluation, baseline)
        problem = self._unusable(evaluation, measurements)
        if problem is not None:
            evaluation = problem
        self._found = None
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

        study = self._study
        frozen = cast("optuna.trial.FrozenTrial", self._frozen[number])
        return optuna.Trial(study, frozen._trial_id)

    @property
    def _frozen(self) -> "Sequence[optuna.trial.FrozenTrial | ReadTrial]":
        """All trials as the file has them, read again after what is written here.

        Only then: who writes a record is the only one that does (`only_driver`).
        """
        if self._found is None:
            self._found = self._source.get_trials(deepcopy=False)
        return self._found

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
        frozen = self._frozen
        first = self._known(frozen[0], None) if frozen else None
        return [self._known(one, first if place else None) for place, one in enumerate(frozen)]

    def baseline(self) -> Trial | None:
        """Trial 0, once it has been asked for."""
        return self._known(self._frozen[0], None) if self._frozen else None

    def _known(
        self, frozen: "optuna.trial.FrozenTrial | ReadTrial", baseline: Trial | None
    ) -> Trial:
        """A trial that has ended never changes."""
        if frozen.number not in self._ended:
            trial = self._plain(frozen, baseline)
            if _runs(frozen):
                return trial
            self._ended[frozen.number] = trial
        return self._ended[frozen.number]

    def _plain(
        self, frozen: "optuna.trial.FrozenTrial | ReadTrial", baseline: Trial | None
    ) -> Trial:
        configuration = _completed(self.experiment, frozen.user_attrs[_CONFIGURATION])
        if not frozen.state.is_finished() or _EVALUATION not in frozen.user_attrs:
            return Trial(
                number=frozen.number,
                configuration=configuration,
                status="failed" if frozen.state.is_finished() else "running",
                started=frozen.datetime_start,
                ended=frozen.datetime_complete,
                **_how(frozen),
            )
        evaluation = self._evaluation(frozen)
        measurements = self._figures(evaluation, baseline)
        broken = tuple(
            limit
            for limit in self.experiment.limits
            if limit.metric in measurements and not limit.kept(measurements[limit.metric].value)
        )
        measured: TrialStatus = "infeasible" if broken else "ok"
        return Trial(
            number=frozen.number,
            configuration=configuration,
            status="failed" if evaluation.status == "failed" else measured,
            measurements=measurements if evaluation.status == "ok" else {},
            evaluation=evaluation,
            broken=broken if evaluation.status == "ok" else (),
            started=frozen.datetime_start,
            ended=frozen.datetime_complete,
            **_how(frozen),
        )

    def _evaluation(self, frozen: "optuna.trial.FrozenTrial | ReadTrial") -> Evaluation:
        try:
            return Evaluation.from_dict(frozen.user_attrs[_EVALUATION])
        except (KeyError, TypeError) as error:
            raise StudyError(
                f"{self.experiment.results / STUDY_FILE}: trial {frozen.number} is recorded in "
                f"form {self.identity.get('record', 1)}, but this version reads form "
                f"{RECORD_FORMAT}: the version that wrote it reads it"
            ) from error

    def reconcile(self, results: Mapping[int, Evaluation]) -> list[int]:
        """Settle the trials that were running when a driver ended.

        Args:
            results: Evaluations that were finished but not told, by trial number.

        Returns:
            The numbers of trials that never ended.
        """
        running = [one.number for one in self._frozen if _runs(one)]
        for number in running:
            if number in results:
                self.tell(number, results[number])
        return [number for number in running if number not in results]

    @property
    def spent_s(self) -> float:
        """Seconds that sessions have spent on this search."""
        return float(self._source.user_attrs.get(_SPENT, 0.0))

    def spend(self, seconds: float) -> None:
        """Keep what was spent, all sessions together."""
        self._study.set_user_attr(_SPENT, seconds)

    @property
    def foreseen(self) -> tuple[int, float] | None:
        """Trials of another hour, and what they would add at the most; None where not known."""
        found = self._source.user_attrs.get(_HOUR)
        return None if found is None else (int(found[0]), float(found[1]))

    def foresee(self, trials: int, gain: float) -> None:
        """Keep what another hour would buy.

        Args:
            trials: That fit into it.
            gain: As a share of the front's hypervolume.
        """
        self._study.set_user_attr(_HOUR, [trials, gain])

    def confirmation(self) -> Mapping[str, Any]:
        """What confirmation found, as `confirm.py` wrote it; empty before."""
        return cast(Mapping[str, Any], self._source.user_attrs.get(_CONFIRMATION, {}))

    def set_confirmation(self, found: Mapping[str, Any]) -> None:
        """Keep what confirmation found."""
        self._study.set_user_attr(_CONFIRMATION, dict(found))


def _runs(frozen: "optuna.trial.FrozenTrial | ReadTrial") -> bool:
    return not frozen.state.is_finished()


def _how(frozen: "optuna.trial.FrozenTrial | ReadTrial") -> dict[str, Any]:
    """Why, how often and for how long it was to run."""
    attributes = frozen.user_attrs
    return {
        "why": str(attributes.get(_WHY, "")),
        "attempt": int(attributes.get(_ATTEMPT, 1)),
        "expected_s": attributes.get(_EXPECTED),
    }


def _distributions(
    configuration: Configuration,
) -> "dict[str, optuna.distributions.BaseDistribution]":
    """What Optuna keeps beside the values; the same whatever the file lists, so that it may change.

    The space itself is the experiment's; a list of categories could never grow.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, optuna.distributions.BaseDistribution] = {}
    for name, value in configuration.items():
        kind = CHOICES[name]
        if kind.words is not None:
            found[name] = CategoricalDistribution(list(kind.words))
        elif kind.whole:
            found[name] = IntDistribution(int(value), int(value))
        else:
            found[name] = FloatDistribution(float(value), float(value))
    return found


def _optuna_study(experiment: Experiment, *, create: bool) -> "optuna.Study":
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = experiment.results / STUDY_FILE
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
        told = [", ".join(f"{metric} ({way})" for metric, way in some) for some in (known, now)]
        raise StudyError(
            f"{experiment.results} was searched for {told[0]}, but the file says {told[1]}; "
            "start anew with --fresh, or under another name"
        )


def _same_baseline(experiment: Experiment, study: "optuna.Study") -> None:
    first = study.get_trials(deepcopy=False)[:1]
    if not first:
        return
    known = _completed(experiment, first[0].user_attrs[_CONFIGURATION])
    if known != experiment.baseline:
        raise StudyError(
            f"{experiment.results} compares with {known.label()}, but the file's baseline is "
            f"{experiment.baseline.label()}; start anew with --fresh, or under another name"
        )


def _completed(experiment: Experiment, recorded: Mapping[str, Any]) -> Configuration:
    """A recorded configuration with the defaults of choices that the file had not listed yet."""
    space = experiment.space
    values = {**space.defaults(), **recorded}
    added = {
        c.name: c.default for c in space.choices if c.name not in recorded and c.active(values)
    }
    return Configuration({**recorded, **added})
