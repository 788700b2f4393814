"""From a checked file to an experiment, or an error that names line and rule."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tunefront.evaluators import (
    COST_METRICS,
    ENERGY_METRICS,
    GPU_METRICS,
    MEASURED_METRICS,
    QUALITY_DROP,
    Metric,
    Protocol,
    Timeouts,
    WorkloadSpec,
    energy_is_counted,
    prepared_folder,
    quality_metrics,
)
from tunefront.spaces import (
    CHOICES,
    PRESETS,
    Choice,
    Configuration,
    Context,
    ExperimentError,
    Hardware,
    SearchSpace,
    SpaceError,
    WorkloadError,
    choice_kind,
    detect_hardware,
    did_you_mean,
)

from .document import Document, find_experiment, read_document, slug_of
from .experiment import Budget, Experiment, Prepare
from .objective import Limit, Objective, check_limits
from .schema import ExperimentSection

SMOKE_SUFFIX = " (smoke)"


PREPARED = "${prepared}"
"""What `prepare` wrote, wherever it is kept; for paths in the workload section."""


def load_experiment(
    written: str | Path,
    overrides: Sequence[str] = (),
    *,
    smoke: bool = False,
    hardware: Hardware | None = None,
) -> Experiment:
    """Read and check an experiment; imports neither torch nor Ray nor MLflow.

    Args:
        written: The file, or a folder that holds `experiment.yaml`.
        overrides: `a.b=value` texts laid over the file.
        smoke: Cut everything down to a quick check.
        hardware: The machine to plan for; this one where None.

    Raises:
        ExperimentError: With file, line, key, value and rule.
    """
    path = find_experiment(written)
    document = read_document(path, [*overrides, *(_SMOKE if smoke else ())])
    section = _validated(document)
    resolver = _Resolver(document, section, hardware or detect_hardware(), smoke)
    return replace(resolver.experiment(), overrides=tuple(overrides))


def recorded_experiment(
    written: Mapping[str, Any], hardware: Hardware, folder: Path, *, smoke: bool
) -> Experiment:
    """An experiment as its record has it, to look at; what it needs to run may be gone.

    Args:
        written: The file's values, overrides included.
        hardware: The machine that it was run on.
        folder: Where the record lies.
        smoke: Whether it was a quick check.

    Raises:
        ExperimentError: Where this version of Tunefront can't read it.
    """
    values = {name: value for name, value in written.items() if name not in _TO_RUN}
    budget = {n: v for n, v in values.get("budget", {}).items() if n != "until"}  # it may be over
    workload = {
        name: value.replace(PREPARED, "prepared") if isinstance(value, str) else value
        for name, value in values.get("workload", {}).items()
    }
    document = Document(
        path=folder, values={**values, "budget": budget, "workload": workload}, lines={}
    )
    resolver = _Resolver(document, _validated(document), hardware, smoke, recorded=True)
    return replace(resolver.experiment(), written=written, kept_in=folder.absolute())


_TO_RUN = ("prepare", "warm_start")
"""Keys that name files which only a run needs."""


_SMOKE = (
    "budget.hours=0.5",
    "workload.items=16",
    "measurement.seconds=0.5",
    "measurement.turns=3",
    "confirmation.finalists=0",
)


def _validated(document: Document) -> ExperimentSection:
    try:
        return ExperimentSection.model_validate(dict(document.values))
    except ValidationError as error:
        problems = [_explain(document, dict(problem)) for problem in error.errors()]
        raise ExperimentError("\n".join(problems)) from error


def _explain(document: Document, problem: Mapping[str, Any]) -> str:
    key = tuple(problem["loc"])
    place = document.place(key)
    value = problem.get("input")
    if problem["type"] == "extra_forbidden":
        return f"{place}: unknown key{did_you_mean(str(key[-1]), _fields(key[:-1]))}"
    if problem["type"] == "missing":
        return f"{place}: this key is needed, but it is missing"
    if problem["type"] == "literal_error":
        known = str(problem["ctx"]["expected"]).replace(" or ", ", ").replace("'", "").split(", ")
        return f"{place}: unknown value {value!r}{did_you_mean(str(value), known)}"
    message = str(problem["msg"]).removeprefix("Input should be ").removeprefix("Value error, ")
    return f"{place}: {message} is needed, but got {value!r}"


def _fields(key: Sequence[str | int]) -> list[str]:
    """The keys that a section of the file may have."""
    model: Any = ExperimentSection
    for part in key:
        model = model.model_fields[str(part)].annotation
    return list(model.model_fields)


class _Resolver:
    """From a checked file to an experiment."""

    def __init__(
        self,
        document: Document,
        section: ExperimentSection,
        hardware: Hardware,
        smoke: bool,
        *,
        recorded: bool = False,
    ) -> None:
        self.document = document
        self.section = section
        self.hardware = hardware
        self.smoke = smoke
        self.recorded = recorded

    def experiment(self) -> Experiment:
        section = self.section
        prepare = self._prepare()
        workload = self._workload(prepare)
        space = self._space()
        metrics = {**MEASURED_METRICS, **quality_metrics(workload)}
        metrics |= {QUALITY_DROP.name: QUALITY_DROP, **self._extra_metrics()}
        limits = self._limits(metrics)
        return Experiment(
            name=section.name + (SMOKE_SUFFIX if self.smoke else ""),
            path=self.document.path,
            workload=workload,
            space=space,
            baseline=self._baseline(space),
            objectives=self._objectives(metrics),
            limits=limits,
            metrics=metrics,
            budget=Budget(
                trials=section.budget.trials,
                hours=section.budget.hours,
                until=section.budget.until,
                least_gain=section.budget.least_gain,
            ),
            prefer=self._prefer(metrics),
            sampler=section.sampler,
            seed=section.seed,
            price_per_hour=section.price_per_hour,
            protocol=Protocol(
                seconds=section.measurement.seconds,
                precision=section.measurement.precision,
                turns=section.measurement.turns,
                requests=section.measurement.requests,
                wait_s=section.measurement.wait,
                reference=section.measurement.reference,
            ),
            early_stop=section.measurement.early_stop,
            timeouts=Timeouts(
                build_s=section.timeouts.build,
                quality_s=section.timeouts.quality,
                measure_s=section.timeouts.measure,
            ),
            confirmation=section.confirmation,
            concurrent_trials=section.concurrent_trials or self._concurrent_trials(),
            prepare=prepare,
            warm_start=self._warm_start(),
            written=self.document.values,
            smoke=self.smoke,
        )

    def _extra_metrics(self) -> Mapping[str, Metric]:
        """What is measured only where somebody named a price, or has the device or the counter."""
        priced = COST_METRICS if self.section.price_per_hour is not None else {}
        gpu = GPU_METRICS if self.hardware.gpus else {}
        counted = energy_is_counted()
        if self.recorded:
            counted = not {*self.section.objectives, *self.section.limits}.isdisjoint(
                ENERGY_METRICS
            )
        return {**priced, **gpu, **(ENERGY_METRICS if counted else {})}

    def _why_not(self, name: str) -> str:
        """Why a metric that exists is not measured here; empty where there is no such metric."""
        if name in COST_METRICS:
            return "; it needs the key price_per_hour"
        if name in ENERGY_METRICS:
            return "; this machine has no energy counter that this user may read (RAPL, NVML)"
        if name in GPU_METRICS:
            return "; this machine has no GPU"
        return ""

    def _fail(self, key: Sequence[str], message: object) -> ExperimentError:
        return ExperimentError(f"{self.document.place(key)}: {message}")

    def _concurrent_trials(self) -> int:
        """One a GPU; without GPUs half the cores, so that the machinery has room beside them."""
        return len(self.hardware.gpus) or max(1, self.hardware.cores // 2)

    def _prepare(self) -> Prepare | None:
        if self.section.prepare is None:
            return None
        script = self.document.path.parent / self.section.prepare
        if not script.is_file():
            raise self._fail(["prepare"], f"{script} does not exist; name a Python script")
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        key = sha256(script.read_bytes() + version.encode()).hexdigest()[:12]
        folder = prepared_folder() / f"{slug_of(self.section.name)}-{key}"
        return Prepare(script=script, folder=folder)

    def _warm_start(self) -> Path | None:
        if self.section.warm_start is None:
            return None
        try:
            return find_experiment(self.document.path.parent / self.section.warm_start)
        except ExperimentError as error:
            raise self._fail(["warm_start"], error) from error

    def _workload(self, prepare: Prepare | None) -> WorkloadSpec:
        fields = self.section.workload.model_dump()
        for name in ("model", "data", "calibration"):
            if isinstance(fields[name], str) and PREPARED in fields[name]:
                if prepare is None:
                    raise self._fail(
                        ["workload", name], f"{PREPARED} needs a script below the key prepare"
                    )
                fields[name] = fields[name].replace(PREPARED, str(prepare.folder))
        if isinstance(fields["data"], str):
            fields["data"] = os.path.expanduser(fields["data"])
        try:
            return WorkloadSpec(**fields, folder=str(self.document.path.parent.absolute()))
        except WorkloadError as error:
            raise self._fail(["workload"], error) from error

    def _space(self) -> SearchSpace:
        written = dict(self.section.space)
        if (preset := written.pop("preset", None)) is not None:
            if preset not in PRESETS:
                raise self._fail(
                    ["space", "preset"],
                    f"unknown preset {preset!r}{did_you_mean(str(preset), PRESETS)}",
                )
            written = {**PRESETS[preset], **written}
        choices = [self._choice("space", name, values) for name, values in written.items()]
        named = {choice.name for choice in choices}
        # What the baseline fixes and the space leaves out holds for every trial.
        for name, value in self.section.baseline.items():
            if name not in named:
                choices.append(self._choice("baseline", name, [value]))
        context = Context(
            hardware=self.hardware,
            task=self.section.workload.task,
            parallel_on_cpu=self.section.allow_parallel_on_cpu,
        )
        try:
            return SearchSpace(choices=tuple(choices), context=context)
        except SpaceError as error:
            raise self._fail(["space"], str(error).removeprefix("space: ")) from error

    def _choice(self, section: str, name: str, values: object) -> Choice:
        try:
            choice = choice_kind(name).choice(values)
            for condition in choice.when:
                if condition.choice in CHOICES:  # the space refuses the others
                    for operand in condition.operands:
                        choice_kind(condition.choice).check(operand)
            return choice
        except SpaceError as error:
            message = str(error).removeprefix("space: ").removeprefix(f"{name}: ")
            raise self._fail([section, name], message) from error

    def _baseline(self, space: SearchSpace) -> Configuration:
        written = self.section.baseline
        values = {name: choice_kind(name).check(value) for name, value in written.items()}
        baseline = space.complete(values)
        if not self.recorded and (reason := space.obstacle(baseline)):
            raise self._fail(["baseline"], f"can't run here: {reason} ({baseline.label()})")
        return baseline

    def _objectives(self, metrics: Mapping[str, Metric]) -> tuple[Objective, ...]:
        if not self.section.objectives:
            raise self._fail(["objectives"], "at least one objective is needed, but got none")
        for name in self.section.objectives:
            if name not in metrics:
                raise self._fail(
                    ["objectives", name],
                    f"no measure produces {name!r} for {self.section.workload.task}"
                    f"{self._why_not(name) or did_you_mean(name, metrics)}",
                )
        return tuple(
            Objective(metric=name, direction=direction)
            for name, direction in self.section.objectives.items()
        )

    def _prefer(self, metrics: Mapping[str, Metric]) -> str | None:
        name = self.section.prefer
        if name is not None and name not in metrics:
            raise self._fail(["prefer"], f"unknown metric {name!r}{did_you_mean(name, metrics)}")
        return name

    def _limits(self, metrics: Mapping[str, Metric]) -> tuple[Limit, ...]:
        limits: list[Limit] = []
        for name, written in self.section.limits.items():
            if name not in metrics:
                raise self._fail(
                    ["limits", name],
                    f"unknown metric {name!r}{self._why_not(name) or did_you_mean(name, metrics)}",
                )
            try:
                texts: list[object] = written if isinstance(written, list) else [written]
                limits += [Limit.parse(metrics[name], text) for text in texts]
            except ExperimentError as error:
                raise self._fail(["limits", name], error) from error
        try:
            check_limits(tuple(limits))
        except ExperimentError as error:
            raise self._fail(["limits"], error) from error
        return tuple(limits)
