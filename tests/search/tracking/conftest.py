"""Three searches in one MLflow store, served, and a browser that looks at them."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner

from tunefront.evaluators import Evaluation, Measurement, builtin_catalog
from tunefront.search import Experiment, Result, Trial, load_experiment, result_of
from tunefront.search.cli import tunefront as cli
from tunefront.search.study.confirmation import Confirmation
from tunefront.search.study.study import Study
from tunefront.search.study.trial import TrialStatus
from tunefront.search.tracking import projection as projections
from tunefront.search.tracking.projection import Projection
from tunefront.search.tracking.writer import write_result
from tunefront.spaces import Configuration, Hardware

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FILE = """\
name: made up NUMBER
workload: {task: causal-lm, model: nowhere, data: nowhere.jsonl}
space:
  runtime: [torch, openvino]
  precision: [fp32, bf16]
  quantization_bits: [16, 8]
  batch_size: {low: 1, high: 32}
  threads: [1, 2, 4, 8]
baseline: {runtime: torch, batch_size: 1, threads: 1}
objectives: {throughput: maximize, peak_memory_mb: minimize, perplexity: minimize}
limits: {quality_drop: "<= 5%"}
"""
BEGIN = datetime(2026, 1, 1, 22, 0)
SMALL, MIDDLE, LARGE = 12, 60, 260
PAGE_MS = 180_000
"""Longest time for MLflow's page to show something; charts of 100 runs can take half a minute."""
EXPECTED_NOISE = (
    "users/current",  # MLflow asks who is logged in; a server without accounts answers 404
    "status of 404",  # the browser's own words for it
    "AG Grid: since",  # MLflow's table uses a name that the table's library will drop
    # MLflow draws the chart of parallel coordinates before the browser has laid out its place, on a
    # busy machine several times: coordinates of SVG elements are NaN or negative until it is drawn
    # again. How the browser names that depends on the element and the attribute; `WHOLE` is the
    # state that the page must have in the end.
    "Error: <",
)
WHOLE = """() => [...document.querySelectorAll('*')].every((node) =>
  [...node.attributes].every(({ value }) => !value.includes('NaN')))
  && [...document.querySelectorAll('.parcoords')].every((chart) =>
    chart.querySelectorAll('.dimension').length > 0
    && [...chart.querySelectorAll('canvas')].every(({ width, height }) => width * height > 0)
    && [...chart.querySelectorAll('rect')].every((node) => !(node.getAttribute('height') < 0)))"""
"""Whether every chart has been drawn where it stands: no place is NaN, no size is none."""


@dataclass(frozen=True)
class Shown:
    """A search that MLflow shows.

    Attributes:
        result: What it found.
        written: The projection that wrote it.
    """

    result: Result
    written: Projection


