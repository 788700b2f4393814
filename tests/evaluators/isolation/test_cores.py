"""A core has one user at a time."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tunefront.evaluators.isolation.cores import lease_cores

CORES = len(os.sched_getaffinity(0))


def test_a_lease_names_usable_cores() -> None:
    with lease_cores(CORES) as held:
        assert set(held) == os.sched_getaffinity(0)


def test_more_than_there_are_gives_all() -> None:
    with lease_cores(CORES + 5) as held:
        assert len(held) == CORES


def test_a_core_is_never_lent_twice_at_a_time() -> None:
    busy: set[int] = set()
    guard = threading.Lock()
    clashes: list[int] = []

    def use(_: int) -> None:
        with lease_cores(1) as held:
            with guard:
                clashes.extend(core for core in held if core in busy)
                busy.update(held)
            threading.Event().wait(0.01)
            with guard:
                busy.difference_update(held)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(24)))
    assert not clashes


def test_waiting_has_an_end() -> None:
    with (
        lease_cores(CORES),
        pytest.raises(TimeoutError, match="1 cores were not free"),
        lease_cores(1, timeout_s=0.1),
    ):
        pass
