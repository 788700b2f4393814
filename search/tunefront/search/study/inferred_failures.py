"""Inferred failures: configurations excluded because of recorded failures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tunefront.spaces import (
    Catalog,
    Configuration,
    FailureCause,
    SearchSpace,
    Value,
    show,
)

from .trial import Trial

MEMORY_CHOICES = ("batch_size", "replicas")
"""Choices that need more memory the larger they are."""
UNRELATED_CAUSES: frozenset[FailureCause] = frozenset({"disk full", "device"})
"""Causes that do not depend on the configuration; nothing is inferred from them."""
TRANSIENT_CAUSES: frozenset[FailureCause] = frozenset({"crash", "exception"})
"""Causes that can be transient; they count once the same candidate has failed twice."""
LEAST_FAILURES = 3
"""Failures of a runtime without any success after which the runtime is excluded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InferredFailure:
    """An inferred failure: a set of configurations expected to fail, with the evidence.

    A configuration belongs to the set if it satisfies all conditions of `equal` and `least`.

    Attributes:
        trials: Numbers of the failed trials; empty if no node has room.
        reason: Text that describes the failure.
        equal: Required values by choice.
        least: Required minimum values by choice.
    """

    trials: tuple[int, ...]
    reason: str
    equal: Mapping[str, Value]
    least: Mapping[str, float] = field(default_factory=dict)

    def covers(self, configuration: Configuration, defaults: Mapping[str, Value]) -> bool:
        """Return whether a configuration is excluded.

        Args:
            configuration: A configuration of the space, without its inactive choices.
            defaults: The defaults of the catalogue, for choices that it does not contain.
        """
        values = {name: configuration.get(name, default) for name, default in defaults.items()}
        return all(values[name] == value for name, value in self.equal.items()) and all(
            float(values[name]) >= least for name, least in self.least.items()
        )

    @property
    def conditions(self) -> str:
        """The conditions as a text: `runtime=torch batch_size>=8`."""
        equal = [f"{name}={show(value)}" for name, value in self.equal.items()]
        return " ".join([*equal, *(f"{name}>={least:g}" for name, least in self.least.items())])

    @property
    def evidence(self) -> str:
        """The failed trials as a text: `implied by trials 3, 5 (out of memory)`."""
        numbers = ", ".join(str(number) for number in self.trials)
        trials = "trial" if len(self.trials) == 1 else "trials"
        return f"implied by {trials} {numbers} ({self.reason})"

    def __str__(self) -> str:
        return f"{self.conditions}: skipped, {self.evidence}"


def inferred_failures_of(trials: Sequence[Trial]) -> list[InferredFailure]:
    """Return the inferred failures of a record; one covered by an earlier one is left out."""
    failed = [trial for trial in trials if _is_evidence(trial)]
    if not failed:
        return []
    found = [*_runtimes(failed, trials), *_candidates(failed), *_memory(failed)]
    kept: list[InferredFailure] = []
    for inferred in found:
        if not any(_implies(wider, inferred) for wider in kept):
            kept.append(inferred)
    return kept


def exclusions_by_failure(
    space: SearchSpace, trials: Sequence[Trial]
) -> list[tuple[InferredFailure, int]]:
    """Return the inferred failures, each with the number of untried configurations it excludes.

    A configuration is counted for the first one that covers it. The result equals that of
    `ExcludedConfigurations(...).update(trials)` on all of the space, without listing it.
    """
    failures = inferred_failures_of(trials)
    counts, defaults = space.count(failures), space.catalog.defaults
    for tried in {trial.configuration for trial in trials}:
        covering = (n for n, one in enumerate(failures) if one.covers(tried, defaults))
        first = next(covering, None)
        if first is not None and space.holds(tried):
            counts[first] -= 1
    return [(failure, count) for failure, count in zip(failures, counts, strict=True) if count]


