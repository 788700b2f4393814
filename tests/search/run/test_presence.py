"""Searches on one machine know of each other."""

import os

from tunefront.evaluators.isolation.cores import Lessee
from tunefront.search.run.events import OtherSearches
from tunefront.search.run.presence import present
from tunefront.search.terminal.events import event_text


def test_a_search_sees_those_that_run_already() -> None:
    first, second = (Lessee.this_process(name) for name in ("first", "second"))
    with present(first) as others:
        assert others == ()
    with present(first), present(second) as others:
        assert others == (first,)
    with present(second) as others:
        assert others == ()


def test_the_start_names_them() -> None:
    one, two = (Lessee.this_process(name) for name in ("one", "two"))
    pid = os.getpid()
    assert event_text(OtherSearches(searches=(one,))) == (
        "another search is on this machine, and trials wait for each other's cores: "
        f"`one` (pid {pid})"
    )
    assert event_text(OtherSearches(searches=(one, two))) == (
        "2 other searches are on this machine, and trials wait for each other's cores: "
        f"`one` (pid {pid}), `two` (pid {pid})"
    )
