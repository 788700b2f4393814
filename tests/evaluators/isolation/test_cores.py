"""A core has one user at a time."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tunefront.evaluators.isolation.cores import lease_cores
from tunefront.spaces import detect_hardware
from tunefront.spaces.machine.topology import Core

CORES = detect_hardware().leasable_cores
THREADED = [Core(number=1000 + n, cpus=(1000 + n, 1004 + n)) for n in range(4)]
"""Four cores with two hyperthreads each, numbered beyond those of this machine."""


def test_a_lease_names_usable_cores() -> None:
    with lease_cores(CORES) as held:
        assert len(held) == CORES
        assert set(held) <= os.sched_getaffinity(0)


def test_more_than_there_are_gives_all() -> None:
    with lease_cores(13, cores=THREADED) as held:
        assert held == list(range(1000, 1008))


@pytest.mark.parametrize(
    ("threads", "cpus"),
    [
        (1, [1000]),
        (2, [1000, 1001]),
        (4, [1000, 1001, 1002, 1003]),
        (6, [1000, 1001, 1002, 1003, 1004, 1005]),
    ],
)
def test_each_thread_has_a_core_as_long_as_there_are_as_many(threads: int, cpus: list[int]) -> None:
    """Also in the first part of a lease, where a candidate with fewer threads runs."""
    with lease_cores(threads, cores=THREADED) as held:
        assert held == cpus


def refuses(cores: list[Core]) -> bool:
    """Whether no core of these is free."""
    try:
        with lease_cores(1, timeout_s=0.0, cores=cores):
            return False
    except TimeoutError:
        return True


def test_hyperthreads_of_one_core_are_not_lent_to_two_trials() -> None:
    with lease_cores(3, cores=THREADED) as first, lease_cores(1, cores=THREADED) as second:
        assert (first, second) == ([1000, 1001, 1002], [1003])
        assert refuses(THREADED)
    with lease_cores(5, cores=THREADED):  # all four cores
        assert refuses(THREADED)
    assert not refuses(THREADED)


def test_a_core_is_the_same_in_a_process_that_may_use_its_other_hyperthread_only() -> None:
    with lease_cores(1, cores=[Core(number=1000, cpus=(1000,))]):
        assert refuses([Core(number=1000, cpus=(1004,))])


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
