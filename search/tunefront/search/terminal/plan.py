"""Output about what is known before the first trial: the plan, this machine, the choices."""

from collections.abc import Sequence

from tunefront.evaluators.statistics.formatting import percent_text
from tunefront.search.experiment.experiment import Experiment, bound
from tunefront.search.study.duration_estimate import EXPORT_TRIALS, recorded_estimate
from tunefront.search.text import counted, duration_text
from tunefront.spaces import Catalog, Enumeration, Hardware, Value, number_formats, show

MOST_VALUES_PRINTED = 12
"""Largest number of values of a choice that are printed in full."""


def plan_lines(experiment: Experiment, enumeration: Enumeration) -> list[str]:
    """Format the plan of a search, for `--dry-run`."""
    candidates, trials = experiment.space.count_candidates(), _trials(experiment, enumeration)
    budget = experiment.budget
    hours = f", at most {budget.hours:g} h" if budget.hours is not None else ""
    hours += f", until {budget.until}" if budget.until is not None else ""
    lines = [
        f"{experiment.name}: {experiment.workload.task}, model {experiment.workload.model}",
        f"machine: {experiment.space.context.hardware.summary()}",
        f"space: {counted(enumeration.total, 'configuration')}, {len(enumeration.runnable):,} can "
        f"run here, {counted(candidates, 'different model')} to build",
        f"plan: {counted(trials, 'trial')}{hours}, {experiment.concurrent_trials} at a time, "
        f"sampler {experiment.sampler}{_confirmation_text(experiment)}",
        *([f"first: the front of {experiment.warm_start}"] if experiment.warm_start else []),
        estimate_line(experiment, enumeration),
        f"baseline: {experiment.baseline.label()}",
        "objectives: " + ", ".join(f"{o.metric} ({o.direction})" for o in experiment.objectives),
        "limits: " + (", ".join(bound(experiment, one) for one in experiment.limits) or "none"),
        "",
        "choices:",
    ]
    for choice in experiment.space.choices:
        values = _listed(choice.values, ", ")
        when = f"  when {' and '.join(map(str, choice.when))}" if choice.when else ""
        lines.append(f"  {choice.name} ({choice.stage}): {values}{when}")
    if enumeration.dropped:
        lines += ["", "left out:"]
        for drop in enumeration.dropped:
            values = ", ".join(f"{name}={_listed(some, '|')}" for name, some in drop.values.items())
            lines.append(f"  {drop.count:,}: {drop.reason}  [{values}]")
    return lines


def _trials(experiment: Experiment, enumeration: Enumeration) -> int:
    """Return the number of planned trials, ignoring the time."""
    runnable = len(enumeration.runnable)
    return min(experiment.budget.trials or runnable, runnable + 1)


def _confirmation_text(experiment: Experiment) -> str:
    wanted = experiment.confirmation
    if not wanted.finalists:
        return ", no confirmation"
    return (
        f", then {counted(wanted.finalists, 'finalist')} measured again, "
        f"{counted(wanted.rounds, 'round')} in turns with the baseline "
        f"({percent_text(wanted.share, decimals=0)} of the time)"
    )


def _listed(values: Sequence[Value], separator: str) -> str:
    """Format values; of more than 12 the first three, the last two and their number."""
    if len(values) <= MOST_VALUES_PRINTED:
        return separator.join(map(show, values))
    ends = [*map(show, values[:3]), "...", *map(show, values[-2:])]
    return f"{separator.join(ends)} ({len(values)} values)"


def estimate_line(experiment: Experiment, enumeration: Enumeration) -> str:
    """Format how long the trials of a search will take, from recorded ones."""
    found = recorded_estimate(experiment)
    if found is None:
        return "estimate: none yet, nothing is recorded; `--smoke` gives a first one"
    trials, candidates = _trials(experiment, enumeration), experiment.space.count_candidates()
    low, high = (
        duration_text(seconds / experiment.concurrent_trials)
        for seconds in found.seconds(trials, candidates)
    )
    return (
        f"estimate: {low if low == high else f'{low} to {high}'} for the trials, from "
        f"{counted(found.trials, 'recorded trial')} (median "
        f"{duration_text(found.with_build_s)} with a build, "
        f"{duration_text(found.without_build_s)} without); about "
        f"{duration_text(EXPORT_TRIALS * found.with_build_s)} for an export"
    )