class ExcludedConfigurations:
    """Excluded configurations of a list, updated as trials end.

    Args:
        runnable: The configurations that can run.
        catalog: The catalogue of their choices.
    """

    def __init__(self, runnable: Sequence[Configuration], catalog: Catalog) -> None:
        self._runnable = runnable
        self._catalog = catalog
        self._known: set[tuple[object, ...]] = set()
        self.configurations: dict[Configuration, InferredFailure] = {}

    def add_too_large(self, configurations: Sequence[Configuration]) -> int:
        """Exclude configurations that no node has room for; return how many are new."""
        new = [c for c in configurations if c not in self.configurations]
        for configuration in new:
            inferred = InferredFailure(
                trials=(),
                reason="no node has room",
                equal=dict(configuration),
            )
            self.configurations[configuration] = inferred
        return len(new)

    def describe(self) -> str:
        """Return ` (2 skipped after failures)`; empty if none is excluded."""
        failures = sum(bool(inferred.trials) for inferred in self.configurations.values())
        others = len(self.configurations) - failures
        parts = [f"{failures} skipped after failures"] if failures else []
        parts += [f"{others} that fit on no node"] if others else []
        return f" ({', '.join(parts)})" if parts else ""

    def update(self, trials: Sequence[Trial]) -> list[tuple[InferredFailure, int]]:
        """Update from the record; return new inferred failures with their numbers of exclusions.

        An exclusion is counted if the configuration is untried and was not excluded before.
        """
        tried = {trial.configuration for trial in trials}
        new_exclusions: list[tuple[InferredFailure, int]] = []
        for inferred in inferred_failures_of(trials):
            key = (frozenset(inferred.equal.items()), frozenset(inferred.least.items()))
            if key in self._known:
                continue
            self._known.add(key)
            new = [
                configuration
                for configuration in self._runnable
                if configuration not in tried
                and configuration not in self.configurations
                and inferred.covers(configuration, self._catalog.defaults)
            ]
            self.configurations.update(dict.fromkeys(new, inferred))
            if new:
                new_exclusions.append((inferred, len(new)))
        return new_exclusions


def _is_evidence(trial: Trial) -> bool:
    evaluation = trial.evaluation
    if trial.status != "failed" or trial.number == 0 or evaluation is None:
        return False
    return evaluation.cause not in UNRELATED_CAUSES


def _runtimes(failed: Sequence[Trial], trials: Sequence[Trial]) -> list[InferredFailure]:
    """Return inferred failures of runtimes that have never succeeded."""
    working = {trial.complete["runtime"] for trial in trials if trial.measured}
    by_runtime: dict[Value, list[Trial]] = {}
    for trial in failed:
        by_runtime.setdefault(trial.complete["runtime"], []).append(trial)
    return [
        InferredFailure(
            trials=tuple(trial.number for trial in own),
            reason=f"{len(own)} of {len(own)} failed: {_causes(own)}",
            equal={"runtime": runtime},
        )
        for runtime, own in by_runtime.items()
        if runtime not in working and len(own) >= LEAST_FAILURES
    ]


def _candidates(failed: Sequence[Trial]) -> list[InferredFailure]:
    """Return inferred failures of candidates that failed in the build or quality stage.

    They hold for all execution settings of the candidate.
    """
    by_candidate: dict[Configuration, list[Trial]] = {}
    for trial in failed:
        if _stage(trial) in ("build", "quality"):
            by_candidate.setdefault(trial.candidate, []).append(trial)
    return [
        InferredFailure(
            trials=tuple(trial.number for trial in own),
            reason=f"{_stage(own[0])} failed: {_causes(own)}",
            equal=dict(candidate),
        )
        for candidate, own in by_candidate.items()
        if any(trial.cause not in TRANSIENT_CAUSES for trial in own) or len(own) > 1
    ]


def _memory(failed: Sequence[Trial]) -> list[InferredFailure]:
    """Return inferred out-of-memory failures, smallest configurations first.

    They cover the same candidate with at least the same values of `MEMORY_CHOICES`.
    """
    out = [
        t for t in failed if t.cause == "oom" and t.evaluation and t.evaluation.stage == "measure"
    ]
    found = [
        InferredFailure(
            trials=(trial.number,),
            reason="out of memory",
            equal=dict(trial.candidate),
            least={name: trial.complete.number(name) for name in MEMORY_CHOICES},
        )
        for trial in out
    ]
    return sorted(found, key=lambda inferred: sum(inferred.least.values()))


def _stage(trial: Trial) -> str:
    return str(trial.evaluation.stage) if trial.evaluation is not None else ""


def _causes(trials: Sequence[Trial]) -> str:
    return ", ".join(dict.fromkeys(trial.cause for trial in trials))


def _implies(wider: InferredFailure, narrower: InferredFailure) -> bool:
    """Return whether `wider` covers every configuration that `narrower` covers."""
    return all(narrower.equal.get(n) == value for n, value in wider.equal.items()) and all(
        narrower.least.get(n, 0.0) >= least for n, least in wider.least.items()
    )
