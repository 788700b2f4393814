"""`picks.js` alone, run by Node.js: it picks what `picks.py` picks, whatever the limits."""

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from typing import Any

import numpy as np
import pytest

from tunefront.evaluators import Measurement
from tunefront.search import Experiment, Front, Limit, Result, Trial, result_of
from tunefront.search.front.picks import front_of, nearest_misses, within
from tunefront.search.report.data import report_data
from tunefront.search.study.confirmation import Confirmation

from .conftest import RECORD, Search, failed
from .test_browser import near, pick_rows, plain, random_limits

PROGRAM = """
const input = JSON.parse(require("fs").readFileSync(0, "utf8"));
const report = readReport(JSON.stringify(input.report));
const number = (trial) => trial.number;
const found = input.cases.map(([limits, prefer]) => {
  const { kept, front, picks, ties } = frontOf(report, limits, prefer);
  return {
    kept: kept.map(number),
    front: front.map(number),
    picks: picks.map((p) => [p.name, p.trial.number, p.reason, p.ties.map(number)]),
    uncertain: picks.map((p) => p.uncertain),
    ties: kept.map((trial) => [trial.number, ties(trial).map(number)]),
    misses: limits.length ? nearestMisses(report.trials, limits).map(number) : [],
  };
});
process.stdout.write(JSON.stringify(found));
"""
Case = tuple[Sequence[Limit], str | None]


@pytest.fixture(scope="module")
def picked() -> Callable[[Result, Sequence[Case]], list[dict[str, Any]]]:
    """Run `picks.js` on a result's data, once for all cases."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node.js here")
    assets = files("tunefront.search.report") / "assets"
    scripts = [(assets / name).read_text(encoding="utf-8") for name in ("numbers.js", "picks.js")]
    program = "".join([*scripts, PROGRAM])

    def run(result: Result, cases: Sequence[Case]) -> list[dict[str, Any]]:
        data = {
            "report": report_data(result, RECORD),
            "cases": [[plain(limits), prefer or ""] for limits, prefer in cases],
        }
        done = subprocess.run(
            [node, "-e", program],
            input=json.dumps(data),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    return run


def compare(result: Result, case: Case, found: Mapping[str, Any]) -> Front:
    limits, prefer = case
    front = front_of(result.experiment, result.trials, limits, prefer, result.unconfirmed)
    assert found["front"] == [trial.number for trial in front.trials]
    assert found["kept"] == [trial.number for trial in within(result.trials, limits)]
    assert found["picks"] == pick_rows(front), case
    assert [bool(text) for text in found["uncertain"]] == [bool(p.uncertain) for p in front.picks]
    assert found["ties"] == [[n, [t.number for t in same]] for n, same in front.ties.items()]
    if limits:
        misses = nearest_misses(result.trials, limits)
        assert found["misses"] == [trial.number for trial in misses]
    return front


Picked = Callable[[Result, Sequence[Case]], list[dict[str, Any]]]


def in_turns(trials: Sequence[Trial]) -> list[Trial]:
    """The trials, most of them measured in turns with a baseline whose speed is known to 15 %."""
    found = []
    for trial in trials:
        evaluation = trial.evaluation
        if evaluation is not None and trial.measured and trial.number % 5:
            ratio = Measurement(value=1.0, unit="x", low=0.98, high=1.02, samples=7)
            evaluation = replace(evaluation, relative=ratio)
        found.append(replace(trial, evaluation=evaluation))
    figures = {
        name: replace(m, low=0.85 * m.value, high=1.15 * m.value)
        for name, m in found[0].measurements.items()
    }
    found[0] = replace(found[0], measurements={**found[0].measurements, **figures})
    return found


@pytest.mark.parametrize("turns", [False, True])
@pytest.mark.parametrize("spread", [0.0, 0.02, 0.2])
def test_whatever_the_limits_the_script_picks_what_python_picks(
    picked: Picked, experiment: Experiment, search: Search, spread: float, turns: bool
) -> None:
    trials = search(80, seed=1, spread=spread)
    result = result_of(experiment, in_turns(trials) if turns else trials, Confirmation())
    assert len(result.unconfirmed) > 3
    random = np.random.default_rng(7)
    cases: list[Case] = []
    for _ in range(40):
        limits = random_limits(trials, random)
        prefer = str(random.choice(["", "throughput", "latency_ms", "quality_drop"]))
        cases.append((limits, prefer or None))
    fronts = [compare(result, *pair) for pair in zip(cases, picked(result, cases), strict=True)]
    assert 0 < sum(not front.trials for front in fronts) < len(fronts)
    assert any(pick.uncertain for front in fronts for pick in front.picks)


def test_the_result_has_the_picks_of_the_script(picked: Picked, result: Result) -> None:
    """Some trials with warnings are confirmed."""
    case = (result.limits, None)
    (found,) = picked(result, [case])
    assert compare(result, case, found) == result.front


def test_values_that_are_nearly_the_same_are_ties_in_the_script_too(
    picked: Picked, experiment: Experiment, search: Search
) -> None:
    """Narrow intervals that lean to one side, about 1 % apart."""
    trials = search(30, spread=0.0)
    random = np.random.default_rng(5)
    for place, trial in enumerate(trials):
        if trial.measured:
            figures = {n: near(m, random) for n, m in trials[1].measurements.items()}
            trials[place] = replace(trial, measurements=figures, status="ok")
    result = result_of(experiment, trials, Confirmation())
    (found,) = picked(result, [((), None)])
    front = compare(result, ((), None), found)
    assert 0 < sum(map(len, front.ties.values())) < len(front.ties) * (len(front.ties) - 1)


def test_without_a_baseline_and_with_a_preference_the_picks_are_the_same_too(
    picked: Picked, experiment: Experiment, search: Search
) -> None:
    trials = search(40)
    trials[0] = failed(trials[0])
    for chosen in (experiment, replace(experiment, prefer="peak_memory_mb")):
        result = result_of(chosen, trials, Confirmation())
        (found,) = picked(result, [(chosen.limits, None)])
        compare(result, (chosen.limits, None), found)
