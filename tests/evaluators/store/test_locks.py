"""Locks end with their holder, and their files may go."""

import threading
import time
from pathlib import Path

from tunefront.evaluators.store.locks import in_use, lock_of, locked


def test_one_holds_a_lock_at_a_time(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with locked(lock) as first, locked(lock, wait=False) as second:
        assert (first, second) == (True, False)
    with locked(lock, wait=False) as after:
        assert after


def test_those_who_share_are_held_beside_each_other(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with locked(lock, shared=True) as first, locked(lock, shared=True, wait=False) as second:
        assert first and second
        with locked(lock, wait=False) as alone:
            assert not alone


def test_what_is_in_use_can_not_be_locked_by_anybody_else(tmp_path: Path) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    with in_use(*paths):
        for path in paths:
            with locked(lock_of(path), wait=False) as held:
                assert not held


def test_whoever_waited_for_a_lock_that_is_gone_holds_the_new_one(tmp_path: Path) -> None:
    """Otherwise two would hold it: one the removed file, another the new one of that name."""
    lock = tmp_path / "lock"
    held_alone: list[bool] = []

    def wait() -> None:
        with locked(lock), locked(lock, wait=False) as other:
            held_alone.append(not other)

    with locked(lock):
        waiting = threading.Thread(target=wait)
        waiting.start()
        time.sleep(0.2)
        lock.unlink()
    waiting.join()
    assert held_alone == [True]
    assert lock.exists()
