"""A clock that only calls move, in place of the time."""

import time
from collections.abc import Sequence

import pytest

from .timings import Clock, Watch


@pytest.fixture
def clocked(monkeypatch: pytest.MonkeyPatch) -> type[Clock]:
    """A clock class whose newest instance is the time."""

    class Installed(Clock):
        def __init__(self, seconds: Sequence[float]) -> None:
            super().__init__(seconds)
            monkeypatch.setattr(time, "perf_counter", lambda: self.now)
            monkeypatch.setattr(time, "perf_counter_ns", lambda: round(self.now * 1e9))

            monkeypatch.setattr(
                "tunefront.evaluators.exports.verification.ProcessWatch", lambda _: Watch(self)
            )

    return Installed
