"""How the night is spent: experiments, studies, Ray Tune, MLflow, exports.

Heavy libraries are imported when they are needed, not here.
"""

from .answer import Answer, answer_of
from .experiment import Experiment, load_experiment
from .night import Result, run
from .objective import Limit, Objective
from .picks import Front, Pick
from .record import recorded_answer
from .trial import Trial
from .verify import Verification, verify

__all__ = [
    "Answer",
    "Experiment",
    "Front",
    "Limit",
    "Objective",
    "Pick",
    "Result",
    "Trial",
    "Verification",
    "answer_of",
    "load_experiment",
    "recorded_answer",
    "run",
    "verify",
]
