"""The page's numbers are those of Python: `numbers.js` and `formatting.py` compared by Node."""

import json
import random
import shutil
import subprocess
from importlib.resources import files

import pytest

from tunefront.evaluators import Measurement
from tunefront.evaluators.statistics.formatting import (
    interval_text,
    number_text,
    percent_text,
    value_text,
    with_unit,
)
from tunefront.search.text import duration_text

CALLS = """
const input = JSON.parse(require("fs").readFileSync(0, "utf8"));
const found = {
  numbers: input.numbers.map((x) => numberText(x)),
  percentages: input.numbers.map((x) => numberText(x, { decimals: 2 })),
  shares: input.numbers.map((x) => percent(x)),
  durations: input.durations.map(durationText),
  values: input.measurements.map(([m, unit]) => valueText(m, unit)),
  intervals: input.measurements.map(([m, unit]) => intervalText(m, unit)),
  broken: input.measurements.map(([m, unit, bound]) => {
    const report = { metrics: { x: { unit } } };
    return brokenText(report, { measurements: { x: m } }, { metric: "x", bound });
  }),
};
console.log(JSON.stringify(found));
"""


def numbers() -> list[float]:
    chosen = random.Random(7)
    drawn = [chosen.uniform(-1, 1) * 10 ** chosen.uniform(-8, 14) for _ in range(400)]
    ties = [12.25, -12.25, 1235.0, 0.125, 2.5, 1.005, 99.95, 999.5, 0.0005, 0.005, -0.005]
    return [0.0, -0.0, 1.0, 100.0, 19_640.0, -3.125e-06, 3.125e-07, 1e12, 1e15, *ties, *drawn]


def measurements() -> list[tuple[Measurement, float]]:
    """Measurements with wide and narrow intervals, each with a bound near its value."""
    chosen = random.Random(8)
    found = []
    for unit in ("ms", "%", "") * 40:
        value = chosen.uniform(-1, 1) * 10 ** chosen.uniform(-4, 6)
        half = abs(value) * 10 ** chosen.uniform(-4, 3)
        measured = Measurement(
            value=value, unit=unit, low=value - half, high=value + half, samples=9
        )
        found.append((measured, chosen.choice([value * 1.0001, value, value * 2])))
    return found


@pytest.mark.skipif(shutil.which("node") is None, reason="no Node here")
def test_the_page_formats_numbers_as_python_does() -> None:
    script = files("tunefront.search.report").joinpath("assets", "numbers.js").read_text()
    durations = [0.2, 59.4, 59.7, 61.0, 3540.0, 3599.0, 4320.0, 90_000.0]
    given = {
        "numbers": numbers(),
        "durations": durations,
        "measurements": [
            [{"value": m.value, "low": m.low, "high": m.high}, m.unit, bound]
            for m, bound in measurements()
        ],
    }
    done = subprocess.run(
        ["node", "-e", script + CALLS], input=json.dumps(given), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["numbers"] == [number_text(x) for x in numbers()]
    assert found["percentages"] == [number_text(x, decimals=2) for x in numbers()]
    assert found["shares"] == [percent_text(x, decimals=0) for x in numbers()]
    assert found["durations"] == [duration_text(x) for x in durations]
    assert found["values"] == [value_text(m) for m, _ in measurements()]
    assert found["intervals"] == [interval_text(m) for m, _ in measurements()]
    assert found["broken"] == [with_unit(m, apart_from=bound) for m, bound in measurements()]
