"""The role of one trial in a result."""

from tunefront.search.study.trial import Trial

from .result import Result


def role_of(result: Result, trial: Trial) -> str:
    """Return `recommended`, `baseline`, `front` or, for all other trials, `dominated`."""
    recommended = result.front.recommended
    if recommended is not None and trial.number == recommended.number:
        return "recommended"
    if trial.number == 0:
        return "baseline"
    return "front" if trial.number in {t.number for t in result.front.trials} else "dominated"
