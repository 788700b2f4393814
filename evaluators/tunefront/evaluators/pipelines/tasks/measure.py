"""The task that runs a candidate's turns and reports its memory and facts."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from tunefront.evaluators.benchmark.messages import CandidateState, MeasureRequest, TimedBlock
from tunefront.evaluators.benchmark.turn_channel import TurnClient
from tunefront.evaluators.evaluation.built import CandidateRecord
from tunefront.evaluators.evaluation.protocol import Protocol
from tunefront.evaluators.interfaces.tensors import (
    Inputs,
    no_collection,
    read_requests,
    run_block,
    warm_up,
)
from tunefront.evaluators.isolation.codec import to_plain
from tunefront.evaluators.measures.machine import ProcessWatch
from tunefront.evaluators.measures.memory import folder_mb, gpu_memory_mb, tree_memory_mb
from tunefront.evaluators.pipelines.read_back import not_applied
from tunefront.evaluators.runtimes.base import Candidate
from tunefront.evaluators.runtimes.open import open_candidate
from tunefront.spaces import EvaluationError


def measure(request: MeasureRequest) -> CandidateState:
    """Open the candidate as a deployment would, run its turns, and report memory and facts.

    Raises:
        EvaluationError: With the cause "invalid output" if outputs are not finite, "not applied"
            if a choice did not take effect.
    """
    made = read_requests(request.requests)
    idle_mb, _ = tree_memory_mb()
    folder = request.candidate
    start = time.perf_counter()
    candidate = open_candidate(folder, threads=request.configuration.integer("threads"))
    load_s = time.perf_counter() - start
    try:
        _check_outputs(candidate, made[0])
        facts = candidate.facts()
        problem = not_applied(request.configuration, facts, CandidateRecord.read(folder))
        if problem is not None:
            raise EvaluationError(problem, cause="not applied")
        weights_mb = folder_mb(folder)

        def state() -> CandidateState:
            """Return loading time, memory so far, and facts."""
            return CandidateState(
                load_s=load_s,
                idle_mb=idle_mb,
                peak_mb=tree_memory_mb()[1],
                weights_mb=weights_mb,
                facts=to_plain(facts),
                gpu=gpu_memory_mb(),
            )

        client = TurnClient(request.address, request.place)
        with no_collection():
            warmup_s = _take_turns(client, candidate, made, request.protocol, state)
        return replace(state(), warmup_s=warmup_s)
    finally:
        candidate.close()


def _check_outputs(candidate: Candidate, request: Inputs) -> None:
    outputs = candidate(request)
    if not all(np.isfinite(output).all() for output in outputs):
        raise EvaluationError("outputs hold NaN or infinite values", cause="invalid output")


def _take_turns(
    client: TurnClient,
    candidate: Candidate,
    made: Sequence[Inputs],
    protocol: Protocol,
    state: Callable[[], CandidateState],
) -> float:
    """Serve the calls of the turn channel until `end`; return the seconds of warm-up.

    `warm` runs the warm-up, `look` replies with the state for the interim result, any other call
    runs a timed block.
    """
    watch = ProcessWatch()
    warmup_s, spent_s = 0.0, time.process_time()
    for word in client.calls():
        if word == "end":
            break
        if word == "warm":
            warmup_s = warm_up(candidate, made, protocol.seconds)
            watch.settle()
            client.say({"warmup_s": warmup_s})
            spent_s = time.process_time()
        elif word == "look":
            client.say(to_plain(replace(state(), warmup_s=warmup_s)))
            spent_s = time.process_time()
        else:
            block = run_block(candidate, made, protocol.block_s, watch)
            watch.settle()
            now_s = time.process_time()
            client.say(to_plain(TimedBlock(block=block, spent_s=now_s - spent_s)))
            spent_s = now_s
    return warmup_s
