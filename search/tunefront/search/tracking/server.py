"""The MLflow server that `tunefront ui` runs for a store: start, stop and its recorded address."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import webbrowser
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from tunefront.search.experiment.experiment import Experiment
from tunefront.search.study.atomic_write import write_whole
from tunefront.search.study.study import Study
from tunefront.search.text import OnMessage, command_text
from tunefront.spaces import TrackingError

from .address import front_page_of
from .store import artifact_folder, server_uri, store_name, tracking_uri, ui_address

SERVER_FILE = "mlflow.server.json"
HEALTH_TIMEOUT_S = 2.0
END_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MlflowServer:
    """A running MLflow server.

    Attributes:
        pid: The id of its process, which leads a separate process group.
        started: The process's start time (Unix time, s); distinguishes it from a reused id.
        address: The address at which it listens.
        store: The address of the store that it serves.
    """

    pid: int
    started: float
    address: str
    store: str

    def lives(self) -> bool:
        """Return whether its process is still running."""
        import psutil

        try:
            process = psutil.Process(self.pid)
            zombie = process.status() == psutil.STATUS_ZOMBIE
            return not zombie and abs(process.create_time() - self.started) < 1
        except psutil.Error:
            return False

    def end(self) -> None:
        """Send SIGTERM to its process group and wait up to 15 s, so that its port becomes free."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGTERM)
        deadline = time.monotonic() + END_S
        while self.lives() and time.monotonic() < deadline:
            time.sleep(0.1)


def note_server(experiment: Experiment, pid: int, address: str) -> MlflowServer:
    """Record a server that was just started."""
    import psutil

    started = psutil.Process(pid).create_time()
    found = MlflowServer(pid=pid, started=started, address=address, store=store_name(experiment))
    write_whole(_path(experiment), json.dumps(asdict(found)))
    return found


def server_of(experiment: Experiment) -> MlflowServer | None:
    """Return the recorded server of the experiment's store; None if none is running."""
    try:
        found = MlflowServer(**json.loads(_path(experiment).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return found if found.store == store_name(experiment) and found.lives() else None


def responds(address: str) -> bool:
    """Return whether an MLflow server responds at an address."""
    try:
        with urlopen(f"{address}/health", timeout=HEALTH_TIMEOUT_S):
            return True
    except (URLError, OSError):
        return False


def forget_server(experiment: Experiment) -> None:
    """Delete the record of the server."""
    _path(experiment).unlink(missing_ok=True)


def _path(experiment: Experiment) -> Path:
    return experiment.results.parent / SERVER_FILE


HOST = "127.0.0.1"


SERVER_START_S = 120.0


PORTS = 100
"""Number of ports above a taken one that are tried in order to suggest a free one."""


def serve(
    experiment: Experiment, *, port: int, detach: bool, opened: bool, on_message: OnMessage
) -> None:
    """Serve the store until Ctrl-C, or in the background, and open the front.

    A server that is running already is used. Nothing is started if the store is a remote server.

    Raises:
        StudyError: If nothing is recorded.
        TrackingError: If the port is taken, the server does not start, or MLflow can't be written.
    """
    page = _front_page(experiment, on_message)
    if tracking_uri(experiment).startswith("http"):
        _show(f"{ui_address(experiment)}/{page}", opened, on_message)
        return
    running = server_of(experiment)
    if running is not None and responds(running.address):
        _show(f"{running.address}/{page}", opened, on_message)
        on_message(f"it is already served; end the server with `{_stop_command(experiment)}`")
        return
    _check_free(experiment, port)
    log = experiment.results.parent / "mlflow.log"
    process = _start(experiment, port, log)
    server = note_server(experiment, process.pid, f"http://{HOST}:{port}")
    try:
        _wait(server, process, log)
        _show(f"{server.address}/{page}", opened, on_message)
        if detach:
            on_message(f"served in the background; end it with `{_stop_command(experiment)}`")
            return
        on_message(f"Ctrl-C ends the server (its log: {log})")
        process.wait()
    except BaseException:
        _end(server, process)
        raise
    finally:
        if process.poll() is not None:
            forget_server(experiment)


def stop_server(experiment: Experiment) -> str:
    """Stop a server that was left running; return a message."""
    server = server_of(experiment)
    forget_server(experiment)
    if server is None:
        return "no server was left running"
    server.end()
    return "server ended"


def _stop_command(experiment: Experiment) -> str:
    return command_text("ui", experiment.path, "--stop")


def _front_page(experiment: Experiment, on_message: OnMessage) -> str:
    """Return the front's relative address; write the search into the store if it is missing."""
    from .writer import sync

    Study.read(experiment)
    page = front_page_of(experiment)
    if page is None:
        on_message("MLflow has no runs of this search yet; writing them")
        sync(experiment)
        page = front_page_of(experiment)
    assert page is not None, "sync writes the front page"
    return page


def _check_free(experiment: Experiment, port: int) -> None:
    if _free(port):
        return
    other = next((p for p in range(port + 1, min(port + PORTS, 65_536)) if _free(p)), None)
    instead = "`--port PORT`" if other is None else f"`--port {other}`"
    raise TrackingError(
        f"MLflow: port {port} of {HOST} is taken by another program; "
        f"choose another one: `{command_text('ui', experiment.path)}` with {instead}"
    )


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _start(experiment: Experiment, port: int, log: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-P", "-m", "mlflow", "server", "--host", HOST, "--port", str(port)]
    command += ["--workers", "1"]
    command += ["--default-artifact-root", artifact_folder(experiment).absolute().as_uri()]
    environment = {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # its store would stay in /dev/shm
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        # Every user of the machine can read a command line, and the address can hold a password.
        "MLFLOW_BACKEND_STORE_URI": server_uri(experiment),
    }
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            env=environment,
            cwd=log.parent,  # the server's own server puts its working folder on Python's path
            start_new_session=True,
        )


def _wait(server: MlflowServer, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + SERVER_START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise TrackingError(f"MLflow: the server ended at once; see {log}")
        if responds(server.address):
            return
        time.sleep(0.3)
    raise TrackingError(f"MLflow: the server did not come up in {SERVER_START_S:.0f} s; see {log}")


def _end(server: MlflowServer, process: "subprocess.Popen[bytes]") -> None:
    server.end()
    process.poll()


def _show(link: str, opened: bool, on_message: OnMessage) -> None:
    on_message(f"front: {link}")
    screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if opened and (screen or sys.platform == "darwin"):
        webbrowser.open(link)


def print_front_link(experiment: Experiment, on_message: OnMessage) -> None:
    """Print the front's address in MLflow and the command that serves it, if it was written."""
    page = front_page_of(experiment)
    if page is None:
        return
    server = server_of(experiment)
    on_message(f"front:  {server.address if server is not None else ui_address(experiment)}/{page}")
    if server is None and not tracking_uri(experiment).startswith("http"):
        on_message(f"        (served by `{command_text('ui', experiment.path)}`)")
