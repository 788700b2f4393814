"""Live display of a search run: a redrawn block on a terminal, plain lines elsewhere.

Messages are printed above the block and remain; the block is removed when the run ends. A display
that can't be written (a closed pipe, a full disk) does not end the search.
"""

import io
import os
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from textwrap import fill
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from tunefront.search.experiment.experiment import Experiment
from tunefront.search.results.metadata import writes_log
from tunefront.search.run.events import Event, ProgressChanged
from tunefront.search.run.progress import Progress, Snapshot, snapshot_of
from tunefront.search.study.live_stage import CONFIRMATION, stage_of
from tunefront.search.text import counted, duration_text

from .events import event_text

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live
    from rich.text import Text

HEARTBEAT_S = 300.0
"""Without a terminal: seconds without output after which a heartbeat line is printed."""
WAIT_POLL_S = 10.0
"""Without a terminal: seconds after which a wait for cores is printed, once for each reason."""
REFRESH_S = 1.0
WIDEST_LINE = 100
TRIALS_LISTED = 6
"""Maximum number of running trials that are listed."""
BAR = 30


class Screen(ABC):
    """The display of a search run."""

    def on_event(self, event: Event) -> None:
        """Show an event: a changed progress, or a message."""
        if isinstance(event, ProgressChanged):
            self.show_progress(event.progress)
        elif text := event_text(event):
            self.print_message(text)

    @abstractmethod
    def print_message(self, text: str) -> None:
        """Print a message of one or several lines."""

    @abstractmethod
    def show_progress(self, progress: Progress) -> None:
        """Show the current progress."""


class DisplayStream(io.TextIOWrapper):
    """A text stream whose errors are ignored; what its encoding lacks is written as escapes.

    Args:
        descriptor: The file descriptor, which is closed with the stream.
    """

    failed = False
    """Whether the last text could not be written."""

    def __init__(self, descriptor: int) -> None:
        raw = io.FileIO(descriptor, "w")
        super().__init__(io.BufferedWriter(raw), errors="backslashreplace", line_buffering=True)

    def write(self, text: str, /) -> int:
        """Write a text; an error is only noted."""
        try:
            super().write(text)
        except OSError:
            self.failed = True
        else:
            self.failed = False
        return len(text)

    def flush(self) -> None:
        """Write what is buffered, if that is possible."""
        with suppress(OSError):
            super().flush()

    def close(self) -> None:
        """Close the stream; buffered text that can't be written is lost."""
        with suppress(OSError):
            super().close()


@contextmanager
def screen_for(experiment: Experiment) -> Iterator[Screen]:
    """Open the display for the current stderr: a block on a terminal, plain lines elsewhere.

    If stderr can't be written any more at the end, it is replaced by `/dev/null`, so that the
    messages after the search do not fail either.
    """
    has_stderr = sys.__stderr__ is not None  # else descriptor 2 can be any file
    with DisplayStream(os.dup(2) if has_stderr else os.open(os.devnull, os.O_WRONLY)) as stream:
        try:
            if is_lively(stream, os.environ):
                with LiveBlock(stream) as block:
                    yield block
            else:
                with Lines(stream, clock=has_stderr and writes_log(experiment)) as lines:
                    yield lines
        finally:
            if stream.failed:
                _discard_stderr()


def _discard_stderr() -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)


