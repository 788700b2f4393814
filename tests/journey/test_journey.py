"""From a file to a result: real Ray, Optuna, MLflow and runtimes, a tiny model."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import mlflow
import pytest

from tunefront.search import run_search
from tunefront.search.tracking.views import supported

from .conftest import SECRET, Journey, environment

TRIALS = 6


def runs_of(journey: Journey) -> list[Any]:
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{journey.folder}/results/mlflow.db")
    experiment = client.get_experiment_by_name("tiny journey")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def test_the_search_succeeds_and_prints_a_result(journey: Journey) -> None:
    done = journey.first
    assert done.returncode == 0, done.stderr
    assert "recommended" in done.stdout
    assert f"{TRIALS} trials" in done.stderr
    assert "viewStateShareKey=front" in done.stderr
    for line in (*done.stdout.splitlines(), *done.stderr.splitlines()):
        assert "Traceback" not in line
        assert "Warning" not in line


def test_the_record_holds_every_trial_whole(journey: Journey) -> None:
    shown = journey.read("show", journey.file, "--all", "--format", "json")
    trials = json.loads(shown.stdout)
    assert [trial["number"] for trial in trials] == list(range(TRIALS))
    assert len({json.dumps(t["configuration"], sort_keys=True) for t in trials}) == TRIALS
    assert trials[0]["configuration"]["runtime"] == "torch"
    for trial in trials:
        assert trial["status"] in ("ok", "infeasible"), trial["message"]
        assert {"throughput", "peak_memory_mb", "perplexity", "quality_drop"} <= set(
            trial["measurements"]
        )
        assert trial["facts"]["runtime"] == trial["configuration"]["runtime"]


def test_the_same_command_has_nothing_left_to_do(
    journey: Journey, capfd: pytest.CaptureFixture[str]
) -> None:
    again = journey.read("run", journey.file, "--format", "json")
    printed = capfd.readouterr().err + again.stderr
    assert again.returncode == 0, printed
    events = [json.loads(line) for line in again.stdout.splitlines()]
    assert [event["event"] for event in events if event["event"] != "progress_changed"] == [
        "workload_check_started",
        "search_resumed",
        "nothing_to_run",
        "report_written",
        "search_finished",
    ]
    assert events[-1]["outcome"] == "done"
    assert events[-1]["result"]["picks"]
    assert f"resuming: {TRIALS} trials recorded\n" in printed
    assert "nothing left to run" in printed
    assert f"{TRIALS} trials" in printed
    assert len(runs_of(journey)) == TRIALS + 1


def test_mlflow_has_a_run_a_trial_and_a_summary(journey: Journey) -> None:
    runs = {run.data.tags["trial"]: run for run in runs_of(journey)}
    assert set(runs) == {*map(str, range(TRIALS)), "summary"}
    baseline = runs["0"]
    assert baseline.data.metrics["speedup_x"] == 1.0
    assert baseline.data.params["runtime"] == "torch"
    assert baseline.data.tags["shortlist"] == "true"
    for number in range(TRIALS):
        run = runs[str(number)]
        assert run.info.status == "FINISHED"
        assert run.data.tags["status"] in ("ok", "infeasible")
        assert run.data.tags["front"] in ("true", "false")
        assert run.data.tags["trust"].partition(":")[0] in ("confirmed", "single", "unconfirmed")
        if run.data.tags["status"] == "ok":
            assert 0 <= run.data.metrics["front_chance"] <= 1
        assert run.data.tags["mlflow.runColor"].startswith("#")
        assert len(run.info.run_name) <= 40
    assert any("recommended" in run.data.tags.get("picks", "") for run in runs.values())


def test_mlflow_opens_on_the_front(journey: Journey) -> None:
    assert supported(version("mlflow"))
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{journey.folder}/results/mlflow.db")
    experiment = client.get_experiment_by_name("tiny journey")
    assert experiment is not None
    views = [tag for tag in experiment.tags if tag.startswith("mlflow.sharedViewState.")]
    keys = {view.rsplit(".", 1)[1] for view in views}
    assert keys == {"front", "picks", "all", "failed", "outputs"}
    note = experiment.tags["mlflow.note.content"]
    assert note.startswith("**")
    assert "![the front]" in note
    runs = rf"#/experiments/{experiment.experiment_id}/runs"
    assert re.search(rf"\[the whole report\]\({runs}/\w+/artifacts/report\.html\)", note)


def test_the_summary_holds_picture_and_tables(journey: Journey) -> None:
    found = {path.name for path in (journey.folder / "results" / "artifacts").rglob("*")}
    assert {"front.png", "trials.csv", "trials.json", "search.json", "experiment.yaml"} <= found
    assert "report.html" in found
    record = json.loads((journey.results / "search.json").read_text())
    reasons = [dropped["reason"] for dropped in record["space"]["dropped"]]
    assert "onnxruntime does not support precision bf16; it supports fp32" in reasons


def test_the_report_lies_beside_the_record_and_is_written_anew(
    journey: Journey, tmp_path: Path
) -> None:
    beside = journey.results / "report.html"
    assert f"report: {beside}" in journey.first.stderr
    whole = beside.read_text(encoding="utf-8")
    assert "onnxruntime does not support precision bf16; it supports fp32" in whole
    named = tmp_path / "mine.html"
    again = journey.read("report", journey.file, "--output", named)
    assert (again.returncode, again.stdout) == (0, f"{named}\n"), again.stderr
    assert "Recommended" in named.read_text(encoding="utf-8")
    assert journey.read("report", journey.file).stdout == f"{beside}\n"


def test_finalists_were_measured_again(journey: Journey) -> None:
    from tunefront.search import load_experiment
    from tunefront.search.study.study import Study

    confirmation = Study.read(load_experiment(journey.file)).confirmation()
    assert set(confirmation.rounds) >= {0}
    assert set(confirmation.rounds) <= set(confirmation.finalists)
    for number, rounds in confirmation.rounds.items():
        # The baseline takes part whenever new finalists are looked for.
        assert len(rounds) == 2 or (number == 0 and len(rounds) in (4, 6))
        assert all(len(found.ratios) >= 3 for found in rounds)
        assert all(found.values["throughput"] > 0 for found in rounds)


def test_show_prints_csv_that_parses(journey: Journey) -> None:
    shown = journey.read("show", journey.file, "--all", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(shown.stdout)))
    assert len(rows) == TRIALS
    assert float(rows[0]["throughput"]) > 0


def test_show_tells_everything_about_a_trial(journey: Journey) -> None:
    shown = journey.read("show", journey.file, "0")
    assert "read-back" in shown.stdout
    assert "throughput" in shown.stdout


def test_status_counts(journey: Journey) -> None:
    told = journey.read("status", journey.file).stdout.splitlines()[0]
    assert told.startswith(f"tiny journey: {TRIALS} of {TRIALS} trials (")
    assert told.endswith("); not running")
    rows = journey.read("status", journey.file, "--format", "csv").stdout
    assert rows == journey.read("show", journey.file, "--all", "--format", "csv").stdout
    told = journey.read("status", journey.file, "--format", "json").stdout
    assert json.loads(told)["run"]["planned"] == TRIALS


def test_pick_applies_other_limits_without_running_trials(journey: Journey) -> None:
    loose = journey.read("pick", journey.file, "--prefer", "throughput", "--format", "json")
    assert loose.returncode == 0
    result = json.loads(loose.stdout)
    assert result["schema"] == 1
    assert result["picks"][0]["reason"].startswith("best throughput within limits")  # or tied
    none = journey.read("pick", journey.file, "--limit", "latency_ms<=0.000001")
    assert none.returncode == 3
    assert "no trial meets the limits; the nearest" in none.stdout
    assert none.stdout.count(" ms (limit latency_ms <= 0.000001 ms)") == 3
    wrong = journey.read("pick", journey.file, "--limit", "latncy_ms<=1")
    assert wrong.returncode == 2
    assert "did you mean 'latency_ms'" in wrong.stderr


def test_compare_shows_what_differs(journey: Journey) -> None:
    told = journey.read("show", journey.file, "--all", "--format", "json").stdout
    numbers = [trial["number"] for trial in json.loads(told) if trial["status"] != "failed"]
    names = [str(number) for number in numbers]
    shown = journey.read("compare", journey.file, *names)
    assert shown.returncode == 0, shown.stderr
    assert "throughput" in shown.stdout
    assert "from 000; " in shown.stdout
    told = json.loads(journey.read("compare", journey.file, *names, "--format", "json").stdout)
    assert [trial["number"] for trial in told["trials"]] == numbers
    assert len(told["items"]) == 12
    for sample in told["items"]:
        assert all(answer["output"] and answer["quality"] for answer in sample["outputs"])
    table = journey.read("compare", journey.file, *names, "--format", "csv").stdout
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [row["kind"] for row in rows].count("output") == 12
    assert {row["000"] for row in rows if row["name"] == "runtime"} == {"torch"}
    missing = journey.read("compare", journey.file, "99")
    assert missing.returncode == 2
    assert "there are 0 to 5" in missing.stderr


def test_the_python_call_gives_typed_results(journey: Journey) -> None:
    with patch.dict(os.environ, environment(journey.cache), clear=True):
        finished = run_search(str(journey.file))
    assert (finished.outcome, finished.exit_code) == ("done", 0)
    assert len(finished.result.trials) == TRIALS
    assert finished.result.front.recommended is not None
    assert finished.result.headline()


@pytest.fixture(scope="session")
def exported(journey: Journey) -> Path:
    folder = journey.folder / "exported"
    relative = os.path.relpath(folder)
    done = journey.read("export", journey.file, "recommended", "--output", relative)
    assert done.returncode == 0, done.stderr
    assert "exported and verified" in done.stdout
    return folder


def test_an_export_is_complete(exported: Path) -> None:
    names = {path.name for path in exported.iterdir()}
    assert {
        "README.md",
        "candidate.json",
        "configuration.json",
        "manifest.json",
        "processor",
        "run.py",
        "samples.npz",
    } <= names
    assert "serve.py" not in names  # it would answer with scores
    readme = (exported / "README.md").read_text()
    assert "There is no `serve.py`: its outputs are scores of tokens, which answer no" in readme
    manifest = json.loads((exported / "manifest.json").read_text())
    assert manifest["measurements"]["throughput"]["low"] > 0
    assert "model" not in {path.suffix for path in exported.rglob("*")}
    assert not [p for p in exported.rglob("*") if p.suffix in (".pkl", ".pickle", ".pt", ".pth")]


def test_no_part_of_an_export_is_a_pickle(
    exported: Path, pickled_parts: Callable[[Path], list[str]]
) -> None:
    assert pickled_parts(exported) == []


def test_no_secret_of_the_environment_is_written_down(
    journey: Journey, exported: Path, parts_with: Callable[[Path, str], list[str]]
) -> None:
    """Neither in the record, MLflow's store, Ray's folder and the logs, nor in cache or export."""
    assert exported.is_relative_to(journey.folder)
    for folder in (journey.folder, journey.cache):
        assert parts_with(folder, "tiny journey" if folder == journey.folder else "onnx")
        assert parts_with(folder, SECRET) == []


def test_the_export_s_script_needs_no_tunefront(exported: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", str(exported / "run.py")], capture_output=True, text=True, check=True
    )
    assert "largest difference 0.0" in done.stdout


def test_evaluators_load_an_export_without_the_search(exported: Path) -> None:
    program = f"""
