"""How the night is spent: experiments, studies, Ray Tune, MLflow, exports.

What is named here is imported when it is asked for: the command line answers at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tunefront.search.deploy.verify import Verification, verify

if TYPE_CHECKING:
    from tunefront.search.experiment.experiment import Experiment
    from tunefront.search.experiment.objective import Limit, Objective
    from tunefront.search.experiment.resolver import load_experiment
    from tunefront.search.front.picks import Front, Pick
    from tunefront.search.results.metadata import recorded_answer
    from tunefront.search.results.result import Answer, answer_of
    from tunefront.search.run.search import Result, run
    from tunefront.search.sampling.optuna_adapter import FrontSampler
    from tunefront.search.study.trial import Trial

_MODULE_OF = {
    "Answer": "answer",
    "Experiment": "experiment",
    "Front": "picks",
    "FrontSampler": "samplers.front_sampler",
    "Limit": "objective",
    "Objective": "objective",
    "Pick": "picks",
    "Result": "night",
    "Trial": "trial",
    "answer_of": "answer",
    "load_experiment": "experiment",
    "recorded_answer": "record",
    "run": "night",
}

__all__ = [
    "Answer",
    "Experiment",
    "Front",
    "FrontSampler",
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


def __getattr__(name: str) -> Any:
    """A name from its module."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
