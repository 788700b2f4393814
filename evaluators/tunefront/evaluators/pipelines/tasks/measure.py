"""The task that runs a candidate's turns and reads back its properties."""

import time
from collections.abc import Iterator, Mapping
from importlib import import_module
from itertools import count

from tunefront.evaluators.benchmark.messages import MeasureRequest, ReadBack, read_block_call
from tunefront.evaluators.benchmark.turn_channel import TurnClient
from tunefront.evaluators.evaluation.built import CandidateRecord
from tunefront.evaluators.exports.open import open_candidate
from tunefront.evaluators.interfaces.base import no_collection
from tunefront.evaluators.interfaces.builtin import (
    RequestSet,
    highest_set,
    read_request_sets,
)
from tunefront.evaluators.interfaces.endpoint import Endpoint
from tunefront.evaluators.isolation.codec import to_plain
from tunefront.evaluators.measures.machine import ProcessWatch
from tunefront.evaluators.pipelines.read_back import not_applied
from tunefront.evaluators.pipelines.workload import catalog_for
from tunefront.spaces import EvaluationError

LONG_TURNS = 1_000_000
"""Number of the first longer block, among the numbers of turns."""


def measure(request: MeasureRequest) -> ReadBack:
    """Open the candidate as a deployment would, run its turns, and read back its properties.

    The model is loaded on the call `load`: until then, measures read the idle process from outside.
    Properties are read after the turns, because reading them can take memory.

    Raises:
        EvaluationError: With the cause "invalid output" if outputs are not finite, "not applied"
            if a choice did not take effect.
    """
    sets = read_request_sets(request.requests)
    made = highest_set(sets)
    if request.workload.extensions:
        catalog_for(request.workload)  # makes the modules of the user's measures importable
    client = TurnClient(request.address, request.place)
    calls = client.calls()
    if next(calls, "end") != "load":
        return ReadBack()
    folder, configuration = request.candidate, request.configuration
    start = time.perf_counter()
    endpoint = open_candidate(folder, configuration)
    load_s = time.perf_counter() - start
    try:
        made.interface.respond(endpoint, made.requests[0])
        processes = endpoint.processes()
        client.send_reply({"load_s": load_s, "processes": processes and list(processes)})
        with no_collection():
            _take_turns(client, calls, endpoint, sets, request)
        facts = endpoint.facts()
        catalog, record = catalog_for(request.workload), CandidateRecord.read(folder)
        problem = not_applied(catalog, configuration, facts, record)
        if problem is not None:
            raise EvaluationError(problem, cause="not applied")
        return ReadBack(facts=to_plain(facts))
    finally:
        endpoint.close()


def _take_turns(
    client: TurnClient,
    calls: Iterator[str],
    endpoint: Endpoint,
    sets: Mapping[str, RequestSet],
    request: MeasureRequest,
) -> None:
    """Serve the calls of the turn channel until `end`.

    `warm` runs the warm-up, `settle` waits until threads sleep, `report` replies with the results
    of the functions `inside`, `block N LEVEL` runs the timed block of turn N at a load level,
    `run S` one of S seconds at the highest level. What a thread pool uses after its work, when it
    spins, is thus not between a call of a block and its reply.
    """
    highest, protocol = highest_set(sets), request.protocol
    interface = highest.interface
    long_turns = count(LONG_TURNS)
    watch = ProcessWatch(endpoint.processes() or ())
    for word in calls:
        if word == "end":
            return
        if word == "warm":
            warmup_s = sum(_warm_up(endpoint, made, protocol.seconds) for made in sets.values())
            watch.settle()
            client.send_reply({"warmup_s": warmup_s})
        elif word == "settle":
            watch.settle()
            client.send_reply({})
        elif word == "report":
            client.send_reply({"reports": {name: _called(name) for name in request.inside}})
        elif word.startswith("run "):
            seconds = float(word.removeprefix("run "))
            load = highest.load_of(next(long_turns))
            block = interface.run_block(endpoint, highest.part(0), load, seconds, watch)
            client.send_reply(to_plain(block))
        else:
            turn, level = read_block_call(word)
            part, load = sets[level].part(turn), sets[level].load_of(turn)
            block = interface.run_block(endpoint, part, load, protocol.block_s, watch)
            client.send_reply(to_plain(block))


def _warm_up(endpoint: Endpoint, made: RequestSet, limit_s: float) -> float:
    """Run the first part until it is steady, then the other parts once; return the seconds taken.

    A first request of another shape can take longer. No part starts after `limit_s` seconds.
    """
    taken_s = made.interface.warm_up(endpoint, made.part(0), made.load, limit_s)
    for part in range(1, made.parts):
        if taken_s > limit_s:
            break
        taken_s += made.interface.run_pass(endpoint, made.part(part), made.load)
    return taken_s


def _called(name: str) -> Mapping[str, float]:
    """Return the result of a function `module:function`."""
    module, _, function = name.partition(":")
    found: Mapping[str, float] = getattr(import_module(module), function)()
    return found
