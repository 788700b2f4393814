"""S4 and S9: whether an export is the one that was made is decided by a digest kept elsewhere."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.security.conftest import resum

from tunefront.evaluators import load as load_export
from tunefront.evaluators.exports.folder import MANIFEST, manifest_digest, read_manifest
from tunefront.search import Experiment, load_experiment
from tunefront.search.cli import tunefront
from tunefront.search.deploy import export_record
from tunefront.search.deploy.export_record import (
    RECORD_FILE,
    digests_by_trial,
    export_recorded_at,
    known_export,
    record_export,
)
from tunefront.search.deploy.quality_recheck import reevaluate_quality
from tunefront.search.deploy.verify import check_manifest, verify
from tunefront.spaces import ExportError, MachineError

OTHER = "0" * 64


@pytest.fixture(autouse=True)
def own_records(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A cache without records."""
    monkeypatch.setenv("TUNEFRONT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    path = tmp_path / "experiment.yaml"
    path.write_text(
        "name: tiny\nworkload: {task: causal-lm, model: nowhere, data: nowhere.jsonl}\n"
        "space: {threads: [1]}\nobjectives: {throughput: maximize}\n"
    )
    found = load_experiment(path)
    found.results.mkdir(parents=True)
    return found


def test_a_forged_export_passes_only_as_what_it_is(export: Path, experiment: Experiment) -> None:
    """Its sums fit; nothing outside the folder knows it, and that is stated."""
    (export / "README.md").write_text("forged")
    resum(export)
    check = check_manifest(export, None, "given")
    assert check.holds is None
    assert check.detail.startswith(f"sha256 {manifest_digest(export)}, known only from this folder")
    assert check.detail.endswith("give the digest that `tunefront export` printed with --sha256")


def test_a_given_digest_decides(export: Path) -> None:
    digest = manifest_digest(export)
    right = check_manifest(export, f" {digest.upper()}\n", "given")
    assert (right.holds, right.detail) == (True, f"sha256 {digest}, as given")
    wrong = verify(export, sha256=OTHER)
    assert not wrong.passed
    (check,) = wrong.checks
    assert check.detail == f"manifest.json has sha256 {digest}, but {OTHER} is the one given"
    for call in (lambda text: verify(export, sha256=text), lambda text: _load(export, text)):
        with pytest.raises(ExportError, match="sha256: 64 hexadecimal digits are needed, but got"):
            call("abc")
    with pytest.raises(ExportError, match=f"is not the export named: its .* not {OTHER}"):
        _load(export, OTHER)
    _load(export, digest).close()


def _load(export: Path, sha256: str) -> Any:
    return load_export(export, sha256=sha256)


def test_verify_takes_the_digest(export: Path) -> None:
    arguments = ["verify", str(export), "--sha256", OTHER]
    done = CliRunner().invoke(tunefront, arguments, standalone_mode=False)
    assert done.return_value == 5
    assert "is the one given" in " ".join(done.stdout.split())


def test_an_export_made_here_is_known(export: Path, experiment: Experiment) -> None:
    record = record_export(experiment, 7, export)
    assert known_export(record.sha256) == record
    assert digests_by_trial(experiment) == {7: record.sha256}
    check = check_manifest(export, None, "given")
    assert check.holds is True
    assert check.detail.endswith(f"as recorded here for trial 7 of {experiment.name}")
    moved = shutil.copytree(export, export.parent / "moved")
    assert check_manifest(moved, None, "given").holds is True


def test_a_forgery_in_place_of_a_recorded_export_is_refused(
    export: Path, experiment: Experiment
) -> None:
    record = record_export(experiment, 7, export)
    (export / "README.md").write_text("forged")
    resum(export)
    assert export_recorded_at(export) == record
    check = check_manifest(export, None, "given")
    assert check.holds is False
    assert f"but {record.sha256} was recorded for trial 7 in this folder" in check.detail
    assert check_manifest(export, manifest_digest(export), "given").holds is True


def test_records_that_others_can_write_are_not_used(export: Path, experiment: Experiment) -> None:
    record = record_export(experiment, 7, export)
    export_record._own_folder().chmod(0o777)
    assert known_export(record.sha256) is None
    with pytest.raises(MachineError, match="has mode 777 and must have 700"):
        record_export(experiment, 7, export)


def test_records_that_can_not_be_read_are_no_records(export: Path, experiment: Experiment) -> None:
    assert digests_by_trial(experiment) == {}
    record = record_export(experiment, 7, export)
    (experiment.results / RECORD_FILE).write_text("{")
    (export_record._own_folder() / f"{record.sha256}.json").write_text("{")
    assert digests_by_trial(experiment) == {}
    assert known_export(record.sha256) is None


@pytest.mark.parametrize("absolute", [True, False])
def test_the_experiment_of_the_manifest_alone_is_never_run(
    export: Path, payload: str, marker: Path, monkeypatch: pytest.MonkeyPatch, absolute: bool
) -> None:
    """S4: a folder that brings its own experiment and code, with sums."""
    (export / "evilmod.py").write_text(payload)
    (export / "evil.yaml").write_text(
        "name: evil\n"
        'workload: {task: custom, model: "evilmod:model", inputs: "evilmod:inputs", '
        'quality: "evilmod:quality"}\n'
        "space: {threads: [1]}\nobjectives: {throughput: maximize, score: maximize}\n"
    )
    resum(export)
    monkeypatch.chdir(export.parent)
    named = export / "evil.yaml" if absolute else Path("export/evil.yaml")
    manifest = {**read_manifest(export), "experiment_file": str(named), "measurements": {}}
    (export / MANIFEST).write_text(json.dumps(manifest))
    (found,) = reevaluate_quality(export, manifest, None, lambda line: None)
    assert found.verdict == "not compared"
    assert found.detail == (
        "this machine has no record of this export, and the manifest alone, which names "
        f"{named}, decides no code to run; name the experiment's file with --experiment"
    )
    assert not marker.exists()


def test_a_manifest_that_can_not_be_read_has_no_digest(export: Path) -> None:
    (export / MANIFEST).unlink()
    with pytest.raises(ExportError, match="manifest.json can't be read: "):
        manifest_digest(export)
