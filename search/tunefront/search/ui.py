"""MLflow's own page, served on this machine for a search's store, opened on the front."""

import os
import signal
import subprocess
import sys
import time
import webbrowser
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from tunefront.spaces import TrackingError

from .experiment import Experiment
from .record import recorded_answer
from .tracking import tracking_uri
from .tracking.store import artifact_folder, ui_address
from .words import Say

HOST = "127.0.0.1"
START_S = 120.0


def serve(experiment: Experiment, *, port: int, detach: bool, opened: bool, say: Say) -> None:
    """Serve the store until Ctrl-C, or in the background.

    Raises:
        TrackingError: If the server does not come up.
    """
    uri = tracking_uri(experiment)
    if uri.startswith("http"):
        link = front_link(experiment, ui_address(experiment))
        say(f"front: {link}")
        _open(link, opened)
        return
    address = f"http://{HOST}:{port}"
    log = experiment.results.parent / "mlflow.log"
    process = _start(experiment, uri, port, log)
    try:
        _wait(address, process, log)
        link = front_link(experiment, address)
        say(f"front: {link}")
        _open(link, opened)
        if detach:
            _pid_file(experiment).write_text(str(process.pid))
            say(f"served in the background; end it with `tunefront ui {experiment.path} --stop`")
            return
        say("Ctrl-C ends the server")
        process.wait()
    except (KeyboardInterrupt, TrackingError):
        _end(process.pid)
        raise


def stop_server(experiment: Experiment) -> str:
    """End a server that was left running; what happened, in words."""
    path = _pid_file(experiment)
    if not path.is_file():
        return "no server was left running"
    _end(int(path.read_text()))
    path.unlink()
    return "server ended"


def front_link(experiment: Experiment, address: str) -> str:
    """Where the front is, on a server at this address."""
    from .study import Study
    from .tracking.projection import Projection
    from .tracking.views import link

    projection = Projection(experiment, Study.read(experiment).search_id)
    return link(address, projection.experiment_id, projection.views(recorded_answer(experiment))[0])


def _start(experiment: Experiment, uri: str, port: int, log: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port)]
    command += ["--backend-store-uri", uri, "--workers", "1"]
    command += ["--default-artifact-root", artifact_folder(experiment).absolute().as_uri()]
    environment = {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # its store stays in /dev/shm for ever
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }
    with log.open("ab") as output:
        return subprocess.Popen(
            command, stdout=output, stderr=output, env=environment, start_new_session=True
        )


def _wait(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise TrackingError(f"the MLflow server ended at once (is the port taken?); see {log}")
        try:
            with urlopen(f"{address}/health", timeout=2):
                return
        except (URLError, OSError):
            time.sleep(0.3)
    raise TrackingError(f"the MLflow server did not come up in {START_S:.0f} s; see {log}")


def _end(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGTERM)
    except ProcessLookupError:
        return


def _open(link: str, opened: bool) -> None:
    if opened and (os.environ.get("DISPLAY") or sys.platform == "darwin"):
        webbrowser.open(link)


def _pid_file(experiment: Experiment) -> Path:
    return experiment.results.parent / "mlflow.pid"
