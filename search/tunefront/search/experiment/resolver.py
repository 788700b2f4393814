"""Resolution of an experiment file into an `Experiment`; errors name line and rule."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tunefront.evaluators import Protocol, Timeouts
from tunefront.spaces import ExperimentError, Hardware, detect_hardware

from .document import Document, find_experiment, read_document
from .experiment import Budget, Experiment
from .references import references_of
from .sections.comparison import ComparisonResolver
from .sections.file import ExperimentFile
from .sections.space import SpaceResolver
from .sections.workload import PREPARED, WorkloadResolver
from .validation import validated

SMOKE_SUFFIX = " (smoke)"


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
    file = ExperimentFile(
        document=document, section=validated(document), hardware=hardware or detect_hardware()
    )
    return replace(_Resolver(file, smoke).experiment(), overrides=tuple(overrides))


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
    file = ExperimentFile(
        document=document, section=validated(document), hardware=hardware, recorded=True
    )
    return replace(
        _Resolver(file, smoke).experiment(), written=written, record_folder=folder.absolute()
    )


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
    "confirmation.capacity=null",
)


class _Resolver:
    """Resolver of a validated file into an experiment."""

    def __init__(self, file: ExperimentFile, smoke: bool) -> None:
        self.file = file
        self.smoke = smoke

    def experiment(self) -> Experiment:
        section = self.file.section
        resolver = WorkloadResolver(file=self.file)
        prepare, server = resolver.prepare(), resolver.server()
        declared = resolver.declared(server)
        catalog = resolver.catalog(declared)
        workload = resolver.workload(prepare, catalog, declared, server)
        resolver.check_used(catalog, workload.task)
        spaces = SpaceResolver(file=self.file, server=server)
        space = spaces.space(catalog, declared)
        baseline = spaces.baseline(space)
        comparison = ComparisonResolver(file=self.file, workload=workload)
        metrics = comparison.metrics()
        limits = comparison.limits(metrics)
        return Experiment(
            name=section.name + (SMOKE_SUFFIX if self.smoke else ""),
            path=self.file.document.path,
            workload=workload,
            space=space,
            baseline=baseline,
            references=() if self.smoke else references_of(space, baseline, spaces.current(space)),
            objectives=comparison.objectives(metrics),
            limits=limits,
            metrics=metrics,
            budget=Budget(
                trials=section.budget.trials,
                hours=section.budget.hours,
                until=section.budget.until,
                least_gain=section.budget.least_gain,
            ),
            prefer=comparison.prefer(metrics),
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
            concurrent_trials=section.concurrent_trials
            or spaces.concurrent_trials(space, baseline),
            prepare=prepare,
            warm_start=self._warm_start(),
            history=section.history,
            written=self.file.document.values,
            smoke=self.smoke,
        )

    def _warm_start(self) -> Path | None:
        if self.file.section.warm_start is None:
            return None
        try:
            return find_experiment(self.file.document.path.parent / self.file.section.warm_start)
        except ExperimentError as error:
            raise self.file.fail(["warm_start"], error) from error
