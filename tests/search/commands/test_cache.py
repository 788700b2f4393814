"""The command that tells what the cache holds, and makes it smaller."""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunefront.evaluators import Store, prepared_folder, stages_folder
from tunefront.evaluators.store.eviction import LIMIT
from tunefront.evaluators.store.locks import in_use
from tunefront.evaluators.store.store import key_of
from tunefront.search.cli import main
from tunefront.search.commands.cache import parse_size
from tunefront.search.experiment.experiment import Prepare
from tunefront.search.run.events import Event, PreparationStarted
from tunefront.search.run.preflight import prepare
from tunefront.spaces import CacheError, WorkloadError

MB = 2**20
Cache = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Cache:
    """`tunefront cache` on a folder of its own: exit code, stdout, stderr."""
    monkeypatch.setenv("TUNEFRONT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(LIMIT, "2")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tunefront", "cache", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        text = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, text.out, text.err

    return run


def add(name: str, hours: float) -> Path:
    """A product of one MB that was last used so many hours ago."""
    path = Store(stages_folder()).get_or_make(
        key_of(name=name), lambda folder: fill(folder / "product")
    )
    then = time.time() - hours * 3600
    os.utime(path, (then, then))
    return path


def add_prepared(name: str) -> Path:
    path = prepared_folder() / name
    path.mkdir(parents=True)
    fill(path / "model")
    return path


def fill(path: Path) -> None:
    path.write_bytes(b"x" * MB)


def record(expected: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(expected)
    return found


def test_an_empty_cache_is_reported(cache: Cache, tmp_path: Path) -> None:
    code, out, _ = cache("--format", "json")
    assert code == 0
    assert record(out) == {
        "schema": 1,
        "folder": str(tmp_path / "cache"),
        "products": 0,
        "size_mb": 0.0,
        "limit_mb": 2048.0,
        "oldest": None,
        "prepared": {"folders": 0, "size_mb": 0.0},
        "removed": {"folders": 0, "size_mb": 0.0},
    }
    assert not (tmp_path / "cache").exists()


def test_folder_size_products_limit_and_oldest_are_reported(cache: Cache, tmp_path: Path) -> None:
    add("one", 30)
    add("other", 2)
    add_prepared("quickstart-abc")
    code, out, err = cache()
    assert (code, err) == (0, "")
    for text in (str(tmp_path / "cache"), "2, 2 MB", "2 GB", "last used", "1, 1 MB"):
        assert text in out
    found = record(cache("--format", "json")[1])
    assert (found["products"], found["size_mb"]) == (2, 2.0)
    assert found["prepared"] == {"folders": 1, "size_mb": 1.0}
    assert found["oldest"].startswith(time.strftime("%Y-%m-%dT%H", time.localtime(ago(30))))


def ago(hours: float) -> float:
    return time.time() - hours * 3600


def test_a_limit_evicts_down_to_it_whatever_was_used_lately(cache: Cache) -> None:
    old, new, prepared = add("old", 0.2), add("new", 0.1), add_prepared("quickstart-abc")
    code, _, err = cache("--limit", "1MB")
    assert code == 0
    assert "removed 1 folders, 1 MB\n" in err
    assert [path.is_dir() for path in (old, new, prepared)] == [False, True, True]
    assert "removed 0 folders" in cache("--limit", "1MB")[2]


def test_what_is_in_use_stays_and_is_reported(cache: Cache) -> None:
    held, free, prepared = add("held", 3), add("free", 2), add_prepared("quickstart-abc")
    with in_use(held):
        assert "removed 1 folders, 1 MB; 1 in use stay" in cache("--limit", "0.1MB")[2]
        assert [path.is_dir() for path in (held, free)] == [True, False]
        with in_use(prepared):
            assert "removed 0 folders, 0 MB; 2 in use stay" in cache("--clear")[2]
    assert prepared.is_dir()


def test_clear_removes_products_and_what_was_prepared(cache: Cache, tmp_path: Path) -> None:
    add("one", 0)
    add("other", 5)
    add_prepared("quickstart-abc")
    code, out, err = cache("--clear", "--format", "json")
    assert (code, err) == (0, "")
    assert record(out)["removed"] == {"folders": 3, "size_mb": 3.0}
    assert record(out)["products"] == 0
    assert [p.name for p in (tmp_path / "cache").rglob("*") if p.is_file()] == [".tidied"]


@pytest.mark.parametrize("arguments", [("--limit", "much"), ("--limit", "10"), ("--limit", "0GB")])
def test_a_size_that_is_none_is_refused(cache: Cache, arguments: tuple[str, ...]) -> None:
    path = add("one", 5)
    code, _, err = cache(*arguments)
    assert code == 2
    assert "--limit: a size above 0 such as 500MB, 10GB or 1.5TB is needed, but got" in err
    assert path.is_dir()


def test_one_thing_at_a_time(cache: Cache) -> None:
    code, _, err = cache("--limit", "1GB", "--clear")
    assert code == 2
    assert "--limit and --clear: one of the two" in err


def test_a_limit_in_the_environment_that_is_none_is_refused(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LIMIT, "much")
    code, _, err = cache()
    assert code == 2
    assert f"{LIMIT}: a number of GB above 0 is needed, but got 'much'" in err


@pytest.mark.parametrize(
    ("written", "size"), [("500MB", 500 * MB), ("1.5 gb", 1536 * MB), ("2TB", 2 * 2**40)]
)
def test_sizes_are_read_with_their_unit(written: str, size: int) -> None:
    assert parse_size(written) == size


def test_a_size_without_a_unit_is_none() -> None:
    with pytest.raises(CacheError, match="such as 500MB, 10GB or 1.5TB"):
        parse_size("1024")


def test_what_a_script_prepares_is_whole_or_not_there(cache: Cache, tmp_path: Path) -> None:
    script = tmp_path / "prepare.py"
    step = Prepare(script=script, folder=prepared_folder() / "quickstart-abc")
    events: list[Event] = []
    script.write_text("import sys; open(sys.argv[1] + '/half', 'w'); raise SystemExit(7)")
    with pytest.raises(WorkloadError, match=r"prepare\.py ended with exit code 7"):
        prepare(step, events.append)
    assert list(prepared_folder().iterdir()) == []
    script.write_text("import sys; open(sys.argv[1] + '/model', 'w')")
    prepare(step, events.append)
    prepare(step, events.append)
    prepare(None, events.append)
    assert events == [PreparationStarted(script=script, folder=step.folder)] * 2
    assert [path.name for path in step.folder.iterdir()] == ["model"]
