"""Evaluations where the disk is short, fills up, or is cleared meanwhile."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.evaluators.conftest import TORCH

from tunefront.evaluators import EvaluationSettings, Isolation, Timing, builtin_catalog, evaluate
from tunefront.evaluators.isolation.codec import to_plain
from tunefront.evaluators.pipelines import stage_runner
from tunefront.evaluators.store.eviction import clear, shelves


def test_nothing_is_built_where_room_is_short(
    lm_setting: EvaluationSettings,
    isolation: Isolation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = replace(lm_setting, store=str(tmp_path / "store"))
    own = builtin_catalog().complete(TORCH)
    monkeypatch.setattr(stage_runner, "LEAST_FREE_BYTES", 2**60)
    found = evaluate(settings, own, isolation, tmp_path / "log")
    assert (found.status, found.cause, found.stage) == ("failed", "disk full", "prepare")
    assert f"{settings.store}: " in found.message
    assert "1,070,000,000 GB are needed to build" in found.message
    assert "`tunefront cache --limit SIZE`" in found.message
    assert not list((tmp_path / "store").glob("*/*"))
    monkeypatch.undo()
    assert evaluate(settings, own, isolation, tmp_path / "log").status == "ok"
    monkeypatch.setattr(stage_runner, "LEAST_FREE_BYTES", 2**60)
    # What is found needs no room.
    assert evaluate(settings, own, isolation, tmp_path / "log").status == "ok"


def test_a_large_model_needs_more_room(
    lm_setting: EvaluationSettings,
    isolation: Isolation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Three times its weights, where that is more than the floor."""
    module = stage_runner
    asked: list[int] = []
    monkeypatch.setattr(module, "make_room", lambda _, needed: asked.append(needed))
    monkeypatch.setattr(module, "LEAST_FREE_BYTES", 10)
    settings = replace(lm_setting, store=str(tmp_path / "store"))
    evaluate(settings, builtin_catalog().complete(TORCH), isolation, tmp_path / "log")
    weights = lm_setting.workload.path("model") / "model.safetensors"
    assert set(asked) == {3 * weights.stat().st_size}
    assert len(asked) == 4  # requests, candidate, reference, quality


ON_A_SMALL_DISK = """
import json, sys
from dataclasses import replace
from pathlib import Path
from tunefront.evaluators import EvaluationSettings, Isolation, builtin_catalog, evaluate
from tunefront.evaluators.isolation.codec import from_plain

sys.modules["tunefront.evaluators.pipelines.stage_runner"].LEAST_FREE_BYTES = 0
sys.modules["tunefront.evaluators.pipelines.stage_runner"].MODEL_COPIES = 0
store = Path(sys.argv[2])
setting = from_plain(EvaluationSettings, json.loads(sys.argv[1]))
setting = replace(setting, store=str(store))
isolation = Isolation()
for choices in json.loads(sys.argv[4]):
    own = builtin_catalog().complete({**choices, "threads": 1, "batch_size": 1})
    found = evaluate(setting, own, isolation, Path(sys.argv[3]))
    left = [p.name for p in store.glob("*/.*") if p.is_dir()]
    print(json.dumps([found.status, found.cause, found.stage, left, found.message]))
isolation.close()
"""


FULL = (
    {"runtime": "torch"},
    {"runtime": "openvino"},
    {"runtime": "onnxruntime"},
    {"runtime": "torch", "pruning_ratio": 0.5, "pruning_method": "ffn-channels"},
)
"""Candidates that are built where nothing more can be written."""


@pytest.mark.parametrize("count", [2, pytest.param(len(FULL), marks=pytest.mark.soak)])
def test_a_disk_that_fills_up_is_the_cause_whatever_is_written(
    lm_setting: EvaluationSettings, tmp_path: Path, count: int
) -> None:
    """A store on a file system that holds the requests, but no candidate.

    Only some say so: torch's and OpenVINO's writers merely fail, or end their process.
    """
    alone = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*alone, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    small = tmp_path / "small"
    small.mkdir()
    script = 'mount -t tmpfs -o size=256k tmpfs "$1" && exec "$0" -c "$2" "$3" "$1" "$4" "$5"'
    arguments = [str(small), ON_A_SMALL_DISK, json.dumps(to_plain(lm_setting))]
    done = subprocess.run(
        [
            *(*alone, "sh", "-c", script, sys.executable, *arguments, str(tmp_path / "log")),
            json.dumps(FULL[:count]),
        ],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [entry[:4] for entry in found] == [["failed", "disk full", "build", []]] * count, found


def test_a_candidate_that_is_being_measured_is_not_evicted(
    lm_setting: EvaluationSettings,
    isolation: Isolation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However hard somebody tries, beside its turns."""
    settings = replace(lm_setting, store=str(tmp_path / "store"), baseline=TORCH)
    own = builtin_catalog().complete({**TORCH, "runtime": "onnxruntime"})
    module: Any = sys.modules["tunefront.evaluators.pipelines.inference"]
    plain = module.take_turns
    kept: list[list[bool]] = []

    def clear_and_take_turns(
        settings: EvaluationSettings,
        targets: Sequence[Any],
        isolation: Isolation,
        log: Path,
        *asked: Any,
    ) -> Any:
        def enough(timings: Sequence[Timing], elapsed_s: float) -> bool:
            clear(shelves(tmp_path / "store"))
            read = [folder for c in targets for folder in (c.candidate, c.requests)]
            kept.append([folder.is_dir() for folder in read])
            return bool(asked[0](timings, elapsed_s))

        return plain(settings, targets, isolation, log, enough, *asked[1:])

    monkeypatch.setattr(module, "take_turns", clear_and_take_turns)
    found = evaluate(settings, own, isolation, tmp_path / "log")
    assert found.status == "ok", (found.message, found.log)
    assert found.relative is not None
    assert kept and all(all(there) for there in kept)
    assert len(kept[0]) == 4
    clear(shelves(tmp_path / "store"))
    assert not list((tmp_path / "store").glob("*/*"))
