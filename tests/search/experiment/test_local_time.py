"""Deadlines at a time of day, and seconds between local times, also when clocks change."""

import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from tunefront.search.experiment.experiment import Budget
from tunefront.search.experiment.local_time import after_seconds, next_time, seconds_between

NOW = datetime(2030, 1, 31, 19, 30)


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A zone whose clocks go forward on 2030-03-31 at 02:00 and back on 2030-10-27 at 03:00."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("07:00", datetime(2030, 2, 1, 7, 0)),
        ("19:30", datetime(2030, 2, 1, 19, 30)),
        ("22:15", datetime(2030, 1, 31, 22, 15)),
        ("2030-02-03 06:30", datetime(2030, 2, 3, 6, 30)),
    ],
)
def test_a_deadline_is_the_next_such_time(written: str, expected: datetime) -> None:
    assert next_time(written, NOW) == expected


@pytest.mark.parametrize("written", ["7 o'clock", "25:00", "7", "", "07Z", "2030-01-31 07:00"])
def test_what_is_no_time_to_come_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="a time"):
        next_time(written, NOW)


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    ("now", "until", "hours"),
    [
        (datetime(2030, 3, 30, 22), "07:00", 8),  # forward: the night has an hour less
        (datetime(2030, 10, 26, 22), "07:00", 10),  # back: it has an hour more
        (datetime(2030, 6, 1, 22), "07:00", 9),
        (datetime(2030, 3, 30, 22), "2030-03-31 07:00", 8),
        (datetime(2030, 3, 29, 22), "2030-03-31 07:00", 32),
        (datetime(2030, 10, 27, 1, 30), "02:30", 1),  # twice: the first one
        (datetime(2030, 10, 27, 2, 30), "02:30", 1),  # the second one, from the first
        (datetime(2030, 10, 27, 2, 30, fold=1), "02:30", 24),  # tomorrow's, from the second
        (datetime(2030, 10, 27, 2, 30), "02:00", 0.5),
        (datetime(2030, 10, 27, 2, 30, fold=1), "07:00", 4.5),
        (datetime(2030, 3, 31, 1, 30), "02:30", 1),  # skipped: as long after 01:30
        (datetime(2030, 3, 31, 3, 30), "02:30", 23),
    ],
)
def test_a_deadline_over_a_change_of_the_clock(now: datetime, until: str, hours: float) -> None:
    budget = Budget(trials=None, hours=None, until=until)
    assert budget.seconds(0.0, now) == hours * 3600


@pytest.mark.usefixtures("berlin")
def test_an_offset_from_utc_is_kept() -> None:
    """07:00 in New York is 13:00 in Berlin in winter."""
    assert next_time("2030-02-01 07:00-05:00", NOW) == datetime(2030, 2, 1, 13, 0)


@pytest.mark.usefixtures("berlin")
def test_the_displayed_time_is_the_clock_s_after_the_change() -> None:
    before = datetime(2030, 3, 30, 22)
    assert seconds_between(before, datetime(2030, 3, 31, 7)) == 8 * 3600
    assert after_seconds(before, 8 * 3600) == datetime(2030, 3, 31, 7)
    assert seconds_between(datetime(2030, 3, 31, 7), before) == -8 * 3600
