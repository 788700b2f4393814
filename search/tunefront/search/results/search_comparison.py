"""Comparison of two searches of one task: their differences, and the changes on the front.

Measurements of different hardware are never compared directly; multiples of each search's own
baseline are compared instead.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tunefront.evaluators import Direction, reference_rate
from tunefront.evaluators.isolation.codec import to_plain
from tunefront.search.experiment.metrics import QUALITY_DROP
from tunefront.search.experiment.objective import Objective
from tunefront.search.front.intervals import absolute
from tunefront.search.front.pareto import Costs, hypervolume, nondominated
from tunefront.search.study.trial import Trial
from tunefront.spaces import Configuration, ExperimentError, Value, show

from .archive import RecordedSearch
from .change import Change, against, change_of, least_of, paired
from .standing import Side, Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRow:
    """One configuration in both searches.

    Attributes:
        configuration: The configuration without choices that have their default value.
        before: Its standing in the earlier search.
        after: Its standing in the later search.
        values: The change of every objective in absolute values; empty if the hardware differs or
            the configuration was not measured in both searches.
        multiples: The change of every objective as a multiple of each search's own baseline; empty
            if the baselines are different configurations or it was not measured in both searches.
    """

    configuration: Configuration
    before: Standing
    after: Standing
    values: Mapping[str, Change]
    multiples: Mapping[str, Change]

    @property
    def on_front(self) -> bool:
        """Whether the configuration is on either front."""
        return "front" in (self.before.place, self.after.place)

    @property
    def common(self) -> bool:
        """Whether the configuration was measured in both searches."""
        return all(s.trial is not None and s.trial.measured for s in (self.before, self.after))


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchDifference:
    """A condition of the search that differs, such as the machine, with both values as text."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchComparison:
    """The comparison of two searches.

    Attributes:
        before: The search named first, treated as the earlier one.
        after: The search named second.
        differences: Conditions that differ between the searches.
        same: Names of the conditions that are equal.
        objectives: The objectives of both searches with the same direction.
        same_hardware: Whether absolute values are comparable.
        same_baseline: Whether multiples of the baseline are comparable.
        rows: All configurations of both searches in the order: on both fronts, only on the earlier,
            only on the later, on neither.
        shares: The hypervolume of each front as a share of the hypervolume of both together; None
            if the objectives differ, a front is empty, or neither absolute values nor multiples
            are comparable.
    """

    before: RecordedSearch
    after: RecordedSearch
    differences: tuple[SearchDifference, ...]
    same: tuple[str, ...]
    objectives: tuple[Objective, ...]
    same_hardware: bool
    same_baseline: bool
    rows: tuple[SearchRow, ...]
    shares: tuple[float, float] | None

    def row_of(self, trial: Trial) -> SearchRow:
        """Return the row of a trial of either search."""
        configuration = trial.catalog.without_defaults(trial.configuration)
        return next(row for row in self.rows if row.configuration == configuration)


def compare_searches(before: RecordedSearch, after: RecordedSearch) -> SearchComparison:
    """Compare two searches.

    Raises:
        ExperimentError: If both are the same search, their tasks differ, they have no objective in
            common, or only one of them is a quick check.
    """
    objectives = _objectives_in_common(before, after)
    differences, same = _differences(before, after)
    rows = _rows(before, after, objectives)
    hardware, baseline = _same_hardware(before, after), _same_baseline(before, after)
    return SearchComparison(
        before=before,
        after=after,
        differences=differences,
        same=same,
        objectives=objectives,
        same_hardware=hardware,
        same_baseline=baseline,
        rows=tuple(sorted(rows, key=_order)),
        shares=_shares(before, after, objectives),
    )


def _objectives_in_common(before: RecordedSearch, after: RecordedSearch) -> tuple[Objective, ...]:
    one, other = before.experiment, after.experiment
    if before.folder == after.folder:
        raise ExperimentError(
            f"two different searches are needed, but both are {before.folder}; `tunefront ls` "
            "lists searches, those archived by --fresh too"
        )
    if one.workload.task != other.workload.task:
        raise ExperimentError(
            f"two searches of one task are needed, but got {one.workload.task} ({before.folder}) "
            f"and {other.workload.task} ({after.folder})"
        )
    if one.smoke != other.smoke:
        smoke = before if one.smoke else after
        raise ExperimentError(
            f"a quick check is never compared with a real search, but {smoke.folder} is one; name "
            "two of a kind"
        )
    common = tuple(o for o in one.objectives if o in other.objectives)
    if not common:
        text = " and ".join(_objectives(experiment.objectives) for experiment in (one, other))
        raise ExperimentError(
            f"two searches need at least one objective in common, in the same direction, but got "
            f"{text}"
        )
    return common


