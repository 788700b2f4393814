"""Resolution of what trials are compared by: the metrics, objectives, limits and `prefer`."""

from collections.abc import Mapping
from dataclasses import dataclass

from tunefront.evaluators import Metric, WorkloadSpec, metrics_left_out
from tunefront.evaluators.interfaces.generation import SLO_PRESETS, Generation
from tunefront.evaluators.interfaces.http import Http
from tunefront.evaluators.interfaces.polled.capacity import CAPACITY
from tunefront.evaluators.workloads.spec import HTTP
from tunefront.search.experiment.metrics import metrics_of, why_not_measured
from tunefront.search.experiment.objective import Limit, Objective, check_direction
from tunefront.spaces import ExperimentError, did_you_mean
from tunefront.spaces.metric import FINALISTS_ONLY

from .file import ExperimentFile


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonResolver:
    """Resolver of metrics, objectives and limits.

    Attributes:
        file: The experiment file.
        workload: The workload, which decides what is measured.
    """

    file: ExperimentFile
    workload: WorkloadSpec

    def metrics(self) -> Mapping[str, Metric]:
        """Return the metrics that this machine can measure; a record has those that it names."""
        section = self.file.section
        named = {*section.objectives, *section.limits} if self.file.recorded else ()
        priced = section.price_per_hour is not None
        self._check_capacity()
        return metrics_of(
            self.workload,
            self.file.hardware,
            priced=priced,
            needed=named,
            capacity=section.confirmation.capacity,
        )

    def _check_capacity(self) -> None:
        """Refuse a capacity without an SLO, finalists, or requests under a load."""
        section, key = self.file.section, ["confirmation", CAPACITY.name]
        if section.confirmation.capacity is None:
            return
        if CAPACITY.name not in metrics_left_out(self.workload):
            raise self.file.fail(
                key,
                f"only tasks that generate text, and {HTTP}, have a capacity, but the task is "
                f"{self.workload.task}; remove the key",
            )
        if not self.workload.slo:
            raise self.file.fail(
                key,
                "it needs the limits that requests must keep: add the key workload.slo, such as "
                + self._slo_example(),
            )
        if not section.confirmation.finalists:
            raise self.file.fail(
                key, f"it {FINALISTS_ONLY}, but confirmation.finalists is 0; raise it"
            )

    def _slo_example(self) -> str:
        """Return limits as a user writes them, and the presets of generated text."""
        if self.workload.task == HTTP:
            return Http.slo_example
        return f"{Generation.slo_example} or {' or '.join(SLO_PRESETS)}"

    def objectives(self, metrics: Mapping[str, Metric]) -> tuple[Objective, ...]:
        """Return the objectives."""
        if not self.file.section.objectives:
            raise self.file.fail(["objectives"], "at least one objective is needed, but got none")
        for name in self.file.section.objectives:
            if name not in metrics:
                raise self.file.fail(
                    ["objectives", name],
                    f"no measure produces {name!r} for {self.file.section.workload.task}"
                    f"{self._why_not(name) or did_you_mean(name, metrics)}",
                )
        for name, direction in self.file.section.objectives.items():
            try:
                check_direction(metrics[name], direction)
            except ExperimentError as error:
                raise self.file.fail(["objectives", name], error) from error
        return tuple(
            Objective(metric=name, direction=direction, kind=metrics[name].kind)
            for name, direction in self.file.section.objectives.items()
        )

    def prefer(self, metrics: Mapping[str, Metric]) -> str | None:
        """Return the metric that decides the recommendation; None if none is named."""
        name = self.file.section.prefer
        if name is not None and name in metrics and metrics[name].finalists_only:
            raise self.file.fail(
                ["prefer"],
                f"{name} {FINALISTS_ONLY}; pick by it after the search: "
                f"tunefront pick FILE --prefer {name}",
            )
        if name is not None and name not in metrics:
            reason = self._why_not(name) or did_you_mean(name, metrics)
            raise self.file.fail(["prefer"], f"unknown metric {name!r}{reason}")
        return name

    def limits(self, metrics: Mapping[str, Metric]) -> tuple[Limit, ...]:
        """Return the limits."""
        limits: list[Limit] = []
        for name, written in self.file.section.limits.items():
            if name not in metrics:
                raise self.file.fail(
                    ["limits", name],
                    f"unknown metric {name!r}{self._why_not(name) or did_you_mean(name, metrics)}",
                )
            try:
                limits.append(Limit.parse(metrics[name], written))
            except ExperimentError as error:
                raise self.file.fail(["limits", name], error) from error
        return tuple(limits)

    def _why_not(self, name: str) -> str:
        """Return why an existing metric is not measured here; empty if the metric is unknown."""
        reason = why_not_measured(name, self.file.hardware, self.workload)
        return f"; {reason}" if reason else ""
