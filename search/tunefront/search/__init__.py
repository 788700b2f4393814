"""Search over configurations: experiments, studies, Ray Tune, MLflow, exports.

The public names are imported on first use, so that the command line starts fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tunefront.search.deploy.verify import Verification, verify

if TYPE_CHECKING:
    from tunefront.search.experiment.experiment import Experiment
    from tunefront.search.experiment.objective import Limit, Objective
    from tunefront.search.experiment.resolver import load_experiment
    from tunefront.search.front.picks import Front, Pick
    from tunefront.search.results.metadata import recorded_result
    from tunefront.search.results.result import Result, result_of
    from tunefront.search.run.events import Event, event_record
    from tunefront.search.run.search import RunResult, run_search
    from tunefront.search.sampling.optuna_adapter import FrontSampler
    from tunefront.search.study.trial import Trial
    from tunefront.search.terminal.events import event_text

_MODULE_OF = {
    "Result": "results.result",
    "Event": "run.events",
    "Experiment": "experiment.experiment",
    "Front": "front.picks",
    "FrontSampler": "sampling.optuna_adapter",
    "Limit": "experiment.objective",
    "Objective": "experiment.objective",
    "Pick": "front.picks",
    "RunResult": "run.search",
    "Trial": "study.trial",
    "event_record": "run.events",
    "event_text": "terminal.events",
    "result_of": "results.result",
    "load_experiment": "experiment.resolver",
    "recorded_result": "results.metadata",
    "run_search": "run.search",
}

__all__ = [
    "Event",
    "Experiment",
    "Front",
    "FrontSampler",
    "Limit",
    "Objective",
    "Pick",
    "Result",
    "RunResult",
    "Trial",
    "Verification",
    "event_record",
    "event_text",
    "load_experiment",
    "recorded_result",
    "result_of",
    "run_search",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