def _objectives(objectives: Iterable[Objective]) -> str:
    return ", ".join(f"{o.metric} ({o.direction})" for o in objectives)


def _same_hardware(before: RecordedSearch, after: RecordedSearch) -> bool:
    return bool(before.machine["fingerprint"] == after.machine["fingerprint"])


def _same_baseline(before: RecordedSearch, after: RecordedSearch) -> bool:
    bases = [search.result.baseline for search in (before, after)]
    plains = [
        base.catalog.without_defaults(base.configuration) for base in bases if base is not None
    ]
    return len(plains) == 2 and plains[0] == plains[1]


def _differences(
    before: RecordedSearch, after: RecordedSearch
) -> tuple[tuple[SearchDifference, ...], tuple[str, ...]]:
    sides = [_properties(before), _properties(after)]
    names = list(dict.fromkeys([*sides[0], *sides[1]]))
    found: list[SearchDifference] = []
    same: list[str] = []
    for name in names:
        one, other = sides[0].get(name, "-"), sides[1].get(name, "-")
        if one == other:
            same.append(name)
        elif name == "libraries":
            found += _libraries(before, after)
        else:
            found.append(SearchDifference(name=name, before=one, after=other))
    return tuple(found), tuple(same)


def _libraries(before: RecordedSearch, after: RecordedSearch) -> list[SearchDifference]:
    """Return the libraries whose versions differ."""
    one, other = (search.machine["libraries"] for search in (before, after))
    return [
        SearchDifference(name=name, before=one.get(name, "-"), after=other.get(name, "-"))
        for name in sorted({*one, *other})
        if one.get(name) != other.get(name)
    ]


def _properties(search: RecordedSearch) -> dict[str, str]:
    """Describe the conditions that a search's measurements and front depend on, by name."""
    experiment, protocol = search.experiment, search.experiment.protocol
    spec = to_plain(experiment.workload)
    names = ("model", "data", "revision", "max_length", "items", "metric", "direction")
    price = experiment.price_per_hour
    plain = experiment.space.catalog.without_defaults(experiment.baseline)
    return {
        "machine": f"{search.machine['summary']} [{search.machine['fingerprint']}]",
        "libraries": ", ".join(f"{n} {v}" for n, v in sorted(search.machine["libraries"].items())),
        "model and data": search.content or "not recorded",
        "workload": ", ".join(f"{n} {spec[n]}" for n in names if spec[n] not in (None, "")),
        "baseline": plain.label() or "every choice at its default",
        "objectives": _objectives(experiment.objectives),
        "limits": ", ".join(map(str, experiment.limits)) or "none",
        "prefer": experiment.prefer or "none",
        "price per hour": "none" if price is None else f"{price:g}",
        "measuring": f"{protocol.seconds:g} s, {protocol.requests} parts, at least "
        f"{protocol.turns} turns"
        f"{'' if protocol.reference else ', not interleaved with the baseline'}",
        "space": "; ".join(
            f"{c.name} {_values(c.values)}" for c in experiment.space.choices if len(c.values) > 1
        ),
    }


def _values(values: Sequence[Value]) -> str:
    if len(values) > 6:
        return f"{show(values[0])} to {show(values[-1])} ({len(values)} values)"
    return "|".join(map(show, values))


def _rows(
    before: RecordedSearch, after: RecordedSearch, objectives: Sequence[Objective]
) -> list[SearchRow]:
    sides = [Side(before), Side(after)]
    comparer = _Comparer(before, after, objectives)
    configurations = dict.fromkeys([*sides[0].trials, *sides[1].trials])
    rows: list[SearchRow] = []
    for configuration in configurations:
        one, other = (side.standing(configuration) for side in sides)
        values, multiples = comparer.changes(one.trial, other.trial)
        rows.append(
            SearchRow(
                configuration=configuration,
                before=one,
                after=other,
                values=values,
                multiples=multiples,
            )
        )
    return rows


LAST = 10**9
"""Sort key of a configuration that has no trial."""


