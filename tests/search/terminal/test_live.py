"""The live display: the block without a terminal, plain lines with a heartbeat."""

import io
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from tunefront.search import Experiment, Trial
from tunefront.search.run.progress import Progress, RunningTrial, Snapshot
from tunefront.search.study.live_stage import CONFIRMATION, note_stage, note_wait
from tunefront.search.terminal import live
from tunefront.search.terminal.live import (
    TRIALS_LISTED,
    DisplayStream,
    Lines,
    LiveBlock,
    is_lively,
    render,
)

SNAPSHOT = Snapshot(
    name="minilm on this cpu",
    phase="",
    counts={"ok": 20, "beyond limits": 1, "failed": 2},
    planned=60,
    elapsed_s=4320,
    left_s=2280,
    end="at 07:00 (budget.until 07:00): time for about 31 of 36 more trials",
    best="012 openvino bf16 w8 static b8 t2: 4.4x faster, 2.1x less memory, quality -0.3 % ± 0.2",
    front=7,
    ties=2,
    now=(
        RunningTrial(trial="023 openvino b4 t2", stage="measuring", seconds=12, expected_s=25.0),
        RunningTrial(trial="024 torch bf16 b4", stage="building", seconds=90, expected_s=None),
    ),
)


def rendered(snapshot: Snapshot, width: int = 80, *, colours: bool = False) -> list[str]:
    from rich.console import Console

    stream = io.StringIO()
    console = Console(
        file=stream,
        width=width,
        force_terminal=colours,
        color_system="standard" if colours else None,
    )
    console.print(render(snapshot, width))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_the_block_shows_the_progress() -> None:
    assert rendered(SNAPSHOT) == [
        "── minilm on this cpu ──────────────────────── 1 h 12 min, about 38 min to go ──",
        "done  ━━━━━━━━━━━━────────────────── 23 of 60 trials: 20 ok, 1 beyond limits, 2",
        "      failed, 2 running",
        "now   023 openvino b4 t2: measuring for 12 s (the trial: about 25 s)",
        "now   024 torch bf16 b4: building for 2 min",
        "best  012 openvino bf16 w8 static b8 t2: 4.4x faster, 2.1x less memory, quality",
        "      -0.3 % ± 0.2",
        "front 7 trials, 2 of them tied with another",
        "ends  at 07:00 (budget.until 07:00): time for about 31 of 36 more trials",
    ]


def test_unknown_values_are_left_out() -> None:
    first = replace(
        SNAPSHOT, counts={}, phase="starting Ray", left_s=None, end="", best="", front=0, now=()
    )
    assert [line.split()[0] for line in rendered(first)] == ["──", "done", "now"]
    assert rendered(replace(SNAPSHOT, front=1, ties=0))[-2] == "front 1 trial"


@pytest.mark.parametrize("width", [30, 40, 80, 100])
def test_the_block_fits_the_width(width: int) -> None:
    long = replace(SNAPSHOT, name="a long name " * 9, best="word " * 40)
    assert all(len(line) <= width for line in rendered(long, width))


def test_of_many_trials_some_are_shown() -> None:
    many = replace(SNAPSHOT, now=SNAPSHOT.now[:1] * (TRIALS_LISTED + 3))
    lines = rendered(many)
    assert sum(line.startswith("now ") for line in lines) == TRIALS_LISTED
    assert "      and 3 more" in lines


def test_colours_are_those_of_the_terminal() -> None:
    """Green and bold alone: the theme says what they look like, on light and on dark."""
    text = "\n".join(rendered(SNAPSHOT, colours=True))
    found = {part.split("m")[0] for part in text.split("\x1b[")[1:]}
    assert found <= {"0", "1", "32"}
    assert {"1", "32"} <= found


class FakeTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environment", "lively"),
    [
        (FakeTerminal(), {"TERM": "xterm"}, True),
        (FakeTerminal(), {"TERM": "xterm", "NO_COLOR": ""}, True),
        (FakeTerminal(), {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (FakeTerminal(), {"TERM": "dumb"}, False),
        (FakeTerminal(), {}, False),
        (io.StringIO(), {"TERM": "xterm"}, False),
    ],
)
def test_a_block_is_drawn_where_it_can_be(
    stream: io.StringIO, environment: dict[str, str], lively: bool
) -> None:
    assert is_lively(stream, environment) is lively


@pytest.fixture
def progress(load: Callable[..., Experiment]) -> Progress:
    return Progress(
        experiment=load(),
        phase="starting Ray",
        result=None,
        running=(),
        left=6,
        at=datetime.now(),
        elapsed_s=0.0,
        trials_s=None,
        all_s=None,
    )


def test_without_a_terminal_messages_are_printed_as_lines(progress: Progress) -> None:
    stream = io.StringIO()
    with Lines(stream, clock=False) as lines:
        lines.print_message("one")
        lines.show_progress(progress)
        lines.print_message("two")
    assert stream.getvalue() == "one\ntwo\n"


def test_the_log_has_the_time_of_day() -> None:
    stream = io.StringIO()
    with Lines(stream, clock=True) as lines:
        lines.print_message("one")
    clock, line = stream.getvalue().split(" ")
    assert line == "one\n"
    datetime.strptime(clock, "%H:%M:%S")


def test_a_heartbeat_line_follows_a_silence(progress: Progress) -> None:
    stream = io.StringIO()
    with Lines(stream, clock=False, heartbeat_s=0.05) as lines:
        time.sleep(0.2)
        assert stream.getvalue() == "", "nothing is known yet"
        lines.show_progress(progress)
        deadline = time.monotonic() + 60
        while stream.getvalue().count("\n") < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
    printed = stream.getvalue().splitlines()
    assert len(printed) >= 2
    assert all(line.endswith("starting Ray; 0 of 6 trials") for line in printed)


def test_a_wait_for_cores_is_printed_once_for_each_reason(
    progress: Progress, trial: Callable[..., Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "WAIT_POLL_S", 0.0)
    running = replace(progress, running=(trial(3, {"runtime": "torch"}),))
    results = progress.experiment.results
    note_stage(results, 3, "measure")
    note_stage(results, CONFIRMATION, "measure")
    stream = io.StringIO()
    lines = Lines(stream, clock=False)
    for reason in ("", "waiting for `a`", "waiting for `a`", "waiting for `b`", ""):
        note_wait(results, 3, reason)
        lines._print_waits(running)
    note_wait(results, CONFIRMATION, "waiting for `c`")
    lines._print_waits(running)
    assert stream.getvalue().splitlines() == [
        "003 torch: waiting for `a`",
        "003 torch: waiting for `b`",
        "confirmation: waiting for `c`",
    ]


def test_a_message_is_wrapped_between_words() -> None:
    stream = FakeTerminal()
    with LiveBlock(stream) as block:
        block._console.width = 30
        block.print_message("a line of more than thirty letters [1 s; 2 to go]")
    assert stream.getvalue().splitlines() == [
        "a line of more than thirty",
        "    letters [1 s; 2 to go]",
    ]


def closed_pipe() -> int:
    """A descriptor to write to whose reader has ended."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.mark.parametrize("opened", [closed_pipe, lambda: os.open("/dev/full", os.O_WRONLY)])
@pytest.mark.parametrize("kind", [Lines, LiveBlock])
def test_a_display_that_cannot_be_written_raises_nothing(
    opened: Callable[[], int], kind: Callable[..., Lines | LiveBlock], progress: Progress
) -> None:
    descriptor = opened()
    with DisplayStream(descriptor) as stream:
        options = {"clock": True} if kind is Lines else {}
        with kind(stream, **options) as screen:
            screen.show_progress(progress)
            for _ in range(300):
                screen.print_message("more than the buffer holds " * 10)
            assert stream.failed
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_display_can_be_written_again_once_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "log"
    stream = DisplayStream(os.open("/dev/full", os.O_WRONLY))
    stream.write("lost\n")
    assert stream.failed
    os.dup2(descriptor := os.open(path, os.O_WRONLY | os.O_CREAT), stream.fileno())
    stream.write("written\n")
    assert not stream.failed
    stream.close()
    os.close(descriptor)
    assert path.read_text().endswith("written\n")


def test_what_an_encoding_lacks_is_written_as_its_escape(tmp_path: Path) -> None:
    path = tmp_path / "log"
    stream = DisplayStream(os.open(path, os.O_WRONLY | os.O_CREAT))
    with stream, Lines(stream, clock=False) as lines:
        lines.print_message("bad \udcff name, é")
    assert path.read_text() == "bad \\udcff name, é\n"


DISPLAY = """
import sys
import click
from tunefront.search import load_experiment
from tunefront.search.terminal.live import screen_for

with screen_for(load_experiment(sys.argv[1])) as screen:
    screen.print_message("trial \\udcff")
    print("searched", flush=True)
click.echo("the next steps", err=True)
"""


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-", "2>LOG"])
def test_a_command_ends_well_whatever_its_stderr(
    load: Callable[..., Experiment], tmp_path: Path, redirection: str
) -> None:
    program = tmp_path / "display.py"
    program.write_text(DISPLAY)
    log = tmp_path / "log"
    where = redirection.replace("LOG", str(log))
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" "$@" {where}', sys.executable, program, load().path],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "searched\n")
    if log.exists():
        assert log.read_text() == "trial \\udcff\nthe next steps\n"
