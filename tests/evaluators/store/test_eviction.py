"""The least recently used go first, and never what somebody may be reading."""

import os
import shutil
import time
from pathlib import Path

import pytest

from tunefront.evaluators.store import eviction
from tunefront.evaluators.store.eviction import (
    ABANDONED_S,
    EVERY_S,
    GB,
    RECENT_S,
    cache_limit,
    clear,
    evict,
    make_room,
    products,
    shelves,
    tidy,
)
from tunefront.evaluators.store.locks import in_use, lock_of, locked
from tunefront.evaluators.store.store import Store, key_of
from tunefront.spaces import CacheError, EvaluationError

SIZE = 1000
HOUR = 3600.0


class Shelf:
    """A store whose products take `SIZE` bytes each."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root)

    def add(self, name: str, hours: float) -> Path:
        """A product that was last used so many hours ago."""
        path = self.store.get_or_make(
            key_of(name=name), lambda folder: fill(folder / "below" / "product")
        )
        return aged(path, hours)


def fill(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x" * SIZE)


def aged(path: Path, hours: float) -> Path:
    then = time.time() - hours * HOUR
    os.utime(path, (then, then))
    return path


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "store")


def names(root: Path) -> list[str]:
    """Everything that lies beside products, hidden or not."""
    return sorted(path.name for path in root.glob("*/*"))


def test_the_least_recently_used_go_first_until_it_is_below_the_limit(shelf: Shelf) -> None:
    paths = [shelf.add(f"p{hours}", hours) for hours in (3, 5, 2, 4)]
    gone = evict(shelf.store.root, 2 * SIZE)
    assert [product.path for product in gone] == [paths[1], paths[3]]
    assert [product.size for product in gone] == [SIZE, SIZE]
    assert [path.is_dir() for path in paths] == [True, False, True, False]
    assert not any(lock_of(path).exists() for path in (paths[1], paths[3]))


def test_nothing_goes_below_the_limit(shelf: Shelf) -> None:
    paths = [shelf.add(f"p{hours}", hours) for hours in (3, 5)]
    assert evict(shelf.store.root, 2 * SIZE) == []
    assert all(path.is_dir() for path in paths)


def test_a_hit_renews_the_time(shelf: Shelf) -> None:
    old, newer = shelf.add("old", 9), shelf.add("newer", 2)
    assert shelf.store.find(key_of(name="old")) == old
    evict(shelf.store.root, SIZE)
    assert old.is_dir() and not newer.exists()
    aged(old, 9)
    shelf.add("old", 0)
    assert [product.path for product in products(shelves(shelf.store.root))] == [old]


def test_what_was_used_within_the_last_hour_stays(shelf: Shelf) -> None:
    recent, older = shelf.add("recent", 0.9), shelf.add("older", 1.1)
    assert [product.path for product in evict(shelf.store.root, 0)] == [older]
    assert recent.is_dir()


def test_what_was_used_while_others_were_evicted_stays(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list of products is old when it comes to the last of them."""
    path = shelf.add("used meanwhile", 5)
    listed = products(shelves(shelf.store.root))
    monkeypatch.setattr(eviction, "products", lambda _: listed)
    shelf.store.find(key_of(name="used meanwhile"))
    assert evict(shelf.store.root, 0) == []
    assert path.is_dir()


def test_what_somebody_holds_stays(shelf: Shelf) -> None:
    held, free = shelf.add("held", 5), shelf.add("free", 4)
    with in_use(held):
        assert [p.path for p in evict(shelf.store.root, 0, unused_s=0.0)] == [free]
        assert clear(shelves(shelf.store.root)) == []
        assert (held / "below" / "product").stat().st_size == SIZE
    assert [p.path for p in clear(shelves(shelf.store.root))] == [held]


def test_the_hour_does_not_count_where_the_user_asks(shelf: Shelf) -> None:
    paths = [shelf.add(name, 0) for name in ("a", "b")]
    assert len(evict(shelf.store.root, SIZE, unused_s=0.0)) == 1
    assert len([path for path in paths if path.exists()]) == 1


def test_half_built_folders_go_after_a_day_unless_somebody_builds_them(shelf: Shelf) -> None:
    product = shelf.add("product", 0)
    key = "0123456789abcdef" * 2
    days = ABANDONED_S / HOUR
    old, young, other = (product.parent / f".{key}-{name}" for name in ("old", "young", "other"))
    for partial, hours in ((old, days + 1), (young, days - 1), (other, days + 1)):
        fill(partial / "half")
        aged(partial, hours)
    with locked(lock_of(product.parent / key)):
        evict(shelf.store.root, 10 * SIZE)
        assert old.is_dir() and young.is_dir()
    evict(shelf.store.root, 10 * SIZE)
    assert names(shelf.store.root) == sorted([young.name, product.name, lock_of(product).name])


