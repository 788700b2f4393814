"""MLflow goes away in every way that it can, for real; the search goes on, and nothing is twice."""

import resource
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import mlflow
import pytest

from tunefront.evaluators import Evaluation
from tunefront.search import Experiment, Result, result_of
from tunefront.search.study.confirmation import Confirmation
from tunefront.search.study.study import Study
from tunefront.search.terminal.events import event_text
from tunefront.search.tracking.address import front_page_of
from tunefront.search.tracking.store import tracking_uri
from tunefront.search.tracking.writer import TrackingEvent, TrackingWriter, pause_s, sync
from tunefront.spaces import Configuration, TrackingError

from .server import Server

CATCH_UP_S = 300


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that runs when a test begins."""
    found = Server(tmp_path_factory.mktemp("server"))
    yield found
    found.kill()


@pytest.fixture
def remote(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """What the search is written to; it has so little patience that tests need little, too."""
    server.revive()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr("tunefront.search.tracking.writer.LONGEST_PAUSE_S", 2.0)
    return server


class Night:
    """A search whose trials end when they are told to, recorded meanwhile."""

    def __init__(self, experiment: Experiment, evaluation: Evaluation) -> None:
        self.experiment = experiment
        self.study = Study.open(experiment, {"test": "yes"})
        self.said: list[str] = []
        self.recorder = TrackingWriter(experiment, self.study, self.on_event)
        self._evaluation = evaluation

    def on_event(self, event: TrackingEvent) -> None:
        self.said.append(event_text(event))

    def result(self) -> Result:
        return result_of(self.experiment, self.study.trials(), Confirmation(rounds={}))

    def trials(self, count: int) -> None:
        """So many more trials end; nobody waits for MLflow."""
        for _ in range(count):
            threads = len(self.study.trials()) + 1
            configuration = Configuration({**self.experiment.baseline, "threads": threads % 2 + 1})
            self.study.tell(self.study.ask(configuration), self._evaluation)
            self.recorder.add(self.result())

    def finish(self) -> str:
        return self.recorder.finish(self.result())

    def written(self) -> Counter[str]:
        """How many runs MLflow has of every trial."""
        client = mlflow.MlflowClient(tracking_uri=tracking_uri(self.experiment))
        own = f"tags.`tunefront.search_id` = '{self.study.search_id}'"
        found = client.search_experiments(filter_string=own)
        runs = [run for one in found for run in client.search_runs([one.experiment_id])]
        whole = [run for run in runs if run.info.status != "RUNNING" and run.data.params]
        return Counter(run.data.tags["trial"] for run in whole)

    def wait_for(self, trials: int) -> None:
        deadline = time.monotonic() + CATCH_UP_S
        while time.monotonic() < deadline and len(self.written()) < trials:
            time.sleep(0.2)
        assert self.written() == Counter(map(str, range(trials)))

    def wait_for_word(self, word: str) -> None:
        deadline = time.monotonic() + CATCH_UP_S
        while time.monotonic() < deadline and not any(word in line for line in self.said):
            time.sleep(0.1)
        assert any(word in line for line in self.said), self.said


@pytest.fixture
def night(
    load: Callable[..., Experiment], evaluation: Callable[..., Evaluation]
) -> Callable[[], Night]:
    return lambda: Night(load(), evaluation())


def check_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    """What MLflow itself has to say is not for people."""
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err == ""


@contextmanager
def locked(store: Path) -> Iterator[None]:
    """Another process writes a transaction that does not end."""
    with closing(sqlite3.connect(store, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        yield
        database.execute("ROLLBACK")


@contextmanager
def broken(store: Path) -> Iterator[None]:
    """The server answers, with errors."""
    with closing(sqlite3.connect(store, isolation_level=None, timeout=30)) as database:
        database.execute("ALTER TABLE runs RENAME COLUMN status TO gone")
        yield
        database.execute("ALTER TABLE runs RENAME COLUMN gone TO status")


@contextmanager
def full(store: Path) -> Iterator[None]:
    """The disk takes no byte more than the store has."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (store.stat().st_size, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@contextmanager
def killed(server: Server) -> Iterator[None]:
    server.kill()
    yield
    server.start()


@contextmanager
def frozen(server: Server) -> Iterator[None]:
    server.freeze()
    yield
    server.thaw()


@contextmanager
def answers_500(server: Server) -> Iterator[None]:
    with broken(server.store):
        yield


@pytest.mark.parametrize("away", [killed, frozen, answers_500])
def test_a_server_that_goes_away_gets_everything_once_it_is_back(
    remote: Server,
    night: Callable[[], Night],
    away: Callable[[Server], AbstractContextManager[None]],
    capfd: pytest.CaptureFixture[str],
) -> None:
    search = night()
    search.recorder.start()
    search.trials(2)
    search.wait_for(2)
    with away(remote):
        search.trials(2)
        search.wait_for_word("MLflow can't be written")
        search.trials(1)
    search.wait_for_word("MLflow is available again")
    search.wait_for(5)
    search.trials(1)
    link = search.finish()
    assert link.startswith(f"{remote.address}/#/experiments/")
    search.wait_for(6)
    assert len(search.said) == 2
    check_quiet(capfd)


