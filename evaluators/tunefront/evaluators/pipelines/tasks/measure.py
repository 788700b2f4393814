"""The task that runs a candidate's turns and reads back its properties."""

import time
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module

import numpy as np

from tunefront.evaluators.benchmark.messages import MeasureRequest, ReadBack
from tunefront.evaluators.benchmark.turn_channel import TurnClient
from tunefront.evaluators.evaluation.built import CandidateRecord
from tunefront.evaluators.exports.open import open_candidate
from tunefront.evaluators.interfaces.tensors import (
    Inputs,
    no_collection,
    read_requests,
    run_block,
    warm_up,
)
from tunefront.evaluators.isolation.codec import to_plain
from tunefront.evaluators.measures.machine import ProcessWatch
from tunefront.evaluators.pipelines.read_back import not_applied
from tunefront.evaluators.pipelines.workload import catalog_for
from tunefront.evaluators.runtimes.base import Candidate
from tunefront.spaces import EvaluationError


def measure(request: MeasureRequest) -> ReadBack:
    """Open the candidate as a deployment would, run its turns, and read back its properties.

    The model is loaded on the call `load`: until then, measures read the idle process from outside.
    Properties are read after the turns, because reading them can take memory.

    Raises:
        EvaluationError: With the cause "invalid output" if outputs are not finite, "not applied"
            if a choice did not take effect.
    """
    made = read_requests(request.requests)
    if request.workload.extensions:
        catalog_for(request.workload)  # makes the modules of the user's measures importable
    client = TurnClient(request.address, request.place)
    calls = client.calls()
    if next(calls, "end") != "load":
        return ReadBack()
    folder, configuration = request.candidate, request.configuration
    start = time.perf_counter()
    candidate = open_candidate(folder, threads=configuration.integer("threads"))
    load_s = time.perf_counter() - start
    try:
        _check_outputs(candidate, made[0])
        client.say({"load_s": load_s})
        with no_collection():
            _take_turns(client, calls, candidate, made, request)
        facts = candidate.facts()
        catalog, record = catalog_for(request.workload), CandidateRecord.read(folder)
        problem = not_applied(catalog, configuration, facts, record)
        if problem is not None:
            raise EvaluationError(problem, cause="not applied")
        return ReadBack(facts=to_plain(facts))
    finally:
        candidate.close()


def _check_outputs(candidate: Candidate, request: Inputs) -> None:
    outputs = candidate(request)
    if not all(np.isfinite(output).all() for output in outputs):
        raise EvaluationError("outputs hold NaN or infinite values", cause="invalid output")


def _take_turns(
    client: TurnClient,
    calls: Iterator[str],
    candidate: Candidate,
    made: Sequence[Inputs],
    request: MeasureRequest,
) -> None:
    """Serve the calls of the turn channel until `end`.

    `warm` runs the warm-up, `report` replies with the results of the functions `inside`, any other
    call runs a timed block.
    """
    watch = ProcessWatch()
    for word in calls:
        if word == "end":
            return
        if word == "warm":
            warmup_s = warm_up(candidate, made, request.protocol.seconds)
            watch.settle()
            client.say({"warmup_s": warmup_s})
        elif word == "report":
            client.say({"reports": {name: _called(name) for name in request.inside}})
        else:
            block = run_block(candidate, made, request.protocol.block_s, watch)
            watch.settle()
            client.say(to_plain(block))


def _called(name: str) -> Mapping[str, float]:
    """Return the result of a function `module:function`."""
    module, _, function = name.partition(":")
    found: Mapping[str, float] = getattr(import_module(module), function)()
    return found