def test_half_removed_folders_and_locks_of_nothing_go(shelf: Shelf) -> None:
    product = shelf.add("product", 0)
    fill(product.parent / ".gone-something-1234" / "half")
    stale, held = (product.parent / f".{name}.lock" for name in ("stale", "held"))
    stale.touch()
    with locked(held):
        evict(shelf.store.root, 10 * SIZE)
        assert names(shelf.store.root) == sorted([product.name, lock_of(product).name, held.name])


def test_a_reader_never_sees_half_a_product(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """When its files go, it has its name no more."""
    path = shelf.add("product", 5)
    seen: list[bool] = []

    def look(gone: Path, **_: object) -> None:
        seen.append(path.exists())
        assert (gone / "below" / "product").exists()

    monkeypatch.setattr(shutil, "rmtree", look)
    evict(shelf.store.root, 0)
    assert seen[0] is False


def test_the_store_is_tidied_after_a_product_was_made_and_once_a_minute(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(eviction.LIMIT, str(2.5 * SIZE / GB))
    root = shelf.store.root
    old = [shelf.add(f"old {number}", 5 - number) for number in range(3)]
    assert all(path.is_dir() for path in old)
    looked = root / ".tidied"
    stamp = looked.stat().st_mtime - EVERY_S - 1
    os.utime(looked, (stamp, stamp))
    new = shelf.add("new", 0)
    assert [path.is_dir() for path in (*old, new)] == [False, False, True, True]


def test_a_hit_costs_no_look_at_the_store(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shelf.add("product", 0)
    monkeypatch.delenv(eviction.LIMIT, raising=False)
    monkeypatch.setattr("tunefront.evaluators.store.store.tidy", lambda _: pytest.fail("looked"))
    assert shelf.store.get_or_make(path.name, lambda _: pytest.fail("made")) == path


def test_a_store_that_can_not_be_tidied_still_serves(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("not yours")

    monkeypatch.setattr(eviction, "evict", refuse)
    assert shelf.add("product", 0).is_dir()
    tidy(shelf.store.root)


def test_the_limit_is_what_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(eviction.LIMIT, "1.5")
    assert cache_limit(tmp_path) == 1.5 * GB
    for wrong in ("", "many", "0", "-1", "nan", "inf"):
        monkeypatch.setenv(eviction.LIMIT, wrong)
        with pytest.raises(CacheError, match="a number of GB above 0 is needed, but got"):
            cache_limit(tmp_path)


@pytest.mark.parametrize(("disk_gb", "limit_gb"), [(100.0, 25.0), (1000.0, 50.0)])
def test_the_limit_is_a_quarter_of_a_small_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk_gb: float, limit_gb: float
) -> None:
    monkeypatch.delenv(eviction.LIMIT, raising=False)
    monkeypatch.setattr(eviction, "total_bytes", lambda _: disk_gb * GB)
    assert cache_limit(tmp_path / "not there yet") == limit_gb * GB


def test_room_is_made_by_evicting_no_more_than_is_missing(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk holds five products; what is free is what the store leaves."""
    root = shelf.store.root
    paths = [shelf.add(f"p{hours}", hours) for hours in (2, 5, 4, 3)]

    def free(_: Path) -> float:
        return 5 * SIZE - sum(product.size for product in products(shelves(root)))

    monkeypatch.setattr(eviction, "free_bytes", free)
    make_room(root, SIZE)
    assert all(path.is_dir() for path in paths)
    make_room(root, 3 * SIZE)
    assert [path.is_dir() for path in paths] == [True, False, False, True]


def test_too_little_room_is_said_with_the_next_step(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    recent = shelf.add("recent", RECENT_S / HOUR / 2)
    monkeypatch.setattr(eviction, "free_bytes", lambda _: 0.25 * GB)
    with pytest.raises(EvaluationError) as caught:
        make_room(shelf.store.root, 3 * GB)
    assert caught.value.cause == "disk full"
    assert str(caught.value) == (
        f"{shelf.store.root}: 0.25 GB are free, 3 GB are needed to build; free some space "
        "there, or make the cache smaller with `tunefront cache --limit SIZE`"
    )
    assert recent.is_dir()