def is_lively(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Return whether a block can be redrawn on the stream.

    It needs a terminal other than `dumb`, and `NO_COLOR` unset.
    """
    plain = environment.get("NO_COLOR") or environment.get("TERM", "dumb") == "dumb"
    return stream.isatty() and not plain


def current_snapshot(progress: Progress) -> Snapshot:
    """Return what to display of the search run at this moment."""
    results = progress.experiment.results
    stages = {trial.number: stage_of(results, trial.number) for trial in progress.running}
    known = {number: stage for number, stage in stages.items() if stage is not None}
    confirmation = stage_of(results, CONFIRMATION)
    waiting = confirmation.waiting if confirmation is not None else ""
    return snapshot_of(progress, known, datetime.now(), waiting)


def current_waits(progress: Progress) -> list[str]:
    """Return what trials and confirmation have waited for since `WAIT_POLL_S` seconds or more."""
    results = progress.experiment.results
    stages = {trial.name(): stage_of(results, trial.number) for trial in progress.running}
    stages["confirmation"] = stage_of(results, CONFIRMATION)
    return [
        f"{name}: {stage.waiting}"
        for name, stage in stages.items()
        if stage is not None and stage.waiting and time.time() - stage.since >= WAIT_POLL_S
    ]


class LiveBlock(Screen):
    """Display on a terminal: messages scroll above a block that is redrawn every second.

    Args:
        stream: The terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console

        self._console = Console(file=stream, highlight=False)
        self._progress: Progress | None = None
        self._live: Live | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def print_message(self, text: str) -> None:
        """Print a message above the block; continuation lines are indented."""
        width = min(self._console.width, WIDEST_LINE)
        wrapped = [
            fill(line, width, subsequent_indent="    ", break_long_words=False)
            for line in text.splitlines() or [""]
        ]
        self._console.print("\n".join(wrapped), markup=False, soft_wrap=True)

    def show_progress(self, progress: Progress) -> None:
        """Update the block; the first call draws it."""
        from rich.live import Live

        self._progress = progress
        if self._live is None:
            self._live = Live(
                console=self._console,
                get_renderable=self._drawn,
                refresh_per_second=1 / REFRESH_S,
                transient=True,
                redirect_stdout=False,
            )
            self._live.start(refresh=True)
            self._console.show_cursor(True)  # rich hides it; a killed process could not restore it

    def _drawn(self) -> "RenderableType":
        """Render the block with room for the `^C` of Ctrl-C, which would else wrap and shift it."""
        assert self._progress is not None
        return render(
            current_snapshot(self._progress), min(self._console.width - len("^C") - 1, WIDEST_LINE)
        )


class Lines(Screen):
    """Display without a terminal: plain lines, and a heartbeat line after a long silence.

    Args:
        stream: The output stream.
        clock: Whether each line begins with the time of day.
        heartbeat_s: Seconds without output before a heartbeat line.
    """

    def __init__(self, stream: TextIO, *, clock: bool, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._stream = stream
        self._clock = clock
        self._heartbeat_s = heartbeat_s
        self._printed_at = time.monotonic()
        self._progress: Progress | None = None
        self._waits: list[str] = []
        self._closed = threading.Event()
        self._thread = threading.Thread(
            target=self._print_heartbeats, name="heartbeat", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closed.set()
        self._thread.join()

    def print_message(self, text: str) -> None:
        """Print a message, each line with the time of day if wanted."""
        self._printed_at = time.monotonic()
        clock = f"{datetime.now():%H:%M:%S} " if self._clock else ""
        for line in text.splitlines() or [""]:
            print(f"{clock}{line}", file=self._stream)

    def show_progress(self, progress: Progress) -> None:
        """Store the progress for the next heartbeat line."""
        self._progress = progress

    def _print_heartbeats(self) -> None:
        while not self._closed.wait(min(self._left_s(), WAIT_POLL_S)):
            if self._progress is not None:
                self._print_waits(self._progress)
                if self._left_s() <= 0:
                    self.print_message(current_snapshot(self._progress).line())

    def _print_waits(self, progress: Progress) -> None:
        """Print the waits that are new or have changed since the last call."""
        before, self._waits = self._waits, current_waits(progress)
        for text in self._waits:
            if text not in before:
                self.print_message(text)

    def _left_s(self) -> float:
        """Return the seconds until the next heartbeat; at least `REFRESH_S` before any progress."""
        left_s = self._printed_at + self._heartbeat_s - time.monotonic()
        return max(left_s, REFRESH_S if self._progress is None else 0.0)


def render(snapshot: Snapshot, width: int) -> "RenderableType":
    """Render the block, at most `width` columns wide."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    rows = Table.grid(padding=(0, 1), expand=True)
    rows.add_column(width=5, style="bold", no_wrap=True)
    rows.add_column(overflow="fold", ratio=1)
    for name, text in _rows(snapshot):
        rows.add_row(Text(name), text)
    rows.width = width
    return Group(_head(snapshot, width), rows)


def _head(snapshot: Snapshot, width: int) -> "Text":
    """Render the block's head: a rule with name, elapsed time and time left."""
    from rich.text import Text

    left = "" if snapshot.left_s is None else f", about {duration_text(snapshot.left_s)} to go"
    right = f" {duration_text(snapshot.elapsed_s)}{left} "
    name = Text(f" {snapshot.name} ", style="bold")
    name.truncate(max(4, width - len(right) - 6), overflow="ellipsis")
    rule = "─" * max(1, width - 4 - name.cell_len - len(right))
    return Text.assemble("──", name, rule, (right, "bold"), "──", no_wrap=True, overflow="crop")


def _rows(snapshot: Snapshot) -> "Iterator[tuple[str, Text]]":
    from rich.text import Text

    filled = round(BAR * snapshot.done / max(1, snapshot.planned))
    bar = Text.assemble(("━" * filled, "green"), "─" * (BAR - filled))
    yield "done", Text.assemble(bar, f" {snapshot.counts_text()}")
    if snapshot.phase:
        yield "now", Text(snapshot.phase)
    for trial in snapshot.now[:TRIALS_LISTED]:
        of = (
            ""
            if trial.expected_s is None
            else f" (the trial: about {duration_text(trial.expected_s)})"
        )
        yield "now", Text(f"{trial.trial}: {trial.stage} for {duration_text(trial.seconds)}{of}")
    if len(snapshot.now) > TRIALS_LISTED:
        yield "", Text(f"and {len(snapshot.now) - TRIALS_LISTED} more")
    if snapshot.best:
        yield "best", Text(snapshot.best, style="green")
        ties = f", {snapshot.ties} of them tied with another"
        yield "front", Text(counted(snapshot.front, "trial") + (ties if snapshot.ties else ""))
    if snapshot.end:
        yield "ends", Text(snapshot.end)
