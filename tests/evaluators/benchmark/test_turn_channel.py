"""Processes that take turns over a socket; some die, some hang, some never come."""

import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tunefront.evaluators import builtin_catalog
from tunefront.evaluators.benchmark.turn_channel import TurnChannel, TurnClient
from tunefront.evaluators.isolation.preload import open_imports
from tunefront.evaluators.isolation.process import Child, Isolation
from tunefront.evaluators.isolation.task import Task
from tunefront.spaces import EvaluationError

HERE = Path(__file__).parents[1]
LIMIT_S = 60.0


def nobody_is_gone(place: int) -> None:
    """Everybody is fine."""


@pytest.fixture
def channel() -> Iterator[TurnChannel]:
    with TurnChannel(3) as found:
        yield found


class Sitter(threading.Thread):
    """Sits in a thread of this process; echoes what it is called for."""

    def __init__(self, address: str, place: int) -> None:
        super().__init__(daemon=True)
        self.address, self.place = address, place
        self.words: list[str] = []
        self.start()

    def run(self) -> None:
        seat = TurnClient(self.address, self.place)
        for word in seat.calls():
            self.words.append(word)
            if word == "end":
                break
            seat.send_reply({"word": word, "place_was": self.place, "long": "x" * 3_000_000})
        seat._lines.close()
        seat._socket.close()


def connected(channel: TurnChannel, places: Sequence[int]) -> list[Sitter]:
    sitters = [Sitter(channel.address, place) for place in places]
    channel.connected(places, LIMIT_S, nobody_is_gone)
    return sitters


def dismissed(channel: TurnChannel, sitters: Sequence[Sitter]) -> None:
    channel.send_end([sitter.place for sitter in sitters])
    for sitter in sitters:
        sitter.join(LIMIT_S)
        assert not sitter.is_alive()


def test_only_who_is_called_answers(channel: TurnChannel) -> None:
    sitters = connected(channel, [0, 1, 2])
    (answer,) = channel.call([1], "block", LIMIT_S, nobody_is_gone)
    assert (answer["word"], answer["place_was"]) == ("block", 1)
    dismissed(channel, sitters)
    assert [sitter.words for sitter in sitters] == [["end"], ["block", "end"], ["end"]]


def test_answers_come_in_the_order_of_the_places(channel: TurnChannel) -> None:
    sitters = connected(channel, [0, 1, 2])
    for places in ([2, 0], [0, 1, 2], [1, 2, 0]):
        answers = channel.call(places, "block", LIMIT_S, nobody_is_gone)
        assert [answer["place_was"] for answer in answers] == places
        assert all(len(answer["long"]) == 3_000_000 for answer in answers)
    dismissed(channel, sitters)


def test_a_reply_that_arrives_while_another_is_waited_for_is_kept(channel: TurnChannel) -> None:
    sitters = connected(channel, [0, 1, 2])
    channel.send([0, 1, 2], "load")
    for place in (1, 2, 0):
        (reply,) = channel.replies([place], LIMIT_S, nobody_is_gone)
        assert (reply["word"], reply["place_was"]) == ("load", place)
    with pytest.raises(EvaluationError, match="not done after 0 s"):
        channel.replies([1], 0.0, nobody_is_gone)
    dismissed(channel, sitters)


def test_a_client_says_which_process_it_is(channel: TurnChannel) -> None:
    sitter = Sitter(channel.address, 0)
    (first,) = channel.connected([0], LIMIT_S, nobody_is_gone)
    assert first == {"place": 0, "pid": os.getpid()}
    dismissed(channel, [sitter])


def test_who_sat_down_while_another_was_waited_for_is_not_waited_for_again(
    channel: TurnChannel,
) -> None:
    sitters = connected(channel, [0, 1, 2])
    assert channel.connected([2, 1], 0.0, nobody_is_gone) == []
    dismissed(channel, sitters)


def test_closing_ends_whoever_sits_there() -> None:
    with TurnChannel(2) as channel:
        sitters = connected(channel, [0, 1])
        address = Path(channel.address)
        assert address.is_socket()
        assert address.parent.stat().st_mode & 0o077 == 0
    for sitter in sitters:
        sitter.join(LIMIT_S)
        assert not sitter.is_alive()
        assert sitter.words == []
    assert not address.parent.exists()


def test_a_temporary_folder_with_a_long_name_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with TurnChannel(1) as channel:
        assert len(channel.address) < 108  # what Linux allows
        dismissed(channel, connected(channel, [0]))
    assert not list(long.iterdir())


def test_who_never_comes_is_not_waited_for_for_ever(channel: TurnChannel) -> None:
    with pytest.raises(EvaluationError) as caught:
        channel.connected([0], 0.1, nobody_is_gone)
    assert str(caught.value) == "not done after 0.1 s (see `timeouts`)"
    assert caught.value.cause == "timeout"


