"""The night on a screen: one block that is drawn anew on a terminal, plain lines elsewhere.

What is said goes above the block and stays; the block itself is gone when the night is over.
"""

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from textwrap import fill
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TextIO

from tunefront.search.experiment.experiment import Experiment
from tunefront.search.results.metadata import writes_log
from tunefront.search.run.progress import Picture, Progress, picture_of, spoken
from tunefront.search.study.live_stage import doing
from tunefront.search.text import counted

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live
    from rich.text import Text

HEARTBEAT_S = 300.0
"""Without a terminal: how long nothing may be said before a sign of life is."""
REFRESH_S = 1.0
WIDEST_LINE = 100
TRIALS_LISTED = 6
"""Trials that run and are all listed."""
BAR = 30


class Screen(Protocol):
    """Where a night is told."""

    def say(self, line: str) -> None:
        """Something has happened."""
        ...

    def show(self, progress: Progress) -> None:
        """So far is the night now."""
        ...


@contextmanager
def screen_for(experiment: Experiment) -> Iterator[Screen]:
    """The screen that suits stderr as it is now: a block on a terminal, plain lines elsewhere."""
    with os.fdopen(os.dup(2), "w", buffering=1) as stream:
        if is_lively(stream, os.environ):
            with LiveBlock(stream) as block:
                yield block
        else:
            with Lines(stream, clock=writes_log(experiment)) as lines:
                yield lines


def is_lively(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether a block may be drawn anew there."""
    plain = environment.get("NO_COLOR") or environment.get("TERM", "dumb") == "dumb"
    return stream.isatty() and not plain


def look(progress: Progress) -> Picture:
    """The night as it is at this moment."""
    results = progress.experiment.results
    found = {trial.number: doing(results, trial.number) for trial in progress.running}
    said = {number: at for number, at in found.items() if at is not None}
    return picture_of(progress, said, datetime.now())


class LiveBlock:
    """A terminal: what is said scrolls by, one block below it is drawn anew every second.

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

    def say(self, line: str) -> None:
        """Above the block, with broken lines set off."""
        width = min(self._console.width, WIDEST_LINE)
        broken = [
            fill(part, width, subsequent_indent="    ", break_long_words=False)
            for part in line.splitlines() or [""]
        ]
        self._console.print("\n".join(broken), markup=False, soft_wrap=True)

    def show(self, progress: Progress) -> None:
        """The block appears with the first of them."""
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
            self._console.show_cursor(True)  # whatever kills this process, it can be seen

    def _drawn(self) -> "RenderableType":
        """With room behind it for what Ctrl-C types: a line more, and the block would drift."""
        assert self._progress is not None
        return render(look(self._progress), min(self._console.width - len("^C") - 1, WIDEST_LINE))


class Lines:
    """No terminal: plain lines, and a sign of life where nothing else was said for long.

    Args:
        stream: Where they go.
        clock: Whether the time of the day stands before each.
        heartbeat_s: After so many seconds of silence.
    """

    def __init__(self, stream: TextIO, *, clock: bool, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._stream = stream
        self._clock = clock
        self._heartbeat_s = heartbeat_s
        self._said = time.monotonic()
        self._progress: Progress | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def say(self, line: str) -> None:
        """A line."""
        self._said = time.monotonic()
        clock = f"{datetime.now():%H:%M:%S} " if self._clock else ""
        print(f"{clock}{line}", file=self._stream)

    def show(self, progress: Progress) -> None:
        """What the next sign of life is made of."""
        self._progress = progress

    def _beat(self) -> None:
        while not self._over.wait(self._left_s()):
            if self._left_s() <= 0 and self._progress is not None:
                self.say(look(self._progress).line())

    def _left_s(self) -> float:
        """Until there has been silence for too long; soon, where nothing is known yet."""
        left_s = self._said + self._heartbeat_s - time.monotonic()
        return max(left_s, REFRESH_S if self._progress is None else 0.0)


def render(picture: Picture, width: int) -> "RenderableType":
    """The block, at most `width` columns wide."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    rows = Table.grid(padding=(0, 1), expand=True)
    rows.add_column(width=5, style="bold", no_wrap=True)
    rows.add_column(overflow="fold", ratio=1)
    for name, told in _rows(picture):
        rows.add_row(Text(name), told)
    rows.width = width
    return Group(_head(picture, width), rows)


def _head(picture: Picture, width: int) -> "Text":
    """Name, time and what is left, in a rule."""
    from rich.text import Text

    left = "" if picture.left_s is None else f", about {spoken(picture.left_s)} to go"
    right = f" {spoken(picture.elapsed_s)}{left} "
    name = Text(f" {picture.name} ", style="bold")
    name.truncate(max(4, width - len(right) - 6), overflow="ellipsis")
    rule = "─" * max(1, width - 4 - name.cell_len - len(right))
    return Text.assemble("──", name, rule, (right, "bold"), "──", no_wrap=True, overflow="crop")


def _rows(picture: Picture) -> "Iterator[tuple[str, Text]]":
    from rich.text import Text

    filled = round(BAR * picture.done / max(1, picture.planned))
    bar = Text.assemble(("━" * filled, "green"), "─" * (BAR - filled))
    yield "done", Text.assemble(bar, f" {picture.told()}")
    if picture.phase:
        yield "now", Text(picture.phase)
    for trial in picture.now[:TRIALS_LISTED]:
        of = "" if trial.expected_s is None else f" (the trial: about {spoken(trial.expected_s)})"
        yield "now", Text(f"{trial.trial}: {trial.doing} for {spoken(trial.seconds)}{of}")
    if len(picture.now) > TRIALS_LISTED:
        yield "", Text(f"and {len(picture.now) - TRIALS_LISTED} more")
    if picture.best:
        yield "best", Text(picture.best, style="green")
        ties = f", {picture.ties} of them can't be told apart from another one"
        yield "front", Text(counted(picture.front, "trial") + (ties if picture.ties else ""))
    if picture.end:
        yield "ends", Text(picture.end)
