"""Two searches compared: what differs, who is on which front and why not, against brute force."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tunefront.evaluators import Evaluation, Measurement, builtin_catalog
from tunefront.search import Experiment, Trial, result_of
from tunefront.search.results.archive import RecordedSearch
from tunefront.search.results.search_comparison import SearchComparison, compare_searches
from tunefront.search.study.confirmation import Confirmation
from tunefront.spaces import Configuration, ExperimentError

MACHINE = {"summary": "Made-up CPU", "fingerprint": "aaa", "libraries": {"torch": "1.0"}}
OTHER = {"summary": "Other CPU", "fingerprint": "bbb", "libraries": {"torch": "2.0"}}
SearchOf = Callable[..., RecordedSearch]
FIGURES = ("throughput", "peak_memory_mb", "perplexity")


def measured(number: int, configuration: Configuration, figures: Sequence[float]) -> Trial:
    named = dict(zip(FIGURES, figures, strict=True))
    loss = 100 * (figures[2] / 10.0 - 1)
    found = {
        name: Measurement(value=v, unit="", low=0.99 * v, high=1.01 * v, samples=5)
        for name, v in named.items()
    }
    found["quality_drop"] = Measurement(
        value=loss, unit="%", low=loss - 0.1, high=loss + 0.1, samples=5
    )
    return Trial(
        number=number,
        configuration=configuration,
        catalog=builtin_catalog(),
        status="ok" if loss <= 5 else "infeasible",
        measurements=found,
        evaluation=Evaluation(status="ok", measurements=found),
    )


@pytest.fixture(scope="session")
def experiment(load: Callable[..., Experiment]) -> Experiment:
    return load(
        "objectives={throughput: maximize, peak_memory_mb: minimize, perplexity: minimize}",
        "space={runtime: [torch, openvino], precision: [fp32, bf16], batch_size: {low: 1, high: 8},"
        " threads: [1, 2]}",
    )


@pytest.fixture
def search(experiment: Experiment, tmp_path: Path) -> SearchOf:
    """A search of these trials, by another folder each time."""
    made = 0

    def make(
        trials: Sequence[Trial],
        machine: Mapping[str, Any] = MACHINE,
        content: str = "f00",
        of: Experiment = experiment,
    ) -> RecordedSearch:
        nonlocal made
        made += 1
        return RecordedSearch(
            folder=tmp_path / f"{made}",
            result=result_of(of, trials, Confirmation()),
            record={"machine": machine, "workload": {"fingerprint": content}},
            identity={},
        )

    return make


def made_up(experiment: Experiment, count: int, seed: int) -> list[Trial]:
    """So many different configurations, the baseline first; figures that are never the same."""
    random = np.random.default_rng(seed)
    runnable = [c for c in experiment.space.enumerate().runnable if c != experiment.baseline]
    chosen = [runnable[int(i)] for i in random.permutation(len(runnable))[: count - 1]]
    rows = random.uniform((50, 100, 9.5), (500, 900, 10.8), (count, 3))
    rows[0] = 100, 500, 10.0
    return [
        measured(number, configuration, row.tolist())
        for number, (configuration, row) in enumerate(
            zip([experiment.baseline, *chosen], rows, strict=True)
        )
    ]


def brute_place(trials: Sequence[Trial], configuration: Configuration) -> tuple[str, set[int]]:
    """Where it stands, and who beats it on the front, by comparing everybody with everybody."""
    costs = {
        t.number: (-t.value("throughput"), t.value("peak_memory_mb"), t.value("perplexity"))
        for t in trials
        if t.value("quality_drop") <= 5
    }
    front = {
        one
        for one, mine in costs.items()
        if not any(
            all(a <= b for a, b in zip(theirs, mine, strict=True)) and theirs != mine
            for theirs in costs.values()
        )
    }
    own = next(
        (t for t in trials if t.catalog.without_defaults(t.configuration) == configuration), None
    )
    if own is None:
        return "not tried", set()
    if own.number not in costs:
        return "beyond limits", set()
    if own.number in front:
        return "front", set()
    mine = costs[own.number]
    better = {n for n in front if all(a <= b for a, b in zip(costs[n], mine, strict=True))}
    return "dominated", better


@pytest.mark.parametrize("seed", range(5))
def test_places_and_changes_are_those_of_brute_force(
    experiment: Experiment, search: SearchOf, seed: int
) -> None:
    sides = made_up(experiment, 20, seed), made_up(experiment, 20, seed + 100)
    found = compare_searches(search(sides[0]), search(sides[1]))
    every = {t.catalog.without_defaults(t.configuration) for trials in sides for t in trials}
    assert {row.configuration for row in found.rows} == every
    for row in found.rows:
        for trials, standing in zip(sides, (row.before, row.after), strict=True):
            place, better = brute_place(trials, row.configuration)
            assert standing.place == place
            text = standing.reason.partition(";")[0].removeprefix("by ").split(", ")
            if place == "dominated" and "..." not in text:
                assert {int(number) for number in text} == better
        pair = [
            next(
                (
                    t
                    for t in trials
                    if t.catalog.without_defaults(t.configuration) == row.configuration
                ),
                None,
            )
            for trials in sides
        ]
        before, after = pair
        if before is None or after is None:
            assert (row.values, row.multiples) == ({}, {})
            continue
        for name in FIGURES:
            assert row.values[name].change == pytest.approx(
                after.value(name) / before.value(name) - 1
            )
            ratio = (after.value(name) / sides[1][0].value(name)) / (
                before.value(name) / sides[0][0].value(name)
            )
            assert row.multiples[name].change == pytest.approx(ratio - 1, abs=1e-9)


def test_fronts_come_first_those_on_both_before_those_on_one(
    experiment: Experiment, search: SearchOf
) -> None:
    sides = made_up(experiment, 20, 3), made_up(experiment, 20, 4)
    rows = compare_searches(search(sides[0]), search(sides[1])).rows
    groups = [
        {(True, True): 0, (True, False): 1, (False, True): 2, (False, False): 3}[
            (row.before.place == "front", row.after.place == "front")
        ]
        for row in rows
    ]
    assert groups == sorted(groups)
    assert set(groups) >= {1, 2, 3}


def test_the_hypervolume_s_share_is_that_of_boxes_counted(
    experiment: Experiment, search: SearchOf
) -> None:
    """Drawn points that either front dominates, up to the common reference; 0.5 % off at most."""
    sides = made_up(experiment, 20, 5), made_up(experiment, 20, 6)
    searches = [search(trials) for trials in sides]
    found = compare_searches(*searches).shares
    assert found is not None
    fronts = [
        np.array(
            [
                (-t.value("throughput"), t.value("peak_memory_mb"), t.value("perplexity"))
                for t in s.result.front.trials
            ]
        )
        for s in searches
    ]
    both = np.concatenate(fronts)
    kept = np.array(
        [not any((o <= p).all() and (o < p).any() for o in both) for p in both], dtype=bool
    )
    low, high = both[kept].min(axis=0), both[kept].max(axis=0)
    drawn = np.random.default_rng(0).uniform(low, 2 * high - low, (60_000, 3))
    under = [(front[:, None] <= drawn[None]).all(axis=2).any(axis=0) for front in fronts]
    whole = (under[0] | under[1]).sum()
    assert found == pytest.approx([u.sum() / whole for u in under], abs=0.02)
    assert max(found) <= 1


def rows_by_number(found: SearchComparison) -> dict[int, Any]:
    return {row.before.trial.number: row for row in found.rows if row.before.trial is not None}


def test_on_other_hardware_only_multiples_of_each_baseline_are_compared(
    experiment: Experiment, search: SearchOf
) -> None:
    """The other machine is three times as fast in everything: nothing has changed."""
    trials = made_up(experiment, 8, 7)
    faster = [
        measured(
            t.number,
            t.configuration,
            (3 * t.value("throughput"), t.value("peak_memory_mb"), t.value("perplexity")),
        )
        for t in trials
    ]
    found = compare_searches(search(trials), search(faster, OTHER))
    assert not found.same_hardware
    assert [d.name for d in found.differences] == ["machine", "torch"]
    for row in found.rows:
        assert row.values == {}
        for change in row.multiples.values():
            assert change.verdict == "tied"
            assert change.change == pytest.approx(0.0, abs=1e-9)
    assert found.shares == pytest.approx((1.0, 1.0))


def test_with_other_baselines_multiples_are_not_compared(
    experiment: Experiment, search: SearchOf
) -> None:
    trials = made_up(experiment, 6, 8)
    turned = [replace(trials[1], number=0), replace(trials[0], number=1), *trials[2:]]
    here = compare_searches(search(trials), search(turned))
    assert all(row.multiples == {} for row in here.rows)
    assert all(row.values for row in here.rows)
    there = compare_searches(search(trials), search(turned, OTHER))
    assert all(row.values == row.multiples == {} for row in there.rows)
    assert there.shares is None


def test_a_baseline_that_failed_leaves_no_multiples(
    experiment: Experiment, search: SearchOf, failure: Callable[..., Evaluation]
) -> None:
    trials = made_up(experiment, 6, 9)
    lost = [replace(trials[0], status="failed", measurements={}, evaluation=failure())]
    found = compare_searches(search(trials), search([*lost, *trials[1:]]))
    assert not found.same_baseline
    row = rows_by_number(found)[0]
    assert row.after.place == "failed"
    assert row.after.reason == "failed at measure (oom): no memory left"
    assert row.values == {}


def test_why_a_configuration_is_not_on_the_other_front(
    experiment: Experiment, search: SearchOf, load: Callable[..., Experiment]
) -> None:
    base = experiment.baseline
    fast = Configuration({**base, "runtime": "openvino", "batch_size": 8})
    impossible = Configuration({**base, "precision": "bf16"})
    before = [
        measured(0, base, (100, 500, 10.0)),
        measured(1, fast, (400, 400, 10.1)),
        measured(2, Configuration({**base, "threads": 2}), (450, 450, 10.2)),
        measured(3, impossible, (90, 100, 10.0)),
    ]
    after = [
        measured(0, base, (100, 500, 10.0)),
        measured(1, fast, (400, 400, 11.0)),
        replace(before[2], status="running", measurements={}, evaluation=None),
    ]
    smaller = load(
        "objectives={throughput: maximize, peak_memory_mb: minimize, perplexity: minimize}",
        "space={runtime: [torch, openvino], batch_size: {low: 1, high: 8}, threads: [1, 2]}",
    )
    rows = rows_by_number(compare_searches(search(before), search(after, of=smaller)))
    why = "quality_drop 10 % (limit quality_drop <= 5 %)"
    assert (rows[1].after.place, rows[1].after.reason) == ("beyond limits", why)
    assert (rows[2].after.place, rows[2].after.reason) == ("not ended", "")
    assert rows[3].after.place == "not tried"
    assert rows[3].after.reason == "not in its space: precision bf16"
    here = rows_by_number(compare_searches(search(before), search(after[:2])))
    assert (here[2].after.place, here[2].after.reason) == ("not tried", "")


def test_what_is_beaten_by_a_hair_can_not_be_told_apart(
    experiment: Experiment, search: SearchOf
) -> None:
    base = experiment.baseline
    other = Configuration({**base, "threads": 2})
    before = [measured(0, base, (100, 500, 10.0)), measured(1, other, (99, 400, 10.0))]
    after = [measured(0, base, (100, 500, 10.0)), measured(1, other, (99.9, 500.5, 10.001))]
    row = rows_by_number(compare_searches(search(before), search(after)))[1]
    assert row.after.reason == "by 000; tied with 000"


def test_a_configuration_is_the_same_whatever_the_file_names(
    experiment: Experiment, search: SearchOf
) -> None:
    base = experiment.baseline
    more = Configuration({**base, "replicas": 1, "pruning_ratio": 0.0})
    found = compare_searches(
        search([measured(0, base, (100, 500, 10.0))]), search([measured(0, more, (100, 500, 10.0))])
    )
    assert len(found.rows) == 1
    assert found.same_baseline


def test_other_limits_and_data_are_reported_first(
    experiment: Experiment, search: SearchOf, load: Callable[..., Experiment]
) -> None:
    strict = load(
        "objectives={throughput: maximize, peak_memory_mb: minimize, perplexity: minimize}",
        "space={runtime: [torch, openvino], precision: [fp32, bf16], batch_size: {low: 1, high: 8},"
        " threads: [1, 2]}",
        "limits={quality_drop: '<= 1%'}",
    )
    trials = made_up(experiment, 5, 10)
    found = compare_searches(search(trials), search(trials, content="f11", of=strict))
    text = {d.name: (d.before, d.after) for d in found.differences}
    assert text["model and data"] == ("f00", "f11")
    assert text["limits"] == ("quality_drop <= 5", "quality_drop <= 1")
    assert {"machine", "objectives", "baseline"} <= set(found.same)


def test_the_same_search_twice_is_refused(experiment: Experiment, search: SearchOf) -> None:
    one = search(made_up(experiment, 3, 0))
    with pytest.raises(ExperimentError, match="two different searches are needed, but both are"):
        compare_searches(one, one)


def test_searches_of_different_tasks_are_refused(experiment: Experiment, search: SearchOf) -> None:
    trials = made_up(experiment, 3, 0)
    spec = replace(experiment.workload, task="text-embedding")
    after = search(trials)
    other = replace(after.result, experiment=replace(experiment, workload=spec))
    with pytest.raises(ExperimentError, match="two searches of one task are needed, but got"):
        compare_searches(search(trials), replace(after, result=other))


def test_a_quick_check_is_never_compared_with_a_real_search(
    experiment: Experiment, search: SearchOf
) -> None:
    trials = made_up(experiment, 3, 0)
    quick = search(trials, of=replace(experiment, smoke=True))
    with pytest.raises(ExperimentError, match="a quick check is never compared with a real"):
        compare_searches(search(trials), quick)


def test_searches_without_an_objective_in_common_are_refused(
    experiment: Experiment, search: SearchOf, load: Callable[..., Experiment]
) -> None:
    trials = made_up(experiment, 3, 0)
    other = replace(experiment, objectives=load("objectives={latency_ms: minimize}").objectives)
    one = replace(experiment, objectives=load("objectives={throughput: maximize}").objectives)
    rule = "need at least one objective in common, in the same direction, but got throughput"
    with pytest.raises(ExperimentError, match=rule):
        compare_searches(
            search(trials, of=one),
            replace(
                search(trials, of=one),
                result=replace(search(trials, of=one).result, experiment=other),
            ),
        )


def test_where_objectives_differ_the_common_ones_are_compared(
    experiment: Experiment, search: SearchOf, load: Callable[..., Experiment]
) -> None:
    trials = made_up(experiment, 6, 0)
    fewer = replace(experiment, objectives=experiment.objectives[:2])
    found = compare_searches(search(trials), search(trials, of=fewer))
    assert [o.metric for o in found.objectives] == ["throughput", "peak_memory_mb"]
    assert found.shares is None
    assert set(found.rows[0].values) == {"throughput", "peak_memory_mb"}


def test_a_comparison_travels_as_json_and_csv(experiment: Experiment, search: SearchOf) -> None:
    import csv
    import io

    from tunefront.search.terminal.search_comparison import (
        search_comparison_csv,
        search_comparison_record,
    )

    sides = made_up(experiment, 8, 0), made_up(experiment, 8, 1)
    found = compare_searches(search(sides[0]), search(sides[1]))
    record = json.loads(json.dumps(search_comparison_record(found)))
    assert record["objectives"] == {
        "throughput": "maximize",
        "peak_memory_mb": "minimize",
        "perplexity": "minimize",
    }
    assert len(record["configurations"]) == len(found.rows)
    rows = list(csv.DictReader(io.StringIO(search_comparison_csv(found))))
    assert len(rows) == 3 * len(found.rows)
    baseline = next(r for r in rows if r["trial_before"] == r["trial_after"] == "0")
    assert float(baseline["value_before"]) == 100.0
    assert baseline["value_verdict"] == "tied"
