"""From a tag in the browser to a champion that is loaded: real MLflow, a real export."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from tests.caches import new_cache

from tunefront.evaluators import Evaluation, Isolation, Measurement, describe_workload
from tunefront.evaluators import load as load_export
from tunefront.evaluators.exports.folder import manifest_digest
from tunefront.evaluators.exports.registry import Reference
from tunefront.evaluators.interfaces.tensors import TensorEndpoint
from tunefront.search import Experiment, load_experiment
from tunefront.search.cli import main
from tunefront.search.results.metadata import recorded_result, write_record
from tunefront.search.run.preflight import runnable_or_error
from tunefront.search.study.study import Study
from tunefront.search.tracking.projection import Projection
from tunefront.search.tracking.writer import write_result
from tunefront.spaces import Configuration, ExportError

MINE = Path(__file__).parents[1] / "faults" / "mine.py"
EXPERIMENT = """\
name: bridge
workload:
  task: custom
  model: mine:model
  inputs: mine:inputs
  quality: mine:quality
  direction: maximize
space: {batch_size: [1, 4]}
baseline: {runtime: torch, precision: fp32, batch_size: 1, threads: 1}
objectives: {throughput: maximize, peak_memory_mb: minimize}
measurement: {seconds: 0.05, turns: 3, requests: 2, wait: 0, reference: false}
"""
NAME = "bridge model"


class Searched:
    """A small search, recorded in MLflow, of which one trial is tagged, exported, registered."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copy(MINE, folder)
        path = folder / "experiment.yaml"
        path.write_text(EXPERIMENT)
        self.experiment: Experiment = load_experiment(path)
        self.store = f"sqlite:///{folder}/results/mlflow.db"
        self._search()
        self.client = mlflow.MlflowClient(tracking_uri=self.store)

    def _search(self) -> None:
        """Two trials with made-up figures; what is exported is built from the record, for real."""
        experiment = self.experiment
        isolation = Isolation()
        described = describe_workload(experiment.workload, isolation, self.folder / "log")
        isolation.close()
        write_record(experiment, runnable_or_error(experiment), described)
        study = Study.open(experiment, {"test": "yes"})
        figures = {"throughput": 100.0, "peak_memory_mb": 300.0, "score": 1.0}
        for batch_size in (1, 4):
            configuration = Configuration({**experiment.baseline, "batch_size": batch_size})
            measurements = {n: Measurement.exact(batch_size * v, "") for n, v in figures.items()}
            number = study.ask(configuration)
            study.tell(number, Evaluation(status="ok", measurements=measurements))
        result = recorded_result(experiment)
        projection = Projection(experiment, study.search_id)
        projection.write_trials(result.trials, result)
        write_result(projection, result)
        self.runs = [str(projection.run_id(trial)) for trial in result.trials]

    def versions(self) -> list[Any]:
        return sorted(
            self.client.search_model_versions(f"name = '{NAME}'"), key=lambda v: int(v.version)
        )


Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Searched]:
    before = dict(os.environ)
    os.environ.update(
        TUNEFRONT_CACHE=str(new_cache(tmp_path_factory.mktemp("cache"))), NO_COLOR="1"
    )
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    yield Searched(tmp_path_factory.mktemp("bridge"))
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Cli:
    """The command line, in this process, measuring shortly: exit code, stdout, stderr."""
    monkeypatch.setattr("tunefront.search.deploy.verify.VERIFY_S", 0.2)
    monkeypatch.setattr("tunefront.search.deploy.rounds.ROUND_S", 0.2)
    monkeypatch.setattr("tunefront.search.deploy.rounds.ROUNDS", 1)

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["tunefront", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        assert isinstance(code, int)
        out, said = capfd.readouterr()
        return code, out, said

    return call


@pytest.fixture
def registered(searched: Searched, cli: Cli) -> Path:
    """The export of trial 1, tagged, exported and registered by whoever asks first."""
    folder = searched.folder / "exports" / "001-torch-b4-t1"
    if not folder.exists():
        searched.client.set_tag(searched.runs[1], "pick", "yes")
        code, out, said = cli(
            *("export", searched.experiment.path, "--picked", "--register", NAME),
            *("--output", folder.parent),
        )
        assert code == 0, said
        assert "1 trial tagged pick=yes" in said
        assert f"exported and verified: {folder}" in out
        digest = manifest_digest(folder)
        assert f"sha256 of its manifest: {digest}" in out
        tags = searched.client.get_run(searched.runs[1]).data.tags
        assert tags["manifest_sha256"] == digest
        assert f"registered: models:/{NAME}/1, now candidate" in out
        assert "version: http://127.0.0.1:5000/#/models/bridge%20model/versions/1" in out
    return folder


def test_the_version_says_what_it_is(searched: Searched, registered: Path) -> None:
    (version,) = searched.versions()[:1]
    assert version.run_id == searched.runs[1]
    assert version.tags["trial"] == "1"
    assert version.tags["experiment"] == "bridge"
    assert len(version.tags["manifest_sha256"]) == 64
    assert version.description.startswith("**001 torch b4 t1: ")
    assert "| throughput | " in version.description
    assert f"/runs/{searched.runs[1]})" in version.description
    candidate = searched.client.get_model_version_by_alias(NAME, "candidate")
    assert candidate.version == version.version
    (model_id,) = models_of(searched)
    model = searched.client.get_logged_model(model_id)
    assert version.source == model.artifact_location
    assert model.source_run_id == searched.runs[1]
    linked = json.loads(model.tags["mlflow.modelVersions"])
    assert linked == [{"name": NAME, "version": 1}]


def models_of(searched: Searched) -> list[str]:
    """The logged models of trial 1's run."""
    outputs = searched.client.get_run(searched.runs[1]).outputs
    assert outputs is not None
    return [model.model_id for model in outputs.model_outputs]


def test_a_changed_model_is_not_exported_for_the_measured_one(
    searched: Searched, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache holds no candidate, so it would be built from what is there now."""
    monkeypatch.setenv("TUNEFRONT_CACHE", str(new_cache(tmp_path / "cache")))
    source = searched.folder / "mine.py"
    before = source.read_text()
    source.write_text(before + "CHANGED = True\n")
    target = tmp_path / "export"
    code, _, said = cli("export", searched.experiment.path, "0", "--output", target)
    source.write_text(before)
    assert code == 2
    assert "model and data have changed since the search (" in said
    assert "restore them, or run `tunefront run " in said
    assert not target.exists()


def test_the_same_export_is_registered_once(searched: Searched, registered: Path, cli: Cli) -> None:
    code, out, said = cli(
        *("export", searched.experiment.path, searched.runs[1]),
        *("--output", registered, "--register", NAME),
    )
    assert code == 0, said
    assert "001 torch b4 t1 is exported already" in said
    assert f"was registered before: models:/{NAME}/1, now candidate" in out
    assert len(searched.versions()) == 1
    assert len(models_of(searched)) == 1


def test_an_export_of_another_trial_is_not_registered_for_this_one(
    searched: Searched, registered: Path, cli: Cli
) -> None:
    code, _, said = cli(
        *("export", searched.experiment.path, "0", "--output", registered, "--register", NAME)
    )
    assert code == 2
    assert "holds trial 1 (batch_size 4, " in said
    assert " of bridge, not trial 0 (batch_size 1, " in said
    assert "; remove it, or name another with --output" in said


def test_what_can_not_be_registered_is_said_before_the_export(
    searched: Searched, registered: Path, cli: Cli
) -> None:
    path = searched.experiment.path
    code, _, said = cli("export", path, "0", "--register", "a/b")
    assert (code, "error: --register: a name of letters, digits" in said) == (2, True)
    searched.client.set_tag(searched.runs[0], "pick", "yes")
    code, _, said = cli("export", path, "--picked", "--register", NAME)
    searched.client.delete_tag(searched.runs[0], "pick")
    assert (code, "--register takes one trial, but 0, 1 are tagged" in said) == (2, True)
    code, _, said = cli("export", path, "0", "--picked")
    assert (code, "TRIAL and --picked: one of the two" in said) == (2, True)
    assert not (searched.experiment.results / "exports").exists()


def test_a_version_is_verified_where_it_is_to_run(
    searched: Searched, registered: Path, cli: Cli
) -> None:
    code, out, said = cli(
        *("verify", f"models:/{NAME}@candidate", "--experiment", searched.experiment.path),
        *("--format", "json"),
    )
    assert code == 0, said
    assert [check["name"] for check in json.loads(out)][:3] == ["files", "outputs", "choices"]
    assert f"models:/{NAME}@candidate is version 1" in said
    tags = searched.versions()[0].tags
    assert tags["verified"].startswith("files: ")
    digest = manifest_digest(registered)
    assert tags["verified"].endswith(f"manifest: sha256 {digest}, as in the model registry")
    assert tags["verified_at"].startswith("20")
    assert ": " in tags["verified_on"]


def test_where_the_registry_is_must_be_said(
    searched: Searched, registered: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, said = cli("verify", f"models:/{NAME}@candidate")
    assert (code, "Set MLFLOW_TRACKING_URI to its server, or name" in " ".join(said.split())) == (
        2,
        True,
    )
    code, _, said = cli("verify", registered, "--experiment", searched.experiment.path)
    assert (code, "--experiment names the store of models:/NAME" in said) == (2, True)
    with pytest.raises(ExportError, match="no registry is named; set MLFLOW_TRACKING_URI"):
        load_export(f"models:/{NAME}@candidate")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{searched.folder}/nowhere.db")
    code, _, said = cli("verify", f"models:/{NAME}@candidate")
    assert (code, "nowhere.db does not exist" in said) == (2, True)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("models:/nobody@candidate", "models:/nobody@candidate: .*not found"),
        (f"models:/{NAME}/99", f"models:/{NAME}/99: .*not found"),
        (f"models:/{NAME}", "models:/NAME@ALIAS or models:/NAME/NUMBER is needed, but got"),
        (f"models:/{NAME}/latest", "models:/NAME@ALIAS or models:/NAME/NUMBER is needed"),
    ],
)
def test_a_version_that_does_not_exist_is_told(
    searched: Searched,
    registered: Path,
    monkeypatch: pytest.MonkeyPatch,
    written: str,
    told: str,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", searched.store)
    with pytest.raises(ExportError, match=told):
        load_export(written)


def test_a_reference_reads_as_it_is_written() -> None:
    for written in ("models:/a model@champion", "models:/a/3"):
        assert str(Reference.parse(written)) == written


def test_the_candidate_becomes_champion_and_is_loaded(
    searched: Searched, registered: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, said = cli("promote", NAME, "--experiment", searched.experiment.path)
    assert code == 0, said
    assert out.splitlines()[-3:] == ["verified", f"champion: models:/{NAME}/1", "before: none"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", searched.store)
    monkeypatch.setenv("TMPDIR", str(searched.folder))
    model = load_export(f"models:/{NAME}@champion")
    assert isinstance(model, TensorEndpoint)
    with np.load(registered / "samples.npz") as samples:
        np.testing.assert_allclose(
            model({"input": samples["input_input"]})[0], samples["output_0"], atol=1e-5
        )


def upload(searched: Searched, folder: Path, tags: dict[str, str]) -> str:
    """A version made by somebody else."""
    client = searched.client
    experiment = client.get_run(searched.runs[1]).info.experiment_id
    model = client.create_logged_model(experiment)
    client.log_model_artifacts(model.model_id, str(folder))
    client.finalize_logged_model(model.model_id, "READY")
    made = client.create_model_version(
        NAME,
        model.artifact_location,
        run_id=searched.runs[1],
        model_id=model.model_id,
        tags=tags,
    )
    return str(made.version)


def test_a_version_that_is_not_what_was_registered_is_refused(
    searched: Searched, registered: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", searched.store)
    swapped = upload(searched, registered, {"manifest_sha256": "0" * 64})
    code, out, _ = cli("verify", f"models:/{NAME}/{swapped}")
    assert code == 5
    told = "the manifest is not the one that was registered; register the export again"
    assert told in " ".join(out.split())
    with pytest.raises(ExportError, match=f"{swapped} is not what was exported: {told}"):
        load_export(f"models:/{NAME}/{swapped}")
    before = searched.client.get_registered_model(NAME).aliases.get("champion")
    code, out, said = cli("promote", f"models:/{NAME}/{swapped}")
    assert (code, told in " ".join(out.split())) == (5, True)
    assert f"not promoted: models:/{NAME}/{swapped}; the champion is unchanged" in said
    assert searched.client.get_registered_model(NAME).aliases.get("champion") == before
    assert "verified" not in searched.client.get_model_version(NAME, swapped).tags
    changed = tmp_path / "changed"
    shutil.copytree(registered, changed)
    (changed / "run.py").write_text("raise SystemExit('not ours')\n")
    tags = searched.versions()[0].tags
    version = upload(searched, changed, {"manifest_sha256": tags["manifest_sha256"]})
    with pytest.raises(ExportError, match=r"is not what was exported: run.py has changed"):
        load_export(f"models:/{NAME}/{version}")


def test_without_mlflow_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ExportError, match="and mlflow is not installed: `pip install mlflow-skin"):
        load_export("models:/any@champion")


def test_an_export_is_served_and_its_sums_cover_what_serves(registered: Path) -> None:
    files = json.loads((registered / "manifest.json").read_text())["files"]
    assert {"serve.py", "inputs.json", "Dockerfile", "run.py", "README.md"} <= set(files)
    inputs = json.loads((registered / "inputs.json").read_text())
    assert inputs == {"input": {"dtype": "float32", "shape": ["batch", 32]}}
    assert "python serve.py --example" in (registered / "README.md").read_text()


def test_an_export_from_before_there_was_a_server_still_verifies(
    registered: Path, tmp_path: Path
) -> None:
    from tunefront.evaluators.exports.folder import read_manifest, tampered, write_manifest

    old = tmp_path / "old"
    shutil.copytree(registered, old)
    for name in ("serve.py", "inputs.json", "Dockerfile"):
        (old / name).unlink()
    manifest = read_manifest(old)
    write_manifest(old, {n: v for n, v in manifest.items() if n not in ("files", "format")})
    assert tampered(old, read_manifest(old)) == []
    assert set(read_manifest(registered)["files"]) - set(read_manifest(old)["files"]) == {
        "serve.py",
        "inputs.json",
        "Dockerfile",
    }