import sys
sys.modules.update(ray=None, optuna=None, mlflow=None)
import numpy as np
from tunefront.evaluators import load
model = load({str(exported)!r})
samples = np.load({str(exported / "samples.npz")!r})
inputs = {{k[6:]: v for k, v in samples.items() if k.startswith("input_")}}
np.testing.assert_allclose(model(inputs)[0], samples["output_0"], atol=1e-4)
print("fine")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "fine", done.stderr


def test_verify_says_what_holds(journey: Journey, exported: Path) -> None:
    done = journey.read("verify", exported)
    assert done.returncode == 0, done.stdout
    assert "verified" in done.stdout
    checks = json.loads(journey.read("verify", exported, "--format", "json").stdout)
    assert [check["name"] for check in checks][:3] == ["files", "outputs", "choices"]


@pytest.mark.parametrize("damage", ["changed", "missing", "added"])
def test_a_tampered_export_is_refused(
    journey: Journey, exported: Path, tmp_path: Path, damage: str
) -> None:
    import shutil

    copy = tmp_path / "export"
    shutil.copytree(exported, copy)
    target = copy / "run.py"
    if damage == "changed":
        target.write_text(target.read_text() + "# one more line\n")
    elif damage == "missing":
        target.unlink()
    else:
        (copy / "extra.py").write_text("print('not ours')\n")
    done = journey.read("verify", copy)
    assert done.returncode == 5
    assert damage in done.stdout


