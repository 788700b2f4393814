"""Products are whole or not there; a hit is exact."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tunefront.evaluators.store.eviction import clear, shelves
from tunefront.evaluators.store.store import (
    SHARED_CACHE,
    Store,
    cache_folder,
    environment_of,
    fingerprint_of,
    key_of,
)
from tunefront.spaces import Hardware, MachineError


def fill(folder: Path) -> None:
    (folder / "product").write_text("whole")


def test_a_product_is_made_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        fill(folder)

    first, second = store.get_or_make("k" * 32, make), store.get_or_make("k" * 32, make)
    assert first == second == store.path("k" * 32)
    assert len(made) == 1
    assert (first / "product").read_text() == "whole"


def test_a_product_that_failed_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def breaks(folder: Path) -> None:
        fill(folder)
        raise RuntimeError("half done")

    with pytest.raises(RuntimeError, match="half done"):
        store.get_or_make("k" * 32, breaks)
    assert not store.path("k" * 32).exists()
    assert not [path for path in tmp_path.rglob("*") if path.name == "product"]
    assert (store.get_or_make("k" * 32, fill) / "product").exists()


def test_products_of_other_users_are_refused_unless_the_cache_is_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    path = store.get_or_make("k" * 32, fill)
    monkeypatch.delenv(SHARED_CACHE, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: path.stat().st_uid + 1)
    wrong = r"in the cache was made by user \d+, .* set TUNEFRONT_SHARED_CACHE=1 if all users"
    with pytest.raises(MachineError, match=wrong):
        store.find("k" * 32)
    with pytest.raises(MachineError, match=wrong):
        store.get_or_make("k" * 32, fill)
    monkeypatch.setenv(SHARED_CACHE, "1")
    assert store.find("k" * 32) == path


def test_a_link_is_no_product(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    (tmp_path / "other").mkdir()
    store.path("k" * 32).parent.mkdir(parents=True)
    store.path("k" * 32).symlink_to(tmp_path / "other")
    with pytest.raises(MachineError, match="in the cache is a link, not a product; remove it"):
        store.find("k" * 32)


def test_a_product_that_another_user_made_meanwhile_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two users find none; one of them makes it while the other waits for the lock."""
    store, path = Store(tmp_path), Store(tmp_path).path("k" * 32)
    uid = os.getuid()

    @contextmanager
    def late(*_: object, **__: object) -> Iterator[bool]:
        path.mkdir(parents=True)
        monkeypatch.setattr(os, "getuid", lambda: uid + 1)
        yield True

    monkeypatch.delenv(SHARED_CACHE, raising=False)
    monkeypatch.setattr("tunefront.evaluators.store.store.locked", late)
    with pytest.raises(MachineError, match="in the cache was made by user"):
        store.get_or_make("k" * 32, fill)


def test_two_at_once_make_it_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made: list[int] = []
    ready = threading.Barrier(4)

    def make(folder: Path) -> None:
        made.append(1)
        fill(folder)

    def ask() -> None:
        ready.wait()
        store.get_or_make("k" * 32, make)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_keys_depend_on_values_not_on_order() -> None:
    assert key_of(a=1, b="x") == key_of(b="x", a=1)
    assert key_of(a=1) != key_of(a=2)
    assert key_of(a=1) != key_of(b=1)


def test_fingerprints_follow_content_not_place(tmp_path: Path) -> None:
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "file").write_text("content")
    here, there = tmp_path / "here", tmp_path / "there"
    assert fingerprint_of((here,)) == fingerprint_of((there,))
    (there / "file").write_text("other")
    assert fingerprint_of((here,)) != fingerprint_of((there,))


def test_names_of_files_count(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "b").write_text("x")
    assert fingerprint_of((tmp_path / "a",)) != fingerprint_of((tmp_path / "b",))


def test_large_files_count_by_size_time_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tunefront.evaluators.store.store.HASHED_WHOLE", 2**20)
    path = tmp_path / "large"
    path.write_bytes(b"a" * (3 * 2**20))
    before = fingerprint_of((path,))
    path.write_bytes(b"a" * (3 * 2**20 - 1) + b"b")
    assert fingerprint_of((path,)) != before


def test_the_cache_is_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEFRONT_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("TUNEFRONT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "tunefront"


def test_a_product_that_failed_leaves_no_lock(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def breaks(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        store.get_or_make("k" * 32, breaks)
    assert list(store.path("k" * 32).parent.iterdir()) == []


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.find("k" * 32) is None
    store.get_or_make("k" * 32, fill)
    assert store.find("k" * 32) == store.path("k" * 32)


def test_a_product_that_is_held_is_made_once_and_stays(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.held("k" * 32, fill) as path, store.held("k" * 32, fill) as again:
        assert path == again
        assert clear(shelves(tmp_path)) == []
        assert (path / "product").exists()
    assert [product.path for product in clear(shelves(tmp_path))] == [path]


def test_a_product_that_was_evicted_before_it_was_held_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    plain, made = store.get_or_make, 0

    def get_and_lose(key: str, make: Callable[[Path], None]) -> Path:
        nonlocal made
        path = plain(key, make)
        made += 1
        if made == 1:
            clear(shelves(tmp_path))
        return path

    monkeypatch.setattr(store, "get_or_make", get_and_lose)
    with store.held("k" * 32, fill) as path:
        assert (path / "product").exists()
    assert made == 2


def test_the_time_of_a_product_is_when_it_was_whole(tmp_path: Path) -> None:
    """A build whose folder was filled long ago, its files since, is no old product."""

    def slowly(folder: Path) -> None:
        fill(folder)
        os.utime(folder, (0, 0))

    made = Store(tmp_path).get_or_make("k" * 32, slowly)
    assert time.time() - made.stat().st_mtime < 60


def test_the_environment_of_a_key_is_machine_libraries_and_variables() -> None:
    hardware = Hardware(cpu="Made-up CPU", cores=2, memory_mb=1024, libraries={"torch": "1.0"})
    changed = (
        replace(hardware, cores=4),
        replace(hardware, libraries={"torch": "2.0"}),
        replace(hardware, variables={"ONEDNN_MAX_CPU_ISA": "AVX2"}),
    )
    keys = {key_of(environment=environment_of(found)) for found in (hardware, *changed)}
    assert len(keys) == 4
