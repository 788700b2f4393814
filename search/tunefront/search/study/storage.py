"""The sqlite file of a study: how it is opened and checked, and retries while it can't be used.

Another process can hold the file's lock (a suspended reader, a backup), its disk can be full or a
network file system away for a while. Such errors pass; a search waits for that instead of ending.
"""

import re
import shlex
import sqlite3
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tunefront.search.experiment.experiment import Experiment
from tunefront.search.text import duration_text
from tunefront.spaces import Catalog, Configuration, Direction, StudyError

if TYPE_CHECKING:
    import optuna

AccessT = TypeVar("AccessT")
_SQLITE = re.compile(r"sqlite(\+pysqlite)?:///")
ESCAPED = frozenset("%?")
"""Characters of a path that SQLAlchemy reads differently in a URL; all others can stand as is."""
LOCK_S = 10.0
"""Seconds that SQLite waits for a lock in each attempt."""
RETRY_PAUSE_S = 2.0
"""Seconds between attempts."""
LONGEST_S = 600.0
"""Seconds of attempts after which a search ends."""
LONGEST_READ_S = 60.0
"""Seconds of attempts after which a command that reads a record ends."""
CONFIGURATION_KEY = "configuration"
IDENTITY_KEY = "identity"
SEARCH_ID_KEY = "search_id"
OBJECTIVES_KEY = "objectives"
"""Names of attributes in the record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyInterrupted:
    """The record's file can't be used at the moment; the search waits and retries.

    Attributes:
        path: The file.
        problem: The error.
        longest_s: Seconds after which the search ends.
    """

    path: Path
    problem: str
    longest_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRestored:
    """The record's file can be used again after a `StudyInterrupted`.

    Attributes:
        path: The file.
        seconds: Seconds for which the search has waited.
    """

    path: Path
    seconds: float


StudyEvent = StudyInterrupted | StudyRestored
"""What is reported about the record's file."""
OnStudyEvent = Callable[[StudyEvent], None]
"""Callback for each such event."""


def unreported(event: StudyEvent) -> None:
    """Ignore an event."""


class Retries:
    """Accesses to a study's file, each repeated while it fails for a reason that can pass.

    Args:
        path: The file.
        advice: What to do once the cause is removed, the end of the error message.
        longest_s: Seconds of attempts after which an access fails.
        on_event: Called when an access has failed, and when it has succeeded afterwards.

    Attributes:
        waiting: Whether an access has failed and is being repeated.
    """

    def __init__(
        self,
        path: Path,
        advice: str,
        longest_s: float = LONGEST_READ_S,
        on_event: OnStudyEvent = unreported,
    ) -> None:
        self.path = path
        self._advice = advice
        self._longest_s = longest_s
        self._on_event = on_event
        self.waiting = False

    def __call__(self, access: Callable[[], AccessT], *, opening: bool = False) -> AccessT:
        """Return what an access returns; other errors than those that can pass are raised.

        Args:
            access: One transaction: it has no effect if it fails.
            opening: Whether it opens the file. Then only its lock is waited for: a file that can't
                be opened now can't be opened later.

        Raises:
            StudyError: If it has failed for `longest_s` seconds.
        """
        start = time.monotonic()
        self.waiting = False
        while True:
            try:
                found = access()
            except StudyError:
                raise
            except Exception as error:  # SQLAlchemy and Optuna raise many types
                problem = passing_problem(error)
                if problem is None or (opening and "locked" not in problem):
                    raise
                if time.monotonic() - start >= self._longest_s:
                    raise self._error(problem) from error
                if not self.waiting:
                    self.waiting = True
                    self._report_interrupted(problem)
            else:
                if self.waiting:
                    seconds = time.monotonic() - start
                    self._on_event(StudyRestored(path=self.path, seconds=seconds))
                self.waiting = False
                return found
            time.sleep(RETRY_PAUSE_S)

    def _report_interrupted(self, problem: str) -> None:
        self._on_event(StudyInterrupted(path=self.path, problem=problem, longest_s=self._longest_s))

    def _error(self, problem: str) -> StudyError:
        cause = (
            f"end the process that holds it (`fuser -v {self.path}` lists it)"
            if "locked" in problem
            else f"check free space and permissions of {self.path.parent}"
        )
        return StudyError(
            f"{self.path} could not be used for {duration_text(self._longest_s)} ({problem}); "
            f"{cause}, then {self._advice}"
        )


def passing_problem(error: BaseException) -> str | None:
    """Return SQLite's message if an error or one of its causes can pass; None if none can.

    These are SQLite's operational errors: locked, no room, not readable, not writable.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, sqlite3.OperationalError):
            return str(seen)
        seen = seen.__cause__ or seen.__context__
    return None


def search_command(experiment: Experiment) -> str:
    """Return the command that runs or resumes a search."""
    overrides = [word for text in experiment.overrides for word in ("--set", text)]
    smoke = ["--smoke"] if experiment.smoke else []
    return shlex.join(["tunefront", "run", str(experiment.path), *smoke, *overrides])


def optuna_url(path: Path) -> str:
    """Return the URL of a study's file; Optuna also fills in names in braces."""
    return _escaped("sqlite", path).replace("{", "{{").replace("}", "}}")


def mlflow_url(path: Path) -> str:
    """Return the URL of a store's file.

    MLflow creates the parent folder of the text after `sqlite:///` without decoding it, which
    would leave a stray folder next to one with `%` in its name. It does not do so if the URL names
    the driver.
    """
    return _escaped("sqlite+pysqlite", path) if ESCAPED & set(str(path)) else f"sqlite:///{path}"