def test_an_export_with_other_outputs_is_refused(
    journey: Journey, exported: Path, tmp_path: Path
) -> None:
    import shutil

    import numpy as np

    from tunefront.evaluators.exports.folder import write_manifest

    copy = tmp_path / "export"
    shutil.copytree(exported, copy)
    with np.load(copy / "samples.npz") as arrays:
        samples = {name: arrays[name] for name in arrays.files}
    samples["output_0"] = samples["output_0"] + 1.0
    np.savez(copy / "samples.npz", **samples)
    manifest = json.loads((copy / "manifest.json").read_text())
    fields = {k: v for k, v in manifest.items() if k not in ("files", "format")}
    write_manifest(copy, fields)
    done = journey.read("verify", copy)
    assert done.returncode == 5
    assert "DOES NOT HOLD" in done.stdout


def test_what_is_no_export_is_refused(journey: Journey, tmp_path: Path) -> None:
    assert journey.read("verify", tmp_path / "nowhere").returncode == 2
    empty = journey.read("verify", tmp_path)
    assert empty.returncode == 2
    assert "no manifest.json here: it is no export" in " ".join(empty.stderr.split())


def test_an_export_is_not_written_over(journey: Journey, exported: Path) -> None:
    done = journey.read("export", journey.file, "--output", exported)
    assert done.returncode == 2
    assert "exists already" in done.stderr


