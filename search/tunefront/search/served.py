"""The MLflow server that `tunefront ui` runs for a store: where it listens, as long as it does."""

import json
import os
import signal
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from tunefront.search.experiment.experiment import Experiment
from tunefront.search.study.atomic_write import write_whole

from .tracking.store import store_name

SERVER_FILE = "mlflow.server.json"
HEALTH_TIMEOUT_S = 2.0
END_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MlflowServer:
    """A server.

    Attributes:
        pid: Its process, which leads a group of its own.
        started: When that was started: a process id is given again.
        address: Where it listens.
        store: What it shows.
    """

    pid: int
    started: float
    address: str
    store: str

    def lives(self) -> bool:
        """Whether its process is still there."""
        import psutil

        try:
            process = psutil.Process(self.pid)
            zombie = process.status() == psutil.STATUS_ZOMBIE
            return not zombie and abs(process.create_time() - self.started) < 1
        except psutil.Error:
            return False

    def end(self) -> None:
        """Ask its group to end, and wait for it: what comes next may want its port."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGTERM)
        deadline = time.monotonic() + END_S
        while self.lives() and time.monotonic() < deadline:
            time.sleep(0.1)


def note_server(experiment: Experiment, pid: int, address: str) -> MlflowServer:
    """Write down a server that was just started."""
    import psutil

    started = psutil.Process(pid).create_time()
    found = MlflowServer(pid=pid, started=started, address=address, store=store_name(experiment))
    write_whole(_path(experiment), json.dumps(asdict(found)))
    return found


def server_of(experiment: Experiment) -> MlflowServer | None:
    """The server that runs for the experiment's store; None where none does."""
    try:
        found = MlflowServer(**json.loads(_path(experiment).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return found if found.store == store_name(experiment) and found.lives() else None


def answers(address: str) -> bool:
    """Whether an MLflow answers there."""
    try:
        with urlopen(f"{address}/health", timeout=HEALTH_TIMEOUT_S):
            return True
    except (URLError, OSError):
        return False


def forget_server(experiment: Experiment) -> None:
    """It is no more."""
    _path(experiment).unlink(missing_ok=True)


def _path(experiment: Experiment) -> Path:
    return experiment.results.parent / SERVER_FILE