def test_who_says_nothing_is_looked_after(channel: TurnChannel) -> None:
    looked: list[int] = []

    def gone(place: int) -> None:
        looked.append(place)
        if len(looked) == 4:
            raise EvaluationError("it has ended", cause="crash")

    with pytest.raises(EvaluationError, match="it has ended"):
        channel.connected([0, 2], LIMIT_S, gone)
    assert looked == [0, 2, 0, 2]


# Processes


@pytest.fixture(scope="module")
def slim() -> Iterator[Isolation]:
    """Its children find faulty.py beside this file."""
    with pytest.MonkeyPatch.context() as patch:
        before = os.environ.get("PYTHONPATH")
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(HERE), before])))
        found = Isolation()
        found.warm(open_imports(builtin_catalog(), "onnxruntime"))
        yield found
        found.close()


class Hall:
    """A turnstile with real processes before it."""

    def __init__(self, channel: TurnChannel, children: Sequence[Child[dict[str, Any]]]) -> None:
        self.channel = channel
        self.children = children

    def call(self, places: Sequence[int], word: str, timeout_s: float = LIMIT_S) -> list[Any]:
        return [*self.channel.call(places, word, timeout_s, self.check)]

    def check(self, place: int) -> None:
        self.children[place].check()


@pytest.fixture
def hall(channel: TurnChannel, slim: Isolation, tmp_path: Path) -> Iterator[Hall]:
    """Three processes that sit."""
    with ExitStack() as stack:
        children = [
            stack.enter_context(
                slim.start(
                    Task(
                        function="faulty:sits",
                        request={"address": channel.address, "place": place},
                        result=dict,
                        imports=open_imports(builtin_catalog(), "onnxruntime"),
                        log=tmp_path / "log",
                        timeout_s=LIMIT_S,
                    )
                )
            )
            for place in range(3)
        ]
        made = Hall(channel, children)
        channel.connected([0, 1, 2], LIMIT_S, made.check)
        yield made


def test_processes_take_turns_and_leave_their_results(hall: Hall) -> None:
    for place in (0, 1, 2, 1, 0):
        assert hall.call([place], f"turn{place}")[0]["word"] == f"turn{place}"
    hall.channel.send_end([0, 1, 2])
    words = [child.result()["words"] for child in hall.children]
    assert words == [["turn0"] * 2, ["turn1"] * 2, ["turn2"]]


def test_one_runs_while_the_others_wait(hall: Hall) -> None:
    """Whoever is called later answers later."""
    order = [0, 2, 1, 0, 1, 2]
    times = [hall.call([place], "block")[0]["at"] for place in order]
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("word", "cause", "message"),
    [("die", "oom", "killed by SIGKILL"), ("fail", "unsupported", "no such kernel")],
)
def test_a_process_that_ends_in_its_turn_is_found_out_and_the_others_go_on(
    hall: Hall, word: str, cause: str, message: str
) -> None:
    hall.call([0], "block")
    with pytest.raises(EvaluationError, match=message) as caught:
        hall.call([1], word)
    assert caught.value.cause == cause
    answers = hall.call([0, 2], "block")
    assert [answer["place_was"] for answer in answers] == [0, 2]


def test_a_replica_that_dies_ends_the_turn_of_all(hall: Hall) -> None:
    with pytest.raises(EvaluationError, match="killed by SIGKILL"):
        hall.call([0, 1], "die if you are 1")
    assert hall.call([0], "block")[0]["place_was"] == 0


def test_who_ends_before_reading_its_call_is_found_out(channel: TurnChannel) -> None:
    """As one does that is killed just before its turn, when there is no memory left."""
    seat = TurnClient(channel.address, 0)
    channel.connected([0], LIMIT_S, nobody_is_gone)
    channel.send_end([0])
    seat._lines.close()
    seat._socket.close()

    def gone(place: int) -> None:
        raise EvaluationError("killed by SIGKILL", cause="oom")

    with pytest.raises(EvaluationError, match="killed by SIGKILL"):
        channel.call([0], "block", LIMIT_S, gone)


def test_a_process_that_hangs_runs_out_of_time(hall: Hall) -> None:
    with pytest.raises(EvaluationError, match=r"not done after 0\.7 s") as caught:
        hall.call([1], "hang", timeout_s=0.7)
    assert caught.value.cause == "timeout"
    assert hall.call([2], "block")[0]["place_was"] == 2


def test_calling_who_has_left_is_found_out(hall: Hall) -> None:
    hall.channel.send_end([1])
    with pytest.raises(EvaluationError, match="ended before its turn") as caught:
        hall.call([1], "block")
    assert caught.value.cause == "crash"
    assert hall.call([0], "block")[0]["place_was"] == 0


def test_a_process_that_ends_before_it_sits_is_found_out(
    channel: TurnChannel, slim: Isolation, tmp_path: Path
) -> None:
    task = Task(
        function="faulty:segfaults",
        request={},
        result=dict,
        imports=open_imports(builtin_catalog(), "onnxruntime"),
        log=tmp_path / "log",
        timeout_s=LIMIT_S,
    )
    with slim.start(task) as child, pytest.raises(EvaluationError, match="SIGSEGV"):
        channel.connected([0], LIMIT_S, lambda place: child.check())
