"""The report's sections about the run: failures, exclusions, machine, protocol, time."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tunefront.evaluators.pipelines.inference import InferencePipeline
from tunefront.search.experiment.experiment import Budget, Experiment, bound
from tunefront.search.results.result import Result, early_ends
from tunefront.search.study.trial import Trial
from tunefront.search.text import counted

MESSAGE = 300
"""Maximum number of characters of the message that represents a group of failures."""


def account_of(answer: Result, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the report's data about the search run as plain JSON values.

    Args:
        answer: The result of the search.
        record: The metadata in `search.json`; can be empty.
    """
    space = record.get("space", {})
    return {
        "failures": _failures(answer),
        "lessons": [str(lesson) for lesson in answer.lessons],
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
        "protocol": _protocol(answer),
        "stages": _stages(answer),
        "pace": _pace(answer),
        "period": _period(answer),
    }


def _failures(answer: Result) -> list[dict[str, Any]]:
    """Group the failed trials by stage and cause, the most frequent first."""
    groups: dict[tuple[str, str], list[Trial]] = {}
    for trial in answer.trials:
        if trial.status == "failed":
            stage = trial.evaluation.stage if trial.evaluation is not None else None
            groups.setdefault((stage or "-", trial.cause or "unknown"), []).append(trial)
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    return [
        {
            "stage": stage,
            "cause": cause,
            "trials": [trial.number for trial in trials],
            "message": _message(trials[0]),
            "messages": len({_message(trial) for trial in trials}),
        }
        for (stage, cause), trials in ordered
    ]


def _message(trial: Trial) -> str:
    return trial.evaluation.message[:MESSAGE] if trial.evaluation is not None else ""


def _machine(record: Mapping[str, Any]) -> list[list[str]]:
    machine = record.get("machine", {})
    workload = record.get("workload", {})
    libraries = machine.get("libraries", {})
    rows = [
        ["machine", str(machine.get("summary", ""))],
        ["instruction sets", ", ".join(machine.get("isa", ()))],
        ["libraries", ", ".join(f"{name} {version}" for name, version in libraries.items())],
        ["model and data", ", ".join(f"{name} {value}" for name, value in workload.items())],
    ]
    return [row for row in rows if row[1]]


def _protocol(answer: Result) -> list[list[str]]:
    experiment = answer.experiment
    workload = experiment.workload
    doubted = sum(answer.trust(trial).startswith("doubted") for trial in answer.trials)
    rows = [
        ["workload", f"{workload.task}, model {workload.model}"],
        ["file", str(experiment.path)],
        ["baseline", experiment.baseline.label()],
        ["objectives", ", ".join(f"{o.metric} ({o.direction})" for o in experiment.objectives)],
        ["limits", ", ".join(bound(experiment, one) for one in experiment.limits) or "none"],
        ["a trial", _turns(experiment)],
        ["confirmation", _confirmed(answer)],
        ["sampler", f"{experiment.sampler}, seed {experiment.seed}"],
        ["budget", _budget(experiment.budget)],
        ["doubted", f"{doubted} of {len(answer.trials)} trials"],
        ["saved", early_ends(answer.trials, experiment.objectives)],
    ]
    return [row for row in rows if row[1]]


def _turns(experiment: Experiment) -> str:
    protocol = experiment.protocol
    beside = "in turns with the baseline" if protocol.reference else "by itself"
    return (
        f"{beside}, {protocol.turns} turns at the least (slow ones fewer), {protocol.seconds:g} s "
        f"at the most, until the interval is ± {protocol.precision:.0%}; waits up to "
        f"{protocol.wait_s:g} s for a quiet machine; "
        f"{counted(experiment.concurrent_trials, 'trial')} at a time"
    )


def _confirmed(answer: Result) -> str:
    asked = answer.experiment.confirmation
    numbers = ", ".join(f"{number:03}" for number in sorted(answer.confirmation.rounds))
    return (
        f"{asked.finalists} finalists measured again, {asked.rounds} rounds of fresh processes in "
        f"turns with the baseline; confirmed: {numbers or 'none'}"
    )


def _budget(budget: Budget) -> str:
    bounds = [
        (budget.trials, "{} trials"),
        (budget.hours, "{:g} h"),
        (budget.until, "until {}"),
        (budget.least_gain, "until trials add less than {:.2%}"),
    ]
    return ", ".join(text.format(most) for most, text in bounds if most is not None)


def _stages(answer: Result) -> list[dict[str, Any]]:
    """Return by stage the seconds of all trials, and the number of trials with such a time."""
    found = []
    for stage in InferencePipeline.stages:
        spent = [
            float(trial.evaluation.seconds[stage])
            for trial in answer.trials
            if trial.evaluation is not None and stage in trial.evaluation.seconds
        ]
        if spent:
            found.append({"stage": stage, "seconds": round(sum(spent), 2), "trials": len(spent)})
    return found


def _pace(answer: Result) -> dict[str, Any] | None:
    """Return the 5, 50 and 95 % quantiles of trials' seconds / expected seconds, without waiting.

    None if no measured trial has an expected duration.
    """
    ratios = [
        trial.evaluation.own_s / trial.expected_s
        for trial in answer.trials
        if trial.measured
        and trial.expected_s
        and trial.evaluation is not None
        and "total" in trial.evaluation.seconds
    ]
    if not ratios:
        return None
    low, middle, high = (round(float(q), 3) for q in np.quantile(ratios, [0.05, 0.5, 0.95]))
    return {"trials": len(ratios), "low": low, "median": middle, "high": high}


def _period(answer: Result) -> list[str]:
    """Return the start of the first trial and the end of the last; empty if not recorded."""
    started = [trial.started for trial in answer.trials if trial.started is not None]
    ended = [trial.ended for trial in answer.trials if trial.ended is not None]
    if not started or not ended:
        return []
    return [f"{time:%Y-%m-%d %H:%M}" for time in (min(started), max(ended))]
