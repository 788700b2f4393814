"""A search on a terminal: one block while it runs, the result at its end, and Ctrl-C."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.caches import new_cache

from .conftest import NUMPY, environment
from .terminal import COLUMNS, Screen, Typed

FILE = """\
name: on a terminal
workload:
  task: custom
  model: mine:model
  inputs: mine:inputs
  quality: mine:quality
  direction: maximize
extensions: [toy_runtime.py]
space: {runtime: [numpy], batch_size: [1, 8]}
baseline: {runtime: numpy, batch_size: 1}
objectives: {throughput: maximize, peak_memory_mb: minimize}
budget: {trials: 2}
measurement: {seconds: 0.3, turns: 3, wait: 0, reference: false}
confirmation: {finalists: 0}
concurrent_trials: 1
"""
MODULE = """\
import numpy as np

def model():
    import torch

    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 2))

def inputs(batch_size, count):
    return [{"input": np.ones((batch_size, 4), dtype=np.float32)} for _ in range(count)]

def quality(run):
    return 1.0
"""
PROGRAM = "from tunefront.search.cli import main; main()"
LONG_S = 900


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    """The environment variables of a shell on a terminal."""
    found = {**environment(new_cache(tmp_path / "cache")), "TERM": "xterm-256color"}
    return {n: v for n, v in found.items() if n not in ("NO_COLOR", "COLUMNS", "LINES")}


@pytest.fixture
def typed(tmp_path: Path, variables: dict[str, str]) -> Callable[..., Typed]:
    """`tunefront run`, typed on a terminal."""
    (tmp_path / "experiment.yaml").write_text(FILE)
    (tmp_path / "mine.py").write_text(MODULE)
    shutil.copy(NUMPY, tmp_path)

    def type_in(*arguments: str) -> Typed:
        file = str(tmp_path / "experiment.yaml")
        return Typed([sys.executable, "-c", PROGRAM, "run", file, *arguments], variables)

    return type_in


def screens(text: str) -> list[Screen]:
    """The screen after each drawing of the block."""
    found = []
    places = [place for place in range(len(text)) if text.startswith("ends", place)]
    for place in places:
        screen = Screen()
        screen.feed(text[:place])
        found.append(screen)
    return found


def test_messages_stay_above_one_block_that_is_redrawn(typed: Callable[..., Typed]) -> None:
    run = typed()
    assert run.exit_code(LONG_S) == 0, run.text
    during = screens(run.text)
    assert len(during) > 2
    for screen in during:
        heads = [line for line in screen.lines if line.startswith("── on a terminal ──")]
        assert len(heads) == 1, screen.lines
    lines = {line for screen in during for line in screen.lines if line.startswith("now   0")}
    doings = {line.split(": ")[1].split(" for ")[0] for line in lines}
    assert "measuring" in doings
    assert doings <= {
        "starting",
        "preparing requests",
        "building",
        "evaluating quality",
        "measuring",
    }

    screen = run.screen
    assert screen.cursor_shown
    assert not [line for line in screen.lines if line.startswith(("──", "now ", "done ", "ends "))]
    text = "\n".join(screen.lines)
    messages = [
        "starting Ray",
        "000 numpy b1: the baseline",
        "no more trials: budget.trials 2 reached",
        "report:",
    ]
    last = [
        "the front, the baseline and the defaults",
        "throughput, items/s (more is better)",
        "* recommended",
    ]
    places = [text.find(line) for line in [*messages, *last, "next:   tunefront show"]]
    assert -1 not in places, text
    assert places == sorted(places)
    assert max(map(len, screen.lines)) <= COLUMNS

    table = text[text.index(last[0]) :]
    assert "peak_memory" in table and "recommended" in table, "no word of the table is broken"


def test_ctrl_c_twice_stops_at_once(typed: Callable[..., Typed]) -> None:
    run = typed("--set", "measurement.seconds=600")
    assert run.read_until(lambda text: "measuring for" in text, LONG_S)
    run.interrupt()
    assert run.read_until(lambda text: "running trials finish first" in text, LONG_S)
    run.interrupt()
    assert run.exit_code(60) == 130
    lines = [line for line in run.screen.lines if line]
    assert run.screen.cursor_shown
    assert lines[-1] == "stopped; run the same command to resume"
    assert not [line for line in lines if line.startswith(("──", "now ", "done "))], lines