def _order(row: SearchRow) -> tuple[int, int, int]:
    """Return the sort key: on both fronts, only before, only after, neither; then trial numbers."""
    on = (row.before.place == "front", row.after.place == "front")
    group = {(True, True): 0, (True, False): 1, (False, True): 2, (False, False): 3}[on]
    first, second = (
        standing.trial.number if standing.trial is not None else LAST
        for standing in (row.before, row.after)
    )
    return group, first, second


class _Comparer:
    """The changes of objectives between two searches, in those units that are comparable."""

    def __init__(
        self, before: RecordedSearch, after: RecordedSearch, objectives: Sequence[Objective]
    ) -> None:
        experiment = before.experiment
        self._bases = before.result.baseline, after.result.baseline
        self._hardware = _same_hardware(before, after)
        self._baseline = _same_baseline(before, after)
        self._same_items = bool(before.content) and before.content == after.content
        self._primary = experiment.primary
        self._rates = [m for m in experiment.metrics.values() if m.reference_rate]
        self._metrics = [experiment.metrics[objective.metric] for objective in objectives]
        self._direction: Mapping[str, Direction] = {o.metric: o.direction for o in objectives}

    def changes(
        self, before: Trial | None, after: Trial | None
    ) -> tuple[dict[str, Change], dict[str, Change]]:
        """Return the absolute changes and those of multiples of the baseline, by objective."""
        if before is None or after is None or not (before.measured and after.measured):
            return {}, {}
        values = self._value_changes(before, after) if self._hardware else {}
        return values, self._multiples(before, after) if self._baseline else {}

    def _value_changes(self, before: Trial, after: Trial) -> dict[str, Change]:
        found: dict[str, Change] = {}
        for metric in self._metrics:
            least, rate = least_of(metric), reference_rate(self._rates, metric.level)
            pair = None
            if metric.name == self._primary.name:
                pair = paired(before, after, metric, self._same_items, least)
            found[metric.name] = pair or change_of(
                absolute(before, self._bases[0], metric, rate),
                absolute(after, self._bases[1], metric, rate),
                self._direction[metric.name],
                least,
            )
        return found

    def _multiples(self, before: Trial, after: Trial) -> dict[str, Change]:
        one, other = self._bases
        assert one is not None
        assert other is not None
        found: dict[str, Change] = {}
        for metric in self._metrics:
            least = least_of(metric)
            ends = (
                against(before, one, metric, self._primary),
                against(after, other, metric, self._primary),
            )
            if ends[0] is not None and ends[1] is not None:
                direction = self._direction[metric.name]
                found[metric.name] = change_of(ends[0], ends[1], direction, least)
        return found


def _shares(
    before: RecordedSearch, after: RecordedSearch, objectives: Sequence[Objective]
) -> tuple[float, float] | None:
    """Return the hypervolume of each front as a share of the hypervolume of both together.

    In every objective the reference point is the worst value of the combined front plus its range
    (plus 1 if the range is zero).
    """
    equal = {*before.experiment.objectives} == {*after.experiment.objectives}
    searches = (before, after)
    if not equal or not all(search.result.front.trials for search in searches):
        return None
    multiples = not (_same_hardware(before, after) and before.content == after.content)
    if multiples and not _same_baseline(before, after):
        return None
    one, other = (_costs(search, objectives, multiples=multiples) for search in searches)
    both = np.concatenate([one, other])
    both = both[nondominated(both)]
    low, high = both.min(axis=0), both.max(axis=0)
    reference = high + np.where(high > low, high - low, 1.0)
    whole = hypervolume(both, reference)
    return hypervolume(one, reference) / whole, hypervolume(other, reference) / whole


def _costs(search: RecordedSearch, objectives: Sequence[Objective], *, multiples: bool) -> Costs:
    """Return the front's costs, shape `(trials, objectives)`: values or multiples of the baseline.

    Lower is better: maximized objectives are negated.
    """
    base = search.result.baseline
    columns: list[Costs] = []
    for objective in objectives:
        values = np.array([trial.value(objective.metric) for trial in search.result.front.trials])
        level = base.value(objective.metric) if multiples and base is not None else 1.0
        if level > 0 and objective.metric != QUALITY_DROP.name:
            values = values / level
        columns.append(objective.sign * values)
    return np.stack(columns, axis=1)