def test_a_second_driver_is_refused(journey: Journey) -> None:
    import fcntl

    lock = journey.folder / "results" / ".tiny-journey.lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = journey.read("run", journey.file)
    assert done.returncode == 2
    assert "is being run already" in done.stderr


def test_another_model_under_the_same_name_is_refused(journey: Journey, tmp_path: Path) -> None:
    text = journey.file.read_text()
    data = next(line.split()[1] for line in text.splitlines() if line.startswith("  data:"))
    changed = tmp_path / "data.jsonl"
    changed.write_text(Path(data).read_text() + '{"text": "one more line"}\n')
    done = journey.read("run", journey.file, "--set", f"workload.data={changed}")
    assert done.returncode == 2
    assert "model and data: was" in done.stderr
    assert "--fresh" in done.stderr


def test_the_cache_tells_what_it_holds(journey: Journey) -> None:
    told = json.loads(journey.read("cache", "--format", "json").stdout)
    assert told["folder"] == str(journey.cache)
    assert told["products"] > TRIALS
    assert 0 < told["size_mb"] < told["limit_mb"]
    shown = journey.read("cache")
    assert f"{told['products']}, " in shown.stdout


def test_a_limit_that_is_none_is_refused_before_the_night(journey: Journey) -> None:
    done = journey.read("run", journey.file, TUNEFRONT_CACHE_LIMIT_GB="much")
    assert done.returncode == 2
    assert "TUNEFRONT_CACHE_LIMIT_GB: a number of GB above 0 is needed, but got 'much'" in (
        done.stderr
    )
    assert "checking model and data" not in done.stderr


def test_nothing_runs_on_after_the_command(journey: Journey) -> None:
    assert journey.first.returncode == 0
    mark = f"TUNEFRONT_CACHE={journey.cache}".encode()
    left = [
        path.parent.name
        for path in Path("/proc").glob("[0-9]*/environ")
        if int(path.parent.name) != os.getpid() and mark in read_if_there(path)
    ]
    assert not left


def read_if_there(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