@dataclass(frozen=True)
class Store:
    """Searches by their number of trials, the links that `ui` printed, what else it said."""

    searches: dict[int, Shown]
    links: dict[int, str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return self.links[MIDDLE].partition("/#")[0]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def made_up(folder: Path, count: int, laptop: Hardware) -> Experiment:
    """An experiment in a folder; those in one folder share a store."""
    path = folder / f"search-{count}.yaml"
    path.write_text(FILE.replace("NUMBER", str(count)))
    return load_experiment(path, hardware=laptop)


def answered(experiment: Experiment, count: int) -> Result:
    """Made-up trials that have all ended; every thirteenth failed."""
    random = np.random.default_rng(count)
    runnable = experiment.space.enumerate().runnable
    others = [c for c in runnable if c != experiment.baseline]
    chosen = [others[int(row)] for row in random.permutation(len(others))[: count - 1]]
    trials = [
        ended(number, configuration, random)
        for number, configuration in enumerate([experiment.baseline, *chosen])
    ]
    return result_of(experiment, trials, Confirmation())


def ended(number: int, configuration: Configuration, random: np.random.Generator) -> Trial:
    """A trial whose figures follow from its choices, or that failed."""
    begin = BEGIN + timedelta(minutes=number)
    common: dict[str, Any] = {
        "number": number,
        "configuration": configuration,
        "catalog": builtin_catalog(),
        "started": begin,
        "ended": begin,
    }
    if number % 13 == 12:
        lost = Evaluation(status="failed", cause="oom", stage="measure", message="no memory left")
        return Trial(status="failed", evaluation=lost, **common)
    batch, threads = configuration.number("batch_size"), configuration.number("threads")
    fast = 3.0 if configuration["runtime"] == "openvino" else 1.0
    small = 0.5 if configuration["quantization_bits"] == 8 else 1.0
    loss = (1 - small) * 6 + (configuration["precision"] == "bf16") * 2 + 0.3 * random.normal()
    speed = 20 * fast * threads**0.5 * (1 + np.log(batch)) * (1 + 0.02 * random.normal())
    values = {
        "throughput": (float(speed), "items/s"),
        "peak_memory_mb": (round(300 * small + 8 * batch + 20 * threads, 1), "MB"),
        "perplexity": (10 + loss / 10, ""),
        "quality_drop": (float(loss), "%"),
    }
    figures = {
        name: Measurement(
            value=v, unit=unit, low=v - 0.01 * abs(v), high=v + 0.01 * abs(v), samples=7
        )
        for name, (v, unit) in values.items()
    }
    evaluation = Evaluation(status="ok", measurements=figures, seconds={"total": 9.0})
    status: TrialStatus = "ok" if loss <= 5 else "infeasible"
    return Trial(status=status, evaluation=evaluation, measurements=figures, **common)


def projected(experiment: Experiment, count: int) -> Shown:
    result = answered(experiment, count)
    written = Projection(experiment, Study.open(experiment, {"test": "yes"}).search_id)
    written.write_trials(result.trials, result)
    write_result(written, result)
    return Shown(result=result, written=written)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, laptop: Hardware) -> Iterator[Store]:
    """Three searches, the small one as an MLflow of another major version would have it."""
    folder = tmp_path_factory.mktemp("searches")
    with pytest.MonkeyPatch.context() as patched:
        patched.delenv("MLFLOW_TRACKING_URI", raising=False)
        counts = (SMALL, MIDDLE, LARGE)
        experiments = {count: made_up(folder, count, laptop) for count in counts}
        with patched.context() as other:
            other.setattr(projections, "shown_by", lambda experiment: "4.0.0")
            searches = {SMALL: projected(experiments[SMALL], SMALL)}
        searches |= {n: projected(experiments[n], n) for n in (MIDDLE, LARGE)}
        found = Store(searches=searches)
        port = free_port()
        try:
            for count in (MIDDLE, LARGE, SMALL):
                options = "--port", port, "--detach", "--no-open"
                first, *more = (ui if found.links else serve)(experiments[count], *options)
                found.links[count] = first.removeprefix("front: ")
                found.said.extend(more)
            yield found
        finally:
            ui(experiments[MIDDLE], "--stop")


def ui(experiment: Experiment, *options: object) -> list[str]:
    """What `tunefront ui` says where it starts no server."""
    done = CliRunner().invoke(cli, ["ui", str(experiment.path), *map(str, options)])
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    return done.stderr.splitlines()


def serve(experiment: Experiment, *options: object) -> list[str]:
    """What `tunefront ui` says, in a process of its own."""
    command = [sys.executable, "-m", "tunefront.search.cli", "ui", experiment.path, *options]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    return done.stderr.splitlines()


Opened = Callable[..., "Page"]


@pytest.fixture
def opened(browser: "Browser", store: Store, tmp_path: Path) -> Iterator[Opened]:
    """Open a link as somebody who was never there; nothing is wrong, nothing is asked elsewhere.

    A picture of every page as it is left goes to the folder that `TUNEFRONT_SCREENSHOTS` names.
    """
    folder = Path(os.environ.get("TUNEFRONT_SCREENSHOTS", tmp_path))
    said: list[str] = []
    asked: list[str] = []
    pages: dict[str, Page] = {}
    with browser.new_context(viewport={"width": 2600, "height": 2800}) as context:
        context.set_default_timeout(PAGE_MS)

        def opened(link: str, name: str, rows: int) -> "Page":
            page = context.new_page()
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            page.on("request", lambda request: asked.append(request.url))
            page.goto(link)
            page.get_by_text(re.compile(rf"^{rows}\s*matching runs?$")).wait_for()
            pages[name] = page
            return page

        yield opened
        folder.mkdir(parents=True, exist_ok=True)
        for name, page in pages.items():
            page.wait_for_function(WHOLE)
            page.screenshot(path=folder / f"{name}.png")
    assert [text for text in said if not any(noise in text for noise in EXPECTED_NOISE)] == []
    assert [url for url in asked if not url.startswith((store.address, "data:", "blob:"))] == []
