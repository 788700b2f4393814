"""Pages of a mapped file before and after a fork, as the kernel counts them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tunefront.evaluators.isolation import mapped_pages as module
from tunefront.evaluators.isolation.mapped_pages import map_pages, mapped_pages

FILE_MB = 64
FORK = """
import json, mmap, os, sys
from tunefront.evaluators.isolation.mapped_pages import map_pages, mapped_pages
from tunefront.evaluators.measures.memory import process_memory

path = sys.argv[1]
with open(path, "rb") as file:
    # The first half, and nothing else, is used before the fork.
    kept = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
    kept.madvise(mmap.MADV_RANDOM)
    sum(kept[at] for at in range(0, len(kept) // 2, 4096))
    inode = str(os.fstat(file.fileno()).st_ino)

def of_file():
    files = process_memory().files_mb
    return sum(size for (_, found), size in files.items() if found == inode)

pages, before = mapped_pages(), of_file()
if os.fork() == 0:
    forked = of_file()
    map_pages(pages)
    print(json.dumps({"server": before, "forked": forked, "mapped": of_file()}), flush=True)
    os._exit(0)
os.wait()
"""


def test_a_forked_process_maps_what_its_server_had_mapped(tmp_path: Path) -> None:
    (tmp_path / "library").write_bytes(bytes(FILE_MB * 2**20))
    done = subprocess.run(
        [sys.executable, "-c", FORK, str(tmp_path / "library")],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found["server"] == pytest.approx(FILE_MB / 2, rel=0.1)
    assert found["forked"] < FILE_MB / 16
    assert found["mapped"] == pytest.approx(found["server"], rel=0.02)


def test_pages_that_are_gone_are_left_out() -> None:
    map_pages([(0, 4096)])


def test_without_a_page_map_no_pages_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    assert mapped_pages()
    monkeypatch.setattr(module, "PAGE_MAP", Path("/proc/self/no-such-file"))
    assert mapped_pages() == ()