def sqlite_path(url: str) -> Path | None:
    """Return the file that a URL names; None if it is not the URL of a sqlite file."""
    match = _SQLITE.match(url)
    if match is None:
        return None
    written = url[match.end() :]
    if not ESCAPED & set(written):  # SQLAlchemy takes long to import
        return Path(written)
    from sqlalchemy import make_url

    return Path(make_url(url).database or "")


def _escaped(driver: str, path: Path) -> str:
    from sqlalchemy import URL

    return URL.create(driver, database=str(path)).render_as_string()


def open_study(
    name: str, retries: Retries, directions: Sequence[Direction] | None = None
) -> "optuna.Study":
    """Open the Optuna study of a name.

    Args:
        name: Its name.
        retries: Accesses to the file.
        directions: Directions of the objectives, to create it if it is missing; None to load it.

    Raises:
        StudyError: If the file can't be opened or has no such study.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = retries.path

    def opened() -> "optuna.Study":
        storage = optuna.storages.RDBStorage(
            optuna_url(path), engine_kwargs={"connect_args": {"timeout": LOCK_S}}
        )
        if directions is None:
            return optuna.load_study(study_name=name, storage=storage)
        return optuna.create_study(
            study_name=name, storage=storage, directions=directions, load_if_exists=True
        )

    try:
        return retries(opened, opening=True)
    except StudyError:
        raise
    except KeyError as error:
        raise StudyError(f"{path} holds no search named {name}") from error
    except Exception as error:  # SQLAlchemy and Optuna raise many types; all mean: not readable
        raise StudyError(f"{path} can't be opened: {error}") from error


def reopen_trial(path: Path, name: str, number: int) -> None:
    """Return an ended trial to the running state, which Optuna does not offer; it starts now.

    Args:
        path: The file. Optuna must open it again afterwards, because it caches ended trials.
        name: Name of the study.
        number: Number of the trial.
    """
    now = f"{datetime.now():%Y-%m-%d %H:%M:%S.%f}"
    with closing(sqlite3.connect(path, timeout=LOCK_S)) as connection, connection:
        connection.execute(
            "UPDATE trials SET state = 'RUNNING', datetime_start = ?, datetime_complete = NULL "
            "WHERE number = ? AND study_id = (SELECT study_id FROM studies WHERE study_name = ?)",
            (now, number, name),
        )


def distributions_of(
    configuration: Configuration, catalog: Catalog
) -> "dict[str, optuna.distributions.BaseDistribution]":
    """Return the Optuna distributions of a configuration's values.

    They do not depend on the values listed in the experiment, because Optuna does not let a list
    of categories grow. The space itself is defined by the experiment.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, optuna.distributions.BaseDistribution] = {}
    for name, value in configuration.items():
        kind = catalog.kind(name)
        if kind.words is not None:
            found[name] = CategoricalDistribution(list(kind.words))
        elif kind.whole:
            found[name] = IntDistribution(int(value), int(value))
        else:
            found[name] = FloatDistribution(float(value), float(value))
    return found


def begin_record(
    experiment: Experiment, study: "optuna.Study", identity: Mapping[str, object]
) -> None:
    """Write what a new record is about, or check that a record is about the same.

    Args:
        experiment: The experiment.
        study: The record, which has no attributes if it is new.
        identity: Everything besides the configuration that measurements depend on.

    Raises:
        StudyError: If the record has another identity, other objectives or another baseline.
    """
    known = study.user_attrs.get(IDENTITY_KEY)
    if known is None:
        study.set_user_attr(SEARCH_ID_KEY, uuid.uuid4().hex[:12])
        study.set_user_attr(OBJECTIVES_KEY, [o.metric for o in experiment.objectives])
        study.set_user_attr(IDENTITY_KEY, dict(identity))
    else:
        _same_identity(experiment, known, identity)
    _same_objectives(experiment, study)
    _same_baseline(experiment, study)


def _same_identity(
    experiment: Experiment, known: Mapping[str, Any], now: Mapping[str, object]
) -> None:
    differing = [name for name in sorted({*known, *now}) if known.get(name) != now.get(name)]
    if differing:
        text = "; ".join(f"{name}: was {known.get(name)}, is {now.get(name)}" for name in differing)
        raise StudyError(
            f"{experiment.results} holds measurements of something else ({text}); "
            "start again with --fresh, or under another name"
        )


def _same_objectives(experiment: Experiment, study: "optuna.Study") -> None:
    names = study.user_attrs.get(OBJECTIVES_KEY, [])
    directions = [direction.name.lower() for direction in study.directions]
    known = list(zip(names, directions, strict=True))
    now = [(objective.metric, objective.direction) for objective in experiment.objectives]
    if known != now:
        text = [", ".join(f"{metric} ({way})" for metric, way in some) for some in (known, now)]
        raise StudyError(
            f"{experiment.results} was searched for {text[0]}, but the file has {text[1]}; "
            "start again with --fresh, or under another name"
        )


def _same_baseline(experiment: Experiment, study: "optuna.Study") -> None:
    first = study.get_trials(deepcopy=False)[:1]
    if not first:
        return
    known = completed(experiment, first[0].user_attrs[CONFIGURATION_KEY])
    if known != experiment.baseline:
        raise StudyError(
            f"{experiment.results} compares with {known.label()}, but the file's baseline is "
            f"{experiment.baseline.label()}; start again with --fresh, or under another name"
        )


def completed(experiment: Experiment, recorded: Mapping[str, Any]) -> Configuration:
    """Return a recorded configuration, with defaults for choices listed in the file since then."""
    space = experiment.space
    values = {**space.defaults(), **recorded}
    added = {
        c.name: c.default for c in space.choices if c.name not in recorded and c.active(values)
    }
    return Configuration({**recorded, **added})
