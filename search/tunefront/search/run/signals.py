"""SIGINT and SIGTERM: the first stops a search when its running trials have finished."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from .events import OnEvent, StopRequested
from .runner import Runner


@contextmanager
def interruptible(runner: Runner, on_event: OnEvent) -> Iterator[None]:
    """Stop on SIGINT or SIGTERM, see `stop_handler`.

    Installs signal handlers, so it has an effect only in the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stop = stop_handler(runner, on_event)
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop_handler(runner: Runner, on_event: OnEvent) -> Callable[[int, FrameType | None], None]:
    """Return a signal handler that stops the search after running trials have finished.

    It raises KeyboardInterrupt on a second signal, and while the record's file can't be used: what
    has ended can't be recorded then.
    """

    def stop(number: int, _: FrameType | None) -> None:
        if runner.stopped or runner.study.waiting:
            raise KeyboardInterrupt(number)
        runner.signal = number
        on_event(StopRequested(signal=number))

    return stop
