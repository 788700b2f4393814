"""What there is to say about one trial of a result."""

from tunefront.search.study.trial import Trial

from .result import Answer


def role_of(answer: Answer, trial: Trial) -> str:
    """`recommended`, `baseline`, `front` or `dominated`."""
    recommended = answer.front.recommended
    if recommended is not None and trial.number == recommended.number:
        return "recommended"
    if trial.number == 0:
        return "baseline"
    return "front" if trial.number in {t.number for t in answer.front.trials} else "dominated"