def doctor_lines(hardware: Hardware, catalog: Catalog) -> list[str]:
    """Format this machine's hardware, runtimes and number formats, and what is missing."""
    import os
    from importlib.metadata import version as version_of

    from tunefront.evaluators import energy_is_counted
    from tunefront.search.tracking.store import shown_uri

    lines = [hardware.summary(), *_limit_lines(hardware)]
    lines += ["instruction sets: " + ", ".join(sorted(hardware.isa)), ""]
    for name in catalog.names("runtime"):
        needed = [one for one in catalog.extension(name).requires if not one.when]
        missing = catalog.missing(name, hardware)
        have = ", ".join(f"{one.name} {one.version_on(hardware)}" for one in needed)
        hint = missing[0].hint() if missing else ""
        text = f"missing {', '.join(one.name for one in missing)}{hint}" if missing else have
        lines.append(f"{'--' if missing else 'ok'}  {name:12} {text}")
    for name, extra in (("transformers", "hf"), ("torchao", "quantization")):
        version = hardware.libraries.get(name)
        text = version or f"missing; pip install 'tunefront[{extra}]'"
        lines.append(f"{'ok' if version else '--'}  {name:12} {text}")
    for name in ("ray", "optuna", "mlflow"):
        lines.append(f"ok  {name:12} {version_of(name)}")
    lines += ["", "number formats on this processor:", *_format_lines(hardware, catalog)]
    energy = "RAPL or NVML" if energy_is_counted() else "no counter that this user may read"
    lines += ["", f"energy: {energy}", ""]
    for name in ("RAY_ADDRESS", "MLFLOW_TRACKING_URI", "CUDA_VISIBLE_DEVICES", "HF_HOME"):
        lines.append(f"{name}={shown_uri(os.environ.get(name, '(not set)'))}")
    lines += [f"{name}={value}" for name, value in hardware.variables.items()]
    return lines


def _limit_lines(hardware: Hardware) -> list[str]:
    """Format what bounds the cores and the memory that trials can use."""
    lines: list[str] = []
    if hardware.physical_cores is not None:
        lines.append(
            f"hyperthreads: each thread of a trial has one of {hardware.physical_cores} physical "
            "cores, as long as there are as many; trials share none"
        )
    if (quota := hardware.limits.cores) is not None:
        text = f"CPU quota of this container: {quota:g} cores"
        text += ": even one thread is stopped from time to time" if quota < 1 else ""
        lines.append(text)
    if (memory_mb := hardware.limits.memory_mb) == hardware.memory_mb:
        lines.append(f"memory limit of this container: {memory_mb:,} MB")
    return lines


def _format_lines(hardware: Hardware, catalog: Catalog) -> list[str]:
    """Format each runtime's number formats on this processor, and why others are ruled out."""
    lines: list[str] = []
    lacking: dict[str, dict[str, None]] = {}
    for name in catalog.names("runtime"):
        parts: dict[str, list[str]] = {}
        for found in number_formats(catalog, name, hardware):
            if found.refusal is None:
                parts.setdefault(str(found.values["precision"]), []).append(found.quantization)
            elif found.lacking:
                lacking.setdefault(found.refusal, {})[name] = None
        shown = "; ".join(f"{precision} ({', '.join(some)})" for precision, some in parts.items())
        lines.append(f"    {name:12} {shown}")
    lines += [f"--  {', '.join(names):12} {reason}" for reason, names in lacking.items()]
    if hardware.int8_products_saturate:
        lines.append(
            "--  this processor has no VNNI instructions: it adds products of 8-bit integers in 16 "
            "bits; onnxruntime dynamic and openvino static keep 8-bit weights to 7 bits"
        )
    return lines


def _source(origin: str) -> str:
    return f" (from {origin})" if origin else ""


def choices_lines(catalog: Catalog) -> list[str]:
    """Format every choice of the catalogue with its values."""
    lines: list[str] = []
    for kind in catalog.kinds.values():
        default, source = show(kind.default), _source(catalog.origin(kind.name))
        lines.append(f"{kind.name} ({kind.stage}, default {default}): {kind.help}{source}")
        if kind.words is not None:
            lines += [
                f"    {show(word):18} {meaning}{_source(catalog.origin(kind.name, word))}".rstrip()
                for word, meaning in kind.words.items()
            ]
        elif kind.numbers:
            lines.append(f"    {', '.join(map(show, kind.numbers))} {kind.unit}".rstrip())
        else:
            lines.append(f"    {kind.low:g} to {kind.high:g} {kind.unit}".rstrip())
    return lines
