"""A real, tiny export measured again: holds, drifted, not compared, again and again."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from tunefront.evaluators import Evaluation
from tunefront.evaluators.exports.folder import manifest_digest, read_manifest, write_manifest
from tunefront.evaluators.exports.machine_speed import probe
from tunefront.search import load_experiment
from tunefront.search.cli import tunefront
from tunefront.search.commands.recheck import parse_pause
from tunefront.search.deploy.drift import Finding
from tunefront.search.deploy.export import export_trial
from tunefront.search.deploy.export_record import known_export
from tunefront.search.deploy.quality_recheck import RECORDED_ITEMS
from tunefront.search.deploy.recheck import Recheck, history, history_file, keep
from tunefront.search.results.metadata import write_record
from tunefront.search.results.result import result_of
from tunefront.search.run.preflight import check_workload
from tunefront.search.study.confirmation import Confirmation
from tunefront.search.study.study import Study
from tunefront.spaces import ExperimentError, ExportError, WorkloadError

EXPERIMENT = """\
name: tiny
workload: {task: custom, model: "mine:model", inputs: "mine:inputs", quality: "mine:quality"}
space: {batch_size: [2]}
baseline: {runtime: onnxruntime, precision: fp32, batch_size: 2, threads: 1}
objectives: {throughput: maximize, score: maximize}
measurement: {seconds: 0.1, turns: 3, requests: 2, wait: 0, reference: false}
"""
MINE = Path(__file__).parents[2] / "faults" / "mine.py"


@pytest.fixture(scope="module")
def exported(
    tmp_path_factory: pytest.TempPathFactory, evaluation: Callable[..., Evaluation]
) -> Iterator[Path]:
    """A real export of a trial whose speed is made up."""
    folder = tmp_path_factory.mktemp("recheck")
    (folder / "mine.py").write_text(MINE.read_text())
    (folder / "experiment.yaml").write_text(EXPERIMENT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNEFRONT_CACHE", str(folder / "cache"))
        patch.setattr("tunefront.search.deploy.rounds.ROUNDS", 3)  # other tests have fewer
        patch.setattr("tunefront.search.deploy.rounds.ROUND_S", 0.2)
        patch.setattr("tunefront.search.deploy.verify.VERIFY_S", 0.2)
        experiment = load_experiment(folder)
        settings, described = check_workload(experiment, lambda line: None)
        study = Study.open(experiment, {"test": "yes"})
        write_record(experiment, experiment.space.enumerate(), described)
        trial = study.tell(study.ask(experiment.baseline), evaluation([1.0] * 8, score=1.0))
        result = result_of(experiment, study.trials(), Confirmation())
        export_trial(result, trial, settings, folder / "export")
        yield folder / "export"


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the export with another manifest."""

    def make(**fields: Any) -> Path:
        folder = tmp_path / "export"
        shutil.copytree(exported, folder)
        manifest = {**read_manifest(folder), **fields}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return folder

    return make


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A single round is enough."""
    monkeypatch.setattr("tunefront.search.deploy.rounds.ROUNDS", 1)
    monkeypatch.setattr("tunefront.search.deploy.rounds.ROUND_S", 0.2)


def cli(*arguments: str | Path) -> Result:
    return CliRunner().invoke(
        tunefront, ["recheck", *map(str, arguments)], catch_exceptions=False, standalone_mode=False
    )


def verdicts(done: Result) -> dict[str, str]:
    return {f["metric"]: f["verdict"] for f in json.loads(done.stdout)["findings"]}


def times(measurement: dict[str, Any], factor: float) -> dict[str, Any]:
    return {**measurement, **{n: factor * measurement[n] for n in ("value", "low", "high")}}


def test_an_export_records_what_a_recheck_needs(exported: Path) -> None:
    manifest = read_manifest(exported)
    assert Path(manifest["experiment_file"]) == exported.parent / "experiment.yaml"
    assert manifest["judged_on"]
    for name, value in manifest["sample_values"].items():
        spread = manifest["sample_measurements"][name]
        assert spread["low"] <= value == spread["value"] <= spread["high"]
        assert spread["samples"] == 3
    assert set(manifest["sample_probe"]) == {"compute_ms", "memory_ms"}
    assert set(manifest["sample_machine"]) == {"foreign", "steal", "load"}


def test_an_export_that_was_left_alone_holds(exported: Path, once: None) -> None:
    """Its speed may be not compared, where others are busy on this machine."""
    done = cli(exported)
    assert done.return_value == 0, done.stdout
    text = " ".join(done.stdout.split())
    assert "DRIFTED" not in text
    assert "files holds" in text.replace("- ", "")
    assert "score" in text
    assert f"holds: {exported}" in text
    assert "measuring: round 1 of 1" in done.stderr
    (kept,) = history(exported)
    assert kept["verdict"] == "holds"
    found = {f["metric"]: f for f in kept["findings"]}
    assert found["score"]["verdict"] == found["peak_memory_mb"]["verdict"] == "holds"
    assert found["score"]["drift"] == pytest.approx(0.0, abs=1e-3)
    # The history lies beside the export: in it, it would be a change.
    assert history_file(exported) == exported.parent / "export.rechecks.jsonl"


def test_what_is_worse_than_recorded_has_drifted(
    copy: Callable[..., Path], exported: Path, once: None
) -> None:
    """Recorded figures that nothing on this machine reaches: exit code 5, everything judged."""
    folder = copy()
    manifest = dict(read_manifest(folder))
    manifest["sample_values"] = {n: v / 1e3 for n, v in manifest["sample_values"].items()}
    spread = manifest["sample_measurements"]
    manifest["sample_measurements"] = {name: times(spread[name], 1e-3) for name in spread}
    np.save(folder / RECORDED_ITEMS, np.array([[1.5 + 0.01 * i for i in range(8)], [1.0] * 8]))
    write_manifest(folder, {n: v for n, v in manifest.items() if n not in ("format", "files")})
    done = cli(folder, "--format", "json", "--experiment", exported.parent)
    assert done.return_value == 5
    found = verdicts(done)
    assert {n for n, verdict in found.items() if verdict == "drifted"} == {
        "latency_ms",
        "peak_memory_mb",
        "score",
    }
    assert found["outputs"] == "holds"
    (score,) = (f for f in json.loads(done.stdout)["findings"] if f["metric"] == "score")
    assert score["drift"] == pytest.approx(1 / 1.535 - 1, abs=0.01)
    assert score["detail"].endswith("on the same 8 items")


def test_what_can_not_be_evaluated_here_is_reported(copy: Callable[..., Path], once: None) -> None:
    hardware = {"fingerprint": "elsewhere", "summary": "Another CPU", "isa": []}
    folder = copy(hardware=hardware, experiment_file="/nowhere/experiment.yaml")
    done = cli(folder, "--format", "json")
    assert done.return_value == 0
    details = [finding["detail"] for finding in json.loads(done.stdout)["findings"]]
    assert details.count("recorded on another machine: Another CPU") == 2
    assert "this machine has no record of this export" in details[-1]
    assert "/nowhere/experiment.yaml" in details[-1]
    assert details[-1].endswith("name the experiment's file with --experiment")


def test_changed_files_are_drift_and_nothing_of_them_is_run(copy: Callable[..., Path]) -> None:
    folder = copy()
    (folder / "run.py").write_text("raise SystemExit(1)\n")
    done = cli(folder, "--format", "json")
    assert done.return_value == 5
    assert verdicts(done) == {"files": "drifted"}


def test_other_data_is_not_compared_and_named_experiments_are(
    copy: Callable[..., Path], exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tunefront.search.deploy.quality_recheck import reevaluate_quality

    folder = copy(judged_on="something else", experiment_file=None)
    manifest = read_manifest(folder)

    def judge(**changed: Any) -> Finding:
        named = changed.pop("named", None)
        (found,) = reevaluate_quality(folder, {**manifest, **changed}, named, lambda line: None)
        return found

    assert "no record of this export" in judge().detail
    assert "which names no experiment, decides no code to run" in judge().detail
    found = judge(named=exported.parent)
    assert (found.metric, found.verdict) == ("score", "not compared")
    assert found.detail == "model or data differ from those of the recorded quality"
    assert found.now is not None
    lost = judge(named=exported.parent, measurements={})
    assert "evaluates score, which the export does not record" in lost.detail
    with pytest.raises(ExperimentError, match="does not exist"):
        judge(named=folder / "nowhere.yaml")

    def gone(*_: object) -> None:
        raise WorkloadError("model and data are gone")

    monkeypatch.setattr("tunefront.search.deploy.quality_recheck.describe_workload", gone)
    assert judge(named=exported.parent).detail == "model and data are gone"


def test_the_recorded_experiment_is_used_while_it_can_be(
    exported: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from tunefront.search.deploy import quality_recheck as module

    known = known_export(manifest_digest(exported))
    assert known is not None
    assert (known.experiment, known.trial) == (exported.parent / "experiment.yaml", 0)

    def judge(path: Path) -> str:
        recorded = replace(known, experiment=path)
        monkeypatch.setattr(module, "known_export", lambda _: recorded)
        (found,) = module.reevaluate_quality(exported, {}, None, lambda line: None)
        return found.detail

    assert judge(tmp_path / "gone.yaml").startswith(f"{tmp_path}/gone.yaml is not here; name the")
    other = tmp_path / "other.yaml"
    other.write_text("nothing: else\n")
    assert "unknown key" in judge(other)


def test_what_is_no_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="is not a folder; name what `tunefront export` wrote"):
        cli(tmp_path / "nowhere")
    with pytest.raises(ExportError, match="no manifest.json here: it is no export"):
        cli(tmp_path)


def test_an_export_that_does_not_run_says_why(tmp_path: Path) -> None:
    from tunefront.search.deploy.rounds import measure_rounds

    with pytest.raises(ExportError, match="the export does not run: .*candidate.json"):
        measure_rounds(tmp_path)


def made_up(folder: Path, *verdicts: str) -> Recheck:
    findings = [Finding(metric=f"m{i}", verdict=v) for i, v in enumerate(verdicts)]  # type: ignore[arg-type]
    return Recheck(
        folder=folder,
        at=datetime(2026, 1, 2, 3, 4, 5),
        findings=tuple(findings),
        machine={},
        libraries=(),
    )


def test_the_verdict_is_that_of_the_worst_finding(tmp_path: Path) -> None:
    assert made_up(tmp_path, "holds", "drifted").verdict == "drifted"
    assert made_up(tmp_path, "holds", "not compared").verdict == "holds"
    assert made_up(tmp_path, "not compared").verdict == "not compared"


def test_a_schedule_ends_with_drift_and_says_a_line_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    coming = [made_up(tmp_path, "holds"), made_up(tmp_path, "holds", "drifted")]
    slept: list[float] = []
    monkeypatch.setattr("tunefront.search.deploy.recheck.recheck_export", lambda *_: coming.pop(0))
    monkeypatch.setattr("time.sleep", slept.append)
    done = cli(tmp_path / "export", "--every", "90s")
    assert done.return_value == 5
    assert slept == [90.0]
    lines = done.stdout.splitlines()
    assert lines[0].startswith("03:04:05 holds")
    assert lines[1].startswith("03:04:05 DRIFTED: m1 DRIFTED")
    past = cli(tmp_path, "--history").stdout
    assert past.count("2026-01-02 03:04:05") == 2
    assert "DRIFTED: m1" in past
    assert len(json.loads(cli(tmp_path, "--history", "--format", "json").stdout)) == 2


@pytest.mark.parametrize(
    ("written", "seconds"), [("30s", 30), ("10m", 600), ("1h", 3600), ("1.5d", 129_600)]
)
def test_times_of_a_schedule(written: str, seconds: float) -> None:
    assert parse_pause(written) == seconds


@pytest.mark.parametrize("written", ["1", "h", "1w", "0s", "-1h"])
def test_a_time_that_is_none_is_refused(written: str, tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="--every: a time such as 30s, 10m, 1h or 1d, but go"):
        cli(tmp_path, f"--every={written}")


def test_a_history_that_is_not_there_or_can_not_be_read_or_written(tmp_path: Path) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    with pytest.raises(ExportError, match="was never rechecked: no .*; `tunefront recheck"):
        cli(folder, "--history")
    history_file(folder).write_text("{")
    with pytest.raises(ExportError, match="can't be read"):
        cli(folder, "--history")
    with pytest.raises(ExportError, match="can't be written"):
        keep(made_up(tmp_path / "gone" / "export", "holds"))


def test_the_probe_computes_and_copies() -> None:
    found = probe()
    assert set(found) == {"compute_ms", "memory_ms"}
    assert min(found.values()) > 0


def test_libraries_of_other_versions_are_named(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tunefront.search.deploy import recheck as module
    from tunefront.spaces import detect_hardware

    newer = replace(detect_hardware(), libraries={"onnxruntime": "99.0"})
    monkeypatch.setattr(module, "detect_hardware", lambda: newer)
    text = module._libraries(read_manifest(exported))
    assert any(line.startswith("onnxruntime: ") and line.endswith("-> 99.0") for line in text)
    assert any(line.endswith("-> not installed") for line in text)


def test_libraries_that_are_as_recorded_are_not_named(exported: Path) -> None:
    """A manifest also names libraries that decide nothing about what can run, such as numpy."""
    from tunefront.search.deploy import recheck as module

    manifest = read_manifest(exported)
    assert "numpy" in manifest["versions"]
    assert module._libraries(manifest) == ()
    older = {"versions": {**manifest["versions"], "numpy": "0.1", "gone": "1.0"}}
    named = [line.partition(":")[0] for line in module._libraries(older)]
    assert named == ["gone", "numpy"]