def test_a_server_that_comes_late_gets_everything(
    remote: Server, night: Callable[[], Night]
) -> None:
    with killed(remote):
        search = night()
        search.recorder.start()
        search.trials(3)
        search.wait_for_word("Connection refused")
    search.wait_for(3)
    assert search.finish()


def test_an_unreachable_server_is_reported_with_what_is_missing(
    remote: Server, night: Callable[[], Night]
) -> None:
    search = night()
    search.recorder.start()
    search.trials(2)
    search.wait_for(2)
    with killed(remote):
        search.trials(7)
        assert search.finish() == ""
        text = search.said[-1]
        assert "Connection refused" in text
        assert "not there yet: 7 trials (002, 003, 004, 005, ..., 008) and the front" in text
        assert f"`tunefront sync {search.experiment.path}`" in text
        with pytest.raises(TrackingError, match="can't be reached"):
            sync(search.experiment)
    done = sync(search.experiment)
    assert (done.trials, done.written) == (9, 9), "a newer front changes every trial's words"
    assert done.link.startswith(f"{remote.address}/#/experiments/")
    assert search.written() == Counter(map(str, range(9)))
    assert sync(search.experiment).written == 0


def test_the_end_of_a_search_does_not_wait_for_a_server_that_does_not_respond(
    remote: Server, night: Callable[[], Night], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "600")
    monkeypatch.setattr("tunefront.search.tracking.writer.STANDSTILL_S", 2.0)
    search = night()
    search.recorder.start()
    search.trials(1)
    search.wait_for(1)
    with frozen(remote):
        search.trials(1)
        assert search.finish() == ""
        assert "(no response in 2 s); not there yet: 1 trial (001) and the front" in search.said[-1]
    thread = next(thread for thread in threading.enumerate() if thread.name == "tracking-writer")
    thread.join(timeout=CATCH_UP_S)
    assert not thread.is_alive(), "it ends with the request that it was waiting for"
    sync(search.experiment)
    assert search.written() == Counter(map(str, range(2)))


@pytest.fixture
def local(night: Callable[[], Night], monkeypatch: pytest.MonkeyPatch) -> Night:
    """A search recorded beside its file."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("tunefront.search.tracking.writer.LONGEST_PAUSE_S", 2.0)
    search = night()
    search.written()  # makes the store: two connections that do so at once disturb each other
    search.recorder.start()
    search.trials(2)
    search.wait_for(2)
    return search


@pytest.mark.parametrize(
    ("away", "problem"),
    [(locked, "database is locked"), (full, "disk")],
)
def test_a_store_that_can_not_be_written_gets_everything_later(
    local: Night,
    away: Callable[[Path], AbstractContextManager[None]],
    problem: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with away(local.experiment.results.parent / "mlflow.db"):
        local.trials(40 if away is full else 3)  # for a full disk the store has to grow
        local.wait_for_word(problem)
    local.wait_for_word("MLflow is available again")
    assert "front" in local.finish()
    local.wait_for(len(local.study.trials()))
    check_quiet(capfd)


def test_a_search_that_is_running_writes_by_itself(local: Night) -> None:
    text = "another process writes Made up .*: a running search writes it itself"
    with pytest.raises(TrackingError, match=text):
        sync(local.experiment)
    local.finish()
    assert sync(local.experiment).written == 0


def test_pauses_grow_to_a_minute() -> None:
    assert [pause_s(failures) for failures in (1, 2, 3, 6, 50)] == [2.0, 4.0, 8.0, 60.0, 60.0]


def test_the_front_is_a_link_away_while_the_search_runs(
    night: Callable[[], Night], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    one = night()
    one.recorder.start()
    one.trials(2)
    deadline = time.monotonic() + CATCH_UP_S
    while time.monotonic() < deadline and front_page_of(one.experiment) is None:
        time.sleep(0.1)
    page = front_page_of(one.experiment)
    assert page is not None
    client = mlflow.MlflowClient(tracking_uri=tracking_uri(one.experiment))
    found = client.get_experiment_by_name("Made up")
    assert found is not None
    assert "mlflow.sharedViewState.front" in found.tags
    assert one.finish().endswith(f"/{page}")
    monkeypatch.setattr("tunefront.search.tracking.projection.shown_by", lambda _: "4.0.0")
    assert sync(one.experiment).obstacle.endswith("this is 4.0.0")
    again = TrackingWriter(one.experiment, one.study, one.on_event)
    again.start()
    assert "searchFilter=" in again.finish(one.result())
    assert one.said == [
        "MLflow: the views for its page are known from 3.15 on, below 4.0; this is 4.0.0; the links"
        " show the same rows, without Tunefront's columns and charts"
    ]
