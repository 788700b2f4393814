"""MLflow's server, for real: the projection over HTTP, twice, and the page it serves."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import mlflow
import pytest
from tests.caches import new_cache

from tunefront.evaluators import Evaluation, Measurement, WorkloadDescription
from tunefront.search import load_experiment, recorded_result
from tunefront.search.results.metadata import write_record
from tunefront.search.run.preflight import runnable_or_error
from tunefront.search.study.study import Study
from tunefront.search.tracking.projection import Projection
from tunefront.search.tracking.store import check_reachable, ui_address
from tunefront.search.tracking.writer import write_result
from tunefront.spaces import Configuration, TrackingError

from .conftest import command, environment, in_process

START_S = 90
EXPERIMENT = """\
name: recorded
workload:
  task: custom
  model: mine:model
  inputs: mine:inputs
  quality: mine:quality
  direction: maximize
space: {batch_size: [1, 2, 4]}
baseline: {runtime: torch, precision: fp32, batch_size: 1, threads: 1}
objectives: {throughput: maximize, peak_memory_mb: minimize}
"""


class Recorded:
    """A search of which only the record is there, and the command line beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copy(Path(__file__).parents[1] / "faults" / "mine.py", folder)
        self.file = folder / "experiment.yaml"
        self.file.write_text(EXPERIMENT)
        experiment = load_experiment(self.file)
        write_record(
            experiment, runnable_or_error(experiment), WorkloadDescription(fingerprint="made up")
        )
        study = Study.open(experiment, {"test": "yes"})
        for batch_size in (1, 2, 4):
            figures = {"throughput": 100.0 * batch_size, "peak_memory_mb": 300.0 + batch_size}
            measured = {name: Measurement.exact(v, "") for name, v in figures.items()}
            measured["score"] = Measurement.exact(1.0, "")
            number = study.ask(Configuration({**experiment.baseline, "batch_size": batch_size}))
            study.tell(number, Evaluation(status="ok", measurements=measured))

    def cli(self, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        return command(*arguments, extra=environment(new_cache(self.folder / "cache")))

    def read(self, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        """The command line in this process; for what starts none."""
        return in_process(*arguments, extra=environment(new_cache(self.folder / "cache")))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return Recorded(tmp_path_factory.mktemp("recorded"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A tracking server on loopback."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/store.db"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            env={
                **os.environ,
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            },
            start_new_session=True,
        )
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            with urlopen(f"{address}/health", timeout=1):
                break
        except (URLError, OSError):
            time.sleep(0.2)
    yield address
    os.killpg(process.pid, 15)
    process.wait()


def test_a_projection_over_http_is_idempotent(
    recorded: Recorded, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    experiment = load_experiment(recorded.file)
    check_reachable(experiment)
    assert ui_address(experiment) == server
    result = recorded_result(experiment)
    links = []
    for _ in range(2):
        projection = Projection(experiment, Study.read(experiment).search_id)
        projection.write_trials(result.trials, result)
        links.append(write_result(projection, result))
    assert links[0] == links[1]
    assert links[0].startswith(f"{server}/#/experiments/")
    client = mlflow.MlflowClient(tracking_uri=server)
    found = client.get_experiment_by_name("recorded")
    assert found is not None
    runs = client.search_runs([found.experiment_id])
    assert len(runs) == len(result.trials) + 1
    assert len({run.data.tags["trial"] for run in runs}) == len(runs)
    summary = next(run for run in runs if run.data.tags["trial"] == "summary")
    files = {item.path for item in client.list_artifacts(summary.info.run_id)}
    assert {"front.png", "trials.csv", "trials.json", "search.json", "experiment.yaml"} <= files
    assert "report.html" in files
    shortlist = client.search_runs([found.experiment_id], "tags.shortlist = 'true'")
    front = {trial.number for trial in result.front.trials} | {0}
    assert {int(run.data.tags["trial"]) for run in shortlist} == front


def test_another_search_of_the_same_name_gets_a_place_of_its_own(
    recorded: Recorded, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    experiment = load_experiment(recorded.file)
    first = Projection(experiment, "one search")
    again = Projection(experiment, "one search")
    other = Projection(experiment, "another search")
    assert first.experiment_id == again.experiment_id != other.experiment_id


def test_a_password_in_the_server_s_address_is_not_written_down(
    recorded: Recorded, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.replace("//", "//me:pass@word@"))
    experiment = load_experiment(recorded.file)
    check_reachable(experiment)
    assert ui_address(experiment) == server


def test_a_password_is_not_told_where_the_server_is_away(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:password@127.0.0.1:9")
    with pytest.raises(TrackingError, match=r"http://127\.0\.0\.1:9 can't be reached") as caught:
        check_reachable(load_experiment(recorded.file))
    assert "password" not in str(caught.value)


def test_the_ui_command_serves_the_front_and_stops(recorded: Recorded, tmp_path: Path) -> None:
    """And leaves nothing in shared memory."""
    before = in_shared_memory()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    started = recorded.cli("ui", recorded.file, "--port", port, "--detach", "--no-open")
    assert started.returncode == 0, started.stderr
    try:
        address = next(
            line.split()[-1] for line in started.stderr.splitlines() if line.startswith("front:")
        )
        assert address.startswith(f"http://127.0.0.1:{port}/#/experiments/")
        with urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            assert answer.status == 200
    finally:
        stopped = recorded.read("ui", recorded.file, "--stop")
    assert "server ended" in stopped.stderr
    assert "no server" in recorded.read("ui", recorded.file, "--stop").stderr
    assert in_shared_memory() <= before


def in_shared_memory() -> set[str]:
    """MLflow's folders there: it names them as Python names temporary ones."""
    return {path.name for path in Path("/dev/shm").glob("tmp*")}
