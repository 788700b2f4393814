"""Resolution of an experiment file into an `Experiment`; errors name line and rule."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from tunefront.evaluators import (
    Direction,
    Metric,
    Protocol,
    Timeouts,
    WorkloadSpec,
    catalog_of,
    prepared_folder,
)
from tunefront.evaluators.interfaces.generation import Generation, LoadSpec
from tunefront.evaluators.workloads.spec import CUSTOM
from tunefront.spaces import (
    PRESETS,
    Catalog,
    Choice,
    Configuration,
    Context,
    ExperimentError,
    Hardware,
    SearchSpace,
    SpaceError,
    Value,
    WorkloadError,
    declared_kind,
    detect_hardware,
    did_you_mean,
    is_declaration,
    preset_space,
)

from .document import Document, find_experiment, read_document, slug_of
from .experiment import Budget, Experiment, Prepare
from .metrics import metrics_of, why_not_measured
from .objective import Limit, Objective, check_direction
from .schema import ExperimentSection
from .validation import validated

SMOKE_SUFFIX = " (smoke)"
PREPARED = "${prepared}"
"""Placeholder for the output folder of `prepare`, for paths in the workload section."""


def load_experiment(
    written: str | Path,
    overrides: Sequence[str] = (),
    *,
    smoke: bool = False,
    hardware: Hardware | None = None,
) -> Experiment:
    """Read and validate an experiment; imports neither torch nor Ray nor MLflow.

    Args:
        written: The file, or a folder with `experiment.yaml`.
        overrides: `a.b=value` overrides.
        smoke: Whether to reduce the search to a quick check.
        hardware: The machine to plan for; None for this machine.

    Raises:
        ExperimentError: If the experiment is invalid; with file, line, key, value and rule.
    """
    path = find_experiment(written)
    document = read_document(path, [*overrides, *(_SMOKE if smoke else ())])
    section = validated(document)
    resolver = _Resolver(document, section, hardware or detect_hardware(), smoke)
    return replace(resolver.experiment(), overrides=tuple(overrides))


def recorded_experiment(
    written: Mapping[str, Any], hardware: Hardware, folder: Path, *, smoke: bool
) -> Experiment:
    """Restore an experiment from its record, for reading; files needed to run it can be missing.

    Args:
        written: Values of the experiment file, with overrides applied.
        hardware: The machine on which the search ran.
        folder: Folder of the record.
        smoke: Whether it was a quick check.

    Raises:
        ExperimentError: If this version of Tunefront cannot read the experiment.
    """
    values = {name: value for name, value in written.items() if name not in _TO_RUN}
    budget = {n: v for n, v in values.get("budget", {}).items() if n != "until"}  # can be past
    workload = {
        name: value.replace(PREPARED, "prepared") if isinstance(value, str) else value
        for name, value in values.get("workload", {}).items()
    }
    document = Document(
        path=folder, values={**values, "budget": budget, "workload": workload}, lines={}
    )
    resolver = _Resolver(document, validated(document), hardware, smoke, recorded=True)
    return replace(resolver.experiment(), written=written, record_folder=folder.absolute())


_TO_RUN = ("prepare", "warm_start")
"""Keys that name files needed only to run the search."""


SMOKE_S = 0.5
"""Seconds for which a trial of a quick check is measured."""
_SMOKE = (
    "budget.hours=0.5",
    "workload.items=16",
    f"measurement.seconds={SMOKE_S}",
    "measurement.turns=3",
    "confirmation.finalists=0",
)


class _Resolver:
    """Resolver of a validated file into an experiment.

    With `recorded`, checks that depend on the present machine are skipped.
    """

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
        self._spec: WorkloadSpec | None = None

    def experiment(self) -> Experiment:
        section = self.section
        prepare = self._prepare()
        declared = {n: one for n, one in section.space.items() if is_declaration(one)}
        catalog = self._catalog(declared)
        workload = self._spec = self._workload(prepare, catalog, declared)
        self._check_used(catalog, workload.task)
        space = self._space(catalog)
        baseline = self._baseline(space)
        metrics = self._metrics(workload)
        limits = self._limits(metrics)
        return Experiment(
            name=section.name + (SMOKE_SUFFIX if self.smoke else ""),
            path=self.document.path,
            workload=workload,
            space=space,
            baseline=baseline,
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
            concurrent_trials=section.concurrent_trials or self._concurrent_trials(space, baseline),
            prepare=prepare,
            warm_start=self._warm_start(),
            written=self.document.values,
            smoke=self.smoke,
        )

    def _check_used(self, catalog: Catalog, task: str) -> None:
        """Refuse choices that the task's pipeline does not apply."""
        if (used := catalog.used_by(task)) is None:
            return
        for key, names in (("space", self.section.space), ("baseline", self.section.baseline)):
            for name in names:
                if name not in used:
                    listed = ", ".join(sorted(used)) or "none"
                    raise self._fail(
                        [key, name], f"task {task} does not apply this choice; it applies {listed}"
                    )

    def _metrics(self, workload: WorkloadSpec) -> Mapping[str, Metric]:
        """Return the metrics that this machine can measure; a record has those that it names."""
        named = {*self.section.objectives, *self.section.limits} if self.recorded else ()
        priced = self.section.price_per_hour is not None
        return metrics_of(workload, self.hardware, priced=priced, needed=named)

    def _why_not(self, name: str) -> str:
        """Return why an existing metric is not measured here; empty if the metric is unknown."""
        if self._spec is None:
            return ""
        reason = why_not_measured(name, self.hardware, self._spec)
        return f"; {reason}" if reason else ""

    def _fail(self, key: Sequence[str], message: object) -> ExperimentError:
        return ExperimentError(f"{self.document.place(key)}: {message}")

    def _concurrent_trials(self, space: SearchSpace, baseline: Configuration) -> int:
        """Return one for each GPU if trials use any; else half the cores: others stay free."""
        listed = [choice.values for choice in space.choices if choice.name == "device"]
        devices = {value for values in listed for value in values}
        devices.add({**space.defaults(), **baseline}["device"])
        gpus = len(self.hardware.gpus) if "cuda" in devices else 0
        return gpus or max(1, self.hardware.leasable_cores // 2)

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

    def _extensions(self) -> tuple[str, ...]:
        """Return the absolute paths of the extension files."""
        folder = self.document.path.parent.absolute()
        return tuple(str(folder / written) for written in self.section.extensions)

    def _catalog(self, declared: Mapping[str, Mapping[str, object]]) -> Catalog:
        """Return the catalogue with the experiment's extensions and declared choices."""
        try:
            added = catalog_of(self._extensions())
        except (ExperimentError, SpaceError) as error:
            message = str(error).removeprefix("extensions: ")
            raise self._fail(["extensions"], message) from error
        for name in declared:
            if name in added.kinds:
                raise self._fail(
                    ["space", name],
                    f"{name} is a choice of the catalogue and has its stage; list its values, or "
                    "declare the choice under another name",
                )
        for name, written in declared.items():
            try:
                declared_kind(name, written)
            except SpaceError as error:
                raise self._fail(["space", name], str(error).removeprefix(f"{name}: ")) from error
        return catalog_of(self._extensions(), declared)

    def _workload(
        self,
        prepare: Prepare | None,
        catalog: Catalog,
        declared: Mapping[str, Mapping[str, object]],
    ) -> WorkloadSpec:
        fields = self.section.workload.model_dump()
        if (task := fields["task"]) not in (tasks := catalog.tasks):
            raise self._fail(
                ["workload", "task"], f"unknown value {task!r}{did_you_mean(task, tasks)}"
            )
        for name in ("model", "data", "calibration"):
            if isinstance(fields[name], str) and PREPARED in fields[name]:
                if prepare is None:
                    raise self._fail(
                        ["workload", name], f"{PREPARED} needs a script below the key prepare"
                    )
                fields[name] = fields[name].replace(PREPARED, str(prepare.folder))
        if isinstance(fields["data"], str):
            fields["data"] = os.path.expanduser(fields["data"])
        fields["direction"] = self._direction()
        self._check_generates(catalog, task)
        load = fields.pop("load")
        try:
            return WorkloadSpec(
                load=LoadSpec(**load)
                if any(value is not None for value in load.values())
                else None,
                **fields,
                folder=str(self.document.path.parent.absolute()),
                extensions=self._extensions(),
                declared=declared,
            )
        except WorkloadError as error:
            raise self._fail(["workload"], error) from error

    def _check_generates(self, catalog: Catalog, task: str) -> None:
        """Refuse a load or an SLO of a task that does not generate text."""
        interfaces = catalog.extension(task).interfaces
        if Generation.name in interfaces and "workload" in catalog.extension(task).provides:
            return
        written = self.section.workload.model_dump(include={"load", "slo"}, exclude_none=True)
        for key, values in written.items():
            if values:
                raise self._fail(
                    ["workload", key],
                    f"only tasks that generate text have it, but the task is {task}; remove the "
                    "key",
                )

    def _direction(self) -> Direction:
        """Return the direction of a custom metric: as written, or as objective or limit imply."""
        section = self.section
        name = section.workload.metric
        if section.workload.direction is not None or section.workload.task != CUSTOM:
            return section.workload.direction or "maximize"
        if name in section.objectives:
            return section.objectives[name]
        limit = str(section.limits.get(name, "")).strip()
        if limit[:2] in ("<=", ">="):
            return "minimize" if limit.startswith("<=") else "maximize"
        raise self._fail(
            ["workload", "direction"],
            f"is missing: write minimize or maximize, whichever is better for {name}, which is "
            "neither an objective nor a limit",
        )

    def _space(self, catalog: Catalog) -> SearchSpace:
        written = dict(self.section.space)
        if (preset := written.pop("preset", None)) is not None:
            if not isinstance(preset, str) or preset not in PRESETS:
                raise self._fail(
                    ["space", "preset"],
                    f"unknown preset {preset!r}{did_you_mean(str(preset), PRESETS)}",
                )
            written = {**preset_space(preset, catalog, self.hardware), **written}
        choices = [self._choice(catalog, "space", name, values) for name, values in written.items()]
        named = {choice.name for choice in choices}
        # Choices that only the baseline sets have that value in every trial.
        for name, value in self.section.baseline.items():
            if name not in named:
                choices.append(self._choice(catalog, "baseline", name, [value]))
        context = Context(
            hardware=self.hardware,
            task=self.section.workload.task,
            parallel_on_cpu=self.section.allow_parallel_on_cpu,
        )
        try:
            return SearchSpace(choices=tuple(choices), context=context, catalog=catalog)
        except SpaceError as error:
            raise self._fail(["space"], str(error).removeprefix("space: ")) from error

    def _choice(self, catalog: Catalog, section: str, name: str, written: object) -> Choice:
        values = written
        if isinstance(written, Mapping) and is_declaration(written):
            values = {key: one for key, one in written.items() if key in ("values", "when")}
        try:
            choice = catalog.kind(name).choice(values)
            for condition in choice.when:
                if condition.choice in catalog.kinds:  # SearchSpace rejects unknown choices
                    for operand in condition.operands:
                        catalog.kind(condition.choice).check(operand)
            return choice
        except SpaceError as error:
            message = str(error).removeprefix("space: ").removeprefix(f"{name}: ")
            raise self._fail([section, name], message) from error

    def _baseline(self, space: SearchSpace) -> Configuration:
        written = self.section.baseline
        values: dict[str, Value] = {}
        for name, value in written.items():
            try:
                values[name] = space.catalog.kind(name).check(value)
            except SpaceError as error:
                message = str(error).removeprefix(f"{name}: ")
                raise self._fail(["baseline", name], message) from error
        baseline = space.member(values)
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
        for name, direction in self.section.objectives.items():
            try:
                check_direction(metrics[name], direction)
            except ExperimentError as error:
                raise self._fail(["objectives", name], error) from error
        return tuple(
            Objective(metric=name, direction=direction, kind=metrics[name].kind)
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
                limits.append(Limit.parse(metrics[name], written))
            except ExperimentError as error:
                raise self._fail(["limits", name], error) from error
        return tuple(limits)
