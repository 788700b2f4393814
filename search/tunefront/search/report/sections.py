"""The report's sections about the run: failures, exclusions, machine, protocol, time."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tunefront.evaluators import load_levels, pipeline_of
from tunefront.evaluators.statistics.formatting import percent_text
from tunefront.search.experiment.experiment import Budget, Experiment, bound
from tunefront.search.experiment.references import texts_of
from tunefront.search.results.result import Result, early_ends
from tunefront.search.sampling.surrogate.calibration import prediction_calibration
from tunefront.search.text import counted

MESSAGE = 300
"""Maximum number of characters of the message that represents a group of failures."""


def account_of(result: Result, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the report's data about the search run as plain JSON values.

    Args:
        result: The result of the search.
        record: The metadata in `search.json`; can be empty.
    """
    space = record.get("space", {})
    return {
        "failures": _failures(result),
        "inferred_failures": [str(failure) for failure in result.inferred_failures],
        "space": {name: space.get(name) for name in ("configurations", "runnable")},
        "dropped": [
            {
                "count": dropped["count"],
                "reason": dropped["reason"],
                "values": ", ".join(f"{n} {' or '.join(v)}" for n, v in dropped["values"].items()),
            }
            for dropped in space.get("dropped", ())
        ],
        "machine": _machine(record),
        "protocol": _protocol(result),
        "stages": _stages(result),
        "pace": _pace(result),
        "period": _period(result),
    }


def _failures(result: Result) -> list[dict[str, Any]]:
    """Return the groups of failed trials, the largest first."""
    return [
        {
            "stage": group.stage,
            "cause": group.cause,
            "trials": [trial.number for trial in group.trials],
            "message": group.messages[0][:MESSAGE],
            "messages": len({message[:MESSAGE] for message in group.messages}),
        }
        for group in sorted(result.failures, key=lambda group: -len(group.trials))
    ]


def _machine(record: Mapping[str, Any]) -> list[list[str]]:
    machine = record.get("machine", {})
    workload = record.get("workload", {})
    libraries = machine.get("libraries", {})
    rows = [
        ["machine", str(machine.get("summary", ""))],
        ["instruction sets", ", ".join(machine.get("isa", ()))],
        ["libraries", ", ".join(f"{name} {version}" for name, version in libraries.items())],
        [
            "model and data",
            ", ".join(
                f"{name} {value}"
                for name, value in workload.items()
                if value and not isinstance(value, Mapping)
            ),
        ],
    ]
    return [row for row in rows if row[1]]


def _protocol(result: Result) -> list[list[str]]:
    experiment = result.experiment
    workload, baseline = experiment.workload, experiment.baseline
    references = texts_of(experiment.references, baseline, experiment.budget.trials)
    unconfirmed = sum(view.trust == "unconfirmed" for view in result.views.values())
    rows = [
        ["workload", workload.title],
        ["file", str(experiment.path)],
        ["baseline", baseline.label()],
        *map(list, references.items()),
        ["objectives", ", ".join(f"{o.metric} ({o.direction})" for o in experiment.objectives)],
        ["limits", ", ".join(bound(experiment, one) for one in experiment.limits) or "none"],
        ["scarce data", "" if result.scarcity is None else str(result.scarcity)],
        ["a trial", _turns(experiment)],
        ["confirmation", _confirmed(result)],
        ["sampler", f"{experiment.sampler}, seed {experiment.seed}"],
        ["predictions", _calibration(result)],
        ["budget", _budget(experiment.budget)],
        ["unconfirmed", f"{unconfirmed} of {len(result.trials)} trials"],
        ["saved", early_ends(result.trials, experiment.objectives)],
    ]
    return [row for row in rows if row[1]]


def _calibration(result: Result) -> str:
    calibration = prediction_calibration(result.trials)
    return "" if calibration is None else str(calibration)


def _turns(experiment: Experiment) -> str:
    protocol = experiment.protocol
    how = "in turns with the baseline" if protocol.reference else "by itself"
    levels = load_levels(experiment.workload)
    if len(levels) > 1:
        how += f", at each of the load levels {', '.join(levels)}"
    return (
        f"{how}, {protocol.turns} turns at the least (slow ones fewer), {protocol.seconds:g} s "
        f"at the most, until the interval is ± {percent_text(protocol.precision)}; waits up to "
        f"{protocol.wait_s:g} s for a quiet machine; "
        f"{counted(experiment.concurrent_trials, 'trial')} at a time"
    )


def _confirmed(result: Result) -> str:
    planned = result.experiment.confirmation
    numbers = ", ".join(f"{number:03}" for number in sorted(result.confirmation.rounds))
    return (
        f"{planned.finalists} finalists measured again, {planned.rounds} rounds of fresh processes "
        f"in turns with the baseline; confirmed: {numbers or 'none'}"
    )


def _budget(budget: Budget) -> str:
    bounds = [
        (budget.trials, "{} trials"),
        (budget.hours, "{:g} h"),
        (budget.until, "until {}"),
    ]
    texts = [text.format(most) for most, text in bounds if most is not None]
    if budget.least_gain is not None:
        texts.append(f"until trials add less than {percent_text(budget.least_gain)}")
    return ", ".join(texts)


def _stages(result: Result) -> list[dict[str, Any]]:
    """Return by stage the seconds of all trials, and the number of trials with such a time."""
    found = []
    for stage in pipeline_of(result.experiment.workload).stages:
        spent = [
            float(trial.evaluation.seconds[stage])
            for trial in result.trials
            if trial.evaluation is not None and stage in trial.evaluation.seconds
        ]
        if spent:
            found.append({"stage": stage, "seconds": round(sum(spent), 2), "trials": len(spent)})
    return found


def _pace(result: Result) -> dict[str, Any] | None:
    """Return the 5, 50 and 95 % quantiles of trials' seconds / expected seconds, without waiting.

    None if no measured trial has an expected duration.
    """
    ratios = [
        trial.evaluation.own_s / trial.expected_s
        for trial in result.trials
        if trial.measured
        and trial.expected_s
        and trial.evaluation is not None
        and "total" in trial.evaluation.seconds
    ]
    if not ratios:
        return None
    low, middle, high = (round(float(q), 3) for q in np.quantile(ratios, [0.05, 0.5, 0.95]))
    return {"trials": len(ratios), "low": low, "median": middle, "high": high}


def _period(result: Result) -> list[str]:
    """Return the start of the first trial and the end of the last; empty if not recorded."""
    started = [trial.started for trial in result.trials if trial.started is not None]
    ended = [trial.ended for trial in result.trials if trial.ended is not None]
    if not started or not ended:
        return []
    return [f"{time:%Y-%m-%d %H:%M}" for time in (min(started), max(ended))]
