"""A trial as a user of Ray Tune would write it: build, judge, measure, report.

Workers import it: what is loaded once stays with them (`reuse_actors`), which is kinder than a
process for each trial.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from tunefront.evaluators import EvaluationSettings, Isolation, builtin_catalog, evaluate
from tunefront.evaluators.isolation.codec import from_plain
from tunefront.search import Experiment, load_experiment
from tunefront.spaces import Configuration

LOSS = "quality_drop"
RAN = "ran"


@cache
def _isolation() -> Isolation:
    return Isolation()


@cache
def _experiment(path: str) -> Experiment:
    return load_experiment(Path(path))


@cache
def _runnable(path: str) -> frozenset[Configuration]:
    return frozenset(_experiment(path).space.enumerate().runnable)


def trial(
    values: dict[str, Any],
    path: str,
    settings: Mapping[str, Any],
    base: float,
    cant_run: Mapping[str, float],
) -> None:
    """Report objectives and loss of quality.

    Args:
        values: A value for every choice.
        path: The experiment's file.
        settings: What all evaluations share.
        base: The baseline's quality.
        cant_run: What is reported where the combination can't run.
    """
    from ray import tune

    experiment = _experiment(path)
    configuration = experiment.space.member(values)
    if configuration not in _runnable(path):
        tune.report({**cant_run, RAN: False})
        return
    with tempfile.TemporaryDirectory(prefix="tunefront-") as folder:
        own = replace(from_plain(EvaluationSettings, settings), store=folder)
        complete = builtin_catalog().complete(configuration)
        found = evaluate(own, complete, _isolation(), Path(folder, "log"))
    if found.status == "failed":
        tune.report({**cant_run, RAN: True})
        return
    figures = {name: measured.value for name, measured in found.measurements.items()}
    sign = 1 if experiment.primary.direction == "minimize" else -1
    loss = 100 * sign * (figures[experiment.primary.name] / base - 1)
    objectives = {o.metric: figures[o.metric] for o in experiment.objectives}
    tune.report({**objectives, LOSS: loss, RAN: True})
