"""What commands print: tables for people on a terminal, plain text elsewhere."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tunefront.spaces import CHOICES, Enumeration, Hardware, Value, show

from .answer import Answer, choices_of, figure
from .estimate import recorded_estimate
from .experiment import Experiment
from .objective import Limit
from .picks import Pick, nearest_misses
from .relaxation import relaxations
from .trial import Trial
from .words import counted, listed

if TYPE_CHECKING:
    from rich.table import Table

    from tunefront.evaluators.eviction import Product

    from .cache import Cache
    from .searches import Search
    from .verify import Verification

MARKS: Mapping[bool | None, str] = {True: "holds", False: "DOES NOT HOLD", None: "not judged"}
LISTED = 12
"""Values of a choice that are all printed."""


def print_table(table: "Table") -> None:
    """A rich table on stdout, as wide as it needs to be where nobody looks at it live."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(table)


def table_of(header: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> "Table":
    """A plain table; columns that hold only numbers are right-aligned."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    listed = [list(row) for row in rows]
    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(header):
        numbers = all(_numeric(row[place]) for row in listed)
        table.add_column(name, justify="right" if numbers else "left", overflow="fold")
    for row in listed:
        table.add_row(*map(escape, row))  # what stands in brackets is no markup
    return table


def _numeric(text: str) -> bool:
    try:
        float(text.replace(",", "").rstrip("x%").replace("±", "") or "0")
    except ValueError:
        return False
    return True


def front_table(answer: Answer) -> "Table":
    """The front and the baseline, the best of the first objective first."""
    trials = list(answer.front.trials)
    baseline = answer.baseline
    if baseline is not None and baseline.number not in {trial.number for trial in trials}:
        trials.append(baseline)
    return trials_table(answer, trials, "the front, and the baseline")


def trials_table(answer: Answer, trials: Sequence[Trial], title: str = "") -> "Table":
    """Trials with role, objectives, comparison and choices."""
    experiment = answer.experiment
    objectives = [objective.metric for objective in experiment.objectives]
    varied = [c.name for c in experiment.space.choices if len(c.values) > 1]
    units = [experiment.metrics[name].unit for name in objectives]
    named = [f"{name}\n{unit}" for name, unit in zip(objectives, units, strict=True)]
    picks = {pick.trial.number: pick.name for pick in reversed(answer.front.picks)}
    on_front = {trial.number for trial in answer.front.trials}
    rows = []
    for trial in trials:
        figures = [
            figure(trial.measurements[name]) if name in trial.measurements else "-"
            for name in objectives
        ]
        ties = answer.front.ties.get(trial.number, ())
        role = "front" if trial.number in on_front else trial.status
        told = picks.get(trial.number, "baseline" if trial.number == 0 else role)
        tied = " =" + ",".join(str(t.number) for t in ties[:3]) if ties else ""
        rows.append(
            [
                f"{trial.number:03}{tied}",
                told if trial.measured else f"failed: {trial.cause}",
                answer.trust(trial),
                *figures,
                *choices_of(trial, varied).values(),
            ]
        )
    return table_of(["trial", "role", "trust", *named, *varied], rows, title)


def picks_lines(answer: Answer) -> list[str]:
    """The picks in words, those of one trial together."""
    by_trial: dict[int, list[Pick]] = {}
    for pick in answer.front.picks:
        by_trial.setdefault(pick.trial.number, []).append(pick)
    named = [(", ".join(pick.name for pick in picks), picks[0]) for picks in by_trial.values()]
    width = max((len(names) for names, _ in named), default=0)
    lines = []
    for names, pick in named:
        lines.append(f"  {names:{width}}  {pick.trial.name()}: {answer.sentence(pick.trial)}")
        ties = f"; can't be told apart from {_numbers(pick.ties)}" if pick.ties else ""
        lines.append(f"  {'':{width}}  {pick.reason}{ties}")
    return lines


def failure_lines(answer: Answer) -> list[str]:
    """What failed, by cause, and what need not be tried after it; nothing where all went well."""
    by_cause: dict[str, list[int]] = {}
    for trial in answer.trials:
        if trial.status == "failed":
            by_cause.setdefault(trial.cause, []).append(trial.number)
    lines = [
        f"failed ({cause}): {listed(numbers)}; see `tunefront show {answer.experiment.path} "
        f"{numbers[0]}`"
        for cause, numbers in by_cause.items()
    ]
    return lines + [str(lesson) for lesson in answer.lessons]


def ties_line(answer: Answer) -> str:
    """What `=` means beside a trial; empty where there is none."""
    tied = [t for t in answer.front.trials if answer.front.ties.get(t.number)]
    if not tied:
        return ""
    first = answer.front.ties[tied[0].number][0]
    return f"{tied[0].number:03} ={first.number}: can't be told apart from {first.number:03}"


def relaxation_lines(answer: Answer, limits: Sequence[Limit], prefer: str | None) -> list[str]:
    """What giving way on each limit would buy; nothing where it buys nothing."""
    found = relaxations(answer.experiment, answer.trials, limits, prefer)
    return [f"  {r}  {r.trial.name()}: {answer.sentence(r.trial)}" for r in found]


def miss_lines(answer: Answer, limits: Sequence[Limit]) -> list[str]:
    """Why there is no front: the nearest misses, or the baseline's failure."""
    measured = [trial for trial in answer.trials if trial.measured]
    if not measured:
        return [answer.headline()]
    lines = ["nothing keeps the limits; the nearest:"]
    for trial in nearest_misses(measured, limits):
        told = ", ".join(
            _miss(answer, trial, limit)
            for limit in limits
            if not limit.kept(trial.value(limit.metric))
        )
        lines.append(f"  {trial.name()}: {told}")
    return lines


def _miss(answer: Answer, trial: Trial, limit: Limit) -> str:
    unit = answer.experiment.metrics[limit.metric].unit
    found = f"{limit.metric} {trial.value(limit.metric):.4g}{f' {unit}' if unit else ''}"
    return f"{found} (limit {_bound(answer.experiment, limit)})"


def _bound(experiment: Experiment, limit: Limit) -> str:
    """A limit with its unit."""
    return f"{limit} {experiment.metrics[limit.metric].unit}".rstrip()


def _numbers(trials: Sequence[Trial]) -> str:
    return ", ".join(f"{trial.number:03}" for trial in trials[:5])


def plan_lines(experiment: Experiment, enumeration: Enumeration) -> list[str]:
    """What a search would do: `--dry-run`."""
    candidates = {
        tuple(c.up_to("runtime", {n: k.stage for n, k in CHOICES.items()}).items())
        for c in enumeration.runnable
    }
    budget = experiment.budget
    trials = min(budget.trials or len(enumeration.runnable), len(enumeration.runnable) + 1)
    hours = f", at most {budget.hours:g} h" if budget.hours is not None else ""
    hours += f", until {budget.until}" if budget.until is not None else ""
    lines = [
        f"{experiment.name}: {experiment.workload.task}, model {experiment.workload.model}",
        f"machine: {experiment.space.context.hardware.summary()}",
        f"space: {counted(enumeration.total, 'configuration')}, {len(enumeration.runnable):,} can "
        f"run here, {counted(len(candidates), 'different model')} to build",
        f"plan: {counted(trials, 'trial')}{hours}, {experiment.concurrent_trials} at a time, "
        f"sampler {experiment.sampler}{_confirmation_words(experiment)}",
        *([f"first: the front of {experiment.warm_start}"] if experiment.warm_start else []),
        _estimate_line(experiment, trials, len(candidates)),
        f"baseline: {experiment.baseline.label()}",
        "objectives: " + ", ".join(f"{o.metric} ({o.direction})" for o in experiment.objectives),
        "limits: " + (", ".join(_bound(experiment, one) for one in experiment.limits) or "none"),
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


def _confirmation_words(experiment: Experiment) -> str:
    wanted = experiment.confirmation
    if not wanted.finalists:
        return ", no confirmation"
    return (
        f", then {counted(wanted.finalists, 'finalist')} measured again, "
        f"{counted(wanted.rounds, 'round')} in turns with the baseline "
        f"({wanted.share:.0%} of the time)"
    )


def _listed(values: Sequence[Value], separator: str) -> str:
    """The values; of many the first and the last ones, and how many there are."""
    if len(values) <= LISTED:
        return separator.join(map(show, values))
    ends = [*map(show, values[:3]), "...", *map(show, values[-2:])]
    return f"{separator.join(ends)} ({len(values)} values)"


def _estimate_line(experiment: Experiment, trials: int, candidates: int) -> str:
    found = recorded_estimate(experiment)
    if found is None:
        return "estimate: none yet, nothing is recorded; `--smoke` gives a first one"
    low, high = (
        seconds / experiment.concurrent_trials / 60 for seconds in found.seconds(trials, candidates)
    )
    return (
        f"estimate: {low:.0f} to {high:.0f} min for the trials, from {found.trials} recorded ones "
        f"(median {found.with_build_s:.0f} s with a build, {found.without_build_s:.0f} s without)"
    )


def doctor_lines(hardware: Hardware) -> list[str]:
    """What this machine offers, and what is missing."""
    import os
    from importlib.metadata import version as version_of

    from tunefront.evaluators import energy_is_counted
    from tunefront.spaces import RUNTIMES

    from .tracking.store import shown_uri

    lines = [hardware.summary(), "instruction sets: " + ", ".join(sorted(hardware.isa)), ""]
    for name, facts in RUNTIMES.items():
        missing = [need for need in facts.needs if need not in hardware.libraries]
        have = ", ".join(f"{n} {hardware.libraries[n]}" for n in facts.needs if n not in missing)
        extra = f"; pip install 'tunefront[{facts.extra}]'" if facts.extra else ""
        told = f"missing {', '.join(missing)}{extra}" if missing else have
        lines.append(f"{'--' if missing else 'ok'}  {name:12} {told}")
    for name, extra in (("transformers", "hf"), ("torchao", "quantization")):
        version = hardware.libraries.get(name)
        told = version or f"missing; pip install 'tunefront[{extra}]'"
        lines.append(f"{'ok' if version else '--'}  {name:12} {told}")
    for name in ("ray", "optuna", "mlflow"):
        lines.append(f"ok  {name:12} {version_of(name)}")
    energy = "RAPL or NVML" if energy_is_counted() else "no counter that this user may read"
    lines += ["", f"energy: {energy}", ""]
    for name in ("RAY_ADDRESS", "MLFLOW_TRACKING_URI", "CUDA_VISIBLE_DEVICES", "HF_HOME"):
        lines.append(f"{name}={shown_uri(os.environ.get(name, '(not set)'))}")
    return lines


def choices_lines() -> list[str]:
    """Every choice that there is, with its values."""
    lines: list[str] = []
    for kind in CHOICES.values():
        lines.append(f"{kind.name} ({kind.stage}, default {show(kind.default)}): {kind.help}")
        if kind.words is not None:
            lines += [f"    {word:18} {meaning}" for word, meaning in kind.words.items()]
        else:
            lines.append(f"    {kind.low:g} to {kind.high:g} {kind.unit}".rstrip())
    return lines


def trial_lines(answer: Answer, trial: Trial) -> list[str]:
    """Everything about one trial."""
    lines = [f"{trial.name()}: {trial.status}", "  choices:"]
    if trial.status != "failed":
        lines.insert(1, f"  {answer.sentence(trial)}")
    lines += [f"    {name}: {show(value)}" for name, value in trial.configuration.items()]
    if trial.why:
        lines.append(f"  proposed: {trial.why}")
    if trial.attempt > 1:
        lines.append(f"  started {trial.attempt} times: what ran it was gone before it ended")
    if trial.measurements:
        lines.append("  figures (95 % interval, samples):")
    for name, m in trial.measurements.items():
        lines.append(f"    {name}: {figure(m)} {m.unit} ({m.low:.4g} to {m.high:.4g}, {m.samples})")
    for limit in trial.broken:
        lines.append(f"  breaks {limit}")
    evaluation = trial.evaluation
    if evaluation is None:
        return lines
    if evaluation.status == "failed":
        lines.append(f"  failed at {evaluation.stage}: {evaluation.cause}: {evaluation.message}")
        lines += [f"    | {line}" for line in evaluation.log]
    lines += [f"  doubt: {doubt}" for doubt in evaluation.doubts]
    for name, found in (("really ran", evaluation.facts), ("machine", evaluation.machine)):
        if found:
            lines.append(f"  {name}: {json.dumps(dict(found))}")
    seconds = {name: round(value, 2) for name, value in evaluation.seconds.items()}
    lines.append(f"  seconds: {json.dumps(seconds)}; reused: {', '.join(evaluation.reused) or '-'}")
    return lines


def verification_table(verification: "Verification") -> "Table":
    """What holds of an export."""
    from tunefront.evaluators.verification import DECIDING

    rows = [
        [
            check.name,
            "worse" if check.holds is False and check.name not in DECIDING else MARKS[check.holds],
            check.detail,
        ]
        for check in verification.checks
    ]
    return table_of(["check", "", "found"], rows)


def searches_table(searches: "Sequence[Search]") -> "Table":
    """Searches, the one changed last first."""
    rows = [
        [
            search.folder.name,
            f"{search.changed:%Y-%m-%d %H:%M}",
            search.status.counts() if search.status is not None else "-",
            "running" if search.status is not None and search.status.driver is not None else "",
            search.told,
            str(search.folder.parent.parent),
        ]
        for search in searches
    ]
    return table_of(["search", "changed", "trials", "", "found", "folder"], rows)


def searches_record(searches: "Sequence[Search]") -> list[dict[str, Any]]:
    """Searches as plain JSON values."""
    return [
        {
            "search": search.folder.name,
            "folder": str(search.folder),
            "changed": search.changed.isoformat(timespec="seconds"),
            "trials": len(search.status.trials) if search.status is not None else None,
            "running": search.status is not None and search.status.driver is not None,
            "found": search.told,
        }
        for search in searches
    ]


def cache_table(cache: "Cache") -> "Table":
    """Where the cache is, and what it takes."""
    from .cache import size_mb

    oldest = cache.oldest
    rows = [
        ["folder", str(cache.folder)],
        ["products", f"{len(cache.products)}, {_size(size_mb(cache.products))}"],
        ["limit", f"{_size(cache.limit_mb)} (TUNEFRONT_CACHE_LIMIT_GB)"],
        ["oldest", f"last used {oldest:%Y-%m-%d %H:%M}" if oldest else "-"],
        ["prepared", f"{len(cache.prepared)}, {_size(size_mb(cache.prepared))} (beside the limit)"],
    ]
    return table_of(["cache", "found"], rows)


def cache_record(cache: "Cache", removed: "Sequence[Product]") -> dict[str, Any]:
    """The cache, and what was just removed from it, as plain JSON values."""
    from .cache import size_mb

    return {
        "schema": 1,
        "folder": str(cache.folder),
        "products": len(cache.products),
        "size_mb": size_mb(cache.products),
        "limit_mb": cache.limit_mb,
        "oldest": cache.oldest.isoformat(timespec="seconds") if cache.oldest else None,
        "prepared": {"folders": len(cache.prepared), "size_mb": size_mb(cache.prepared)},
        "removed": {"folders": len(removed), "size_mb": size_mb(removed)},
    }


def removed_line(cache: "Cache", removed: "Sequence[Product]", wanted: int) -> str:
    """What was removed; where the rest takes more than the `wanted` bytes, somebody uses it."""
    from .cache import size_mb

    left = [*cache.products, *(cache.prepared if wanted == 0 else [])]
    held = f"; {len(left)} in use stay" if size_mb(left) * 2**20 > wanted else ""
    return f"removed {len(removed)} folders, {_size(size_mb(removed))}{held}"


def _size(size_mb: float) -> str:
    return f"{size_mb / 1024:.2f} GB" if size_mb >= 1024 else f"{size_mb:.0f} MB"


def answer_record(answer: Answer) -> dict[str, Any]:
    """The answer as plain JSON values."""
    return {
        "schema": 1,
        "experiment": answer.experiment.name,
        "headline": answer.headline(),
        "trials": len(answer.trials),
        "failed": sum(trial.status == "failed" for trial in answer.trials),
        "skipped": [str(lesson) for lesson in answer.lessons],
        "front": [trial.number for trial in answer.front.trials],
        "picks": [
            {
                "name": pick.name,
                "trial": pick.trial.number,
                "why": pick.reason,
                "against_baseline": answer.sentence(pick.trial),
                "ties": [trial.number for trial in pick.ties],
                "front_chance": answer.front.chances.get(pick.trial.number),
                "configuration": dict(pick.trial.configuration),
                "measurements": {n: m.to_dict() for n, m in pick.trial.measurements.items()},
            }
            for pick in answer.front.picks
        ],
    }
