"""Failed trials, grouped by stage and cause."""

from collections.abc import Sequence
from dataclasses import dataclass

from tunefront.search.study.trial import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureGroup:
    """Trials that failed at the same stage for the same cause.

    Attributes:
        stage: The stage of the evaluation; `-` if it is unknown.
        cause: The cause; `unknown` if none was recorded.
        trials: The trials, in the order of their numbers.
        messages: Their distinct error messages, that of the first trial first.
    """

    stage: str
    cause: str
    trials: tuple[Trial, ...]
    messages: tuple[str, ...]


def failures_of(trials: Sequence[Trial]) -> tuple[FailureGroup, ...]:
    """Return the groups of failed trials, in the order of their first trials."""
    groups: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        if trial.status == "failed":
            stage = trial.evaluation.stage if trial.evaluation is not None else None
            groups.setdefault((stage or "-", trial.cause or "unknown"), []).append(trial)
    return tuple(
        FailureGroup(stage=stage, cause=cause, trials=tuple(found), messages=_messages(found))
        for (stage, cause), found in groups.items()
    )


def _messages(trials: Sequence[Trial]) -> tuple[str, ...]:
    found = (trial.evaluation.message if trial.evaluation is not None else "" for trial in trials)
    return tuple(dict.fromkeys(found))
