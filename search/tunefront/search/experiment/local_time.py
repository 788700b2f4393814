"""Local times: the next occurrence of a time of day, and seconds between two local times.

Local times are naive, as `datetime.now()` returns them. Subtracting one from another is wrong by an
hour when daylight saving time begins or ends between them; their timestamps are not.
"""

from datetime import datetime, time, timedelta


def next_time(written: str, now: datetime) -> datetime:
    """Return the deadline: the next occurrence of a time of day, or the given date and time.

    A date and time may carry an offset from UTC (`2030-01-31 07:00+01:00`); otherwise it is local.
    A time that occurs twice when clocks are turned back means its next occurrence. A time that is
    skipped when they are turned forward is as long after the change as it would have been.

    Args:
        written: The text.
        now: The local time.

    Raises:
        ValueError: If the text is neither, or the date and time are in the past.
    """
    try:
        if len(written) > len("23:59"):
            named = datetime.fromisoformat(written)
            if named.tzinfo is not None:
                named = datetime.fromtimestamp(named.timestamp())
            if (found := _first_after(now, named)) is not None:
                return found
            raise ValueError(f"a time to come, but {written} is over,")
        hour = time.fromisoformat(written)
        if hour.tzinfo is not None:
            raise ValueError("a time of day has no offset")
        today = datetime.combine(now.date(), hour)
    except ValueError as error:
        if "is over" in str(error):
            raise
        raise ValueError("a time such as '07:00' or '2030-01-31 07:00'") from error
    return _first_after(now, today) or today + timedelta(days=1)


def _first_after(now: datetime, named: datetime) -> datetime | None:
    """Return the first occurrence of a local date and time after `now`; None if all are over."""
    occurrences = (named.replace(fold=0), named.replace(fold=1))
    return next((one for one in occurrences if one.timestamp() > now.timestamp()), None)


def seconds_between(earlier: datetime, later: datetime) -> float:
    """Return the seconds from one local time to another, negative if `later` is the earlier one."""
    return later.timestamp() - earlier.timestamp()


def after_seconds(now: datetime, seconds: float) -> datetime:
    """Return the local time that is some seconds after another one."""
    return datetime.fromtimestamp(now.timestamp() + seconds)
