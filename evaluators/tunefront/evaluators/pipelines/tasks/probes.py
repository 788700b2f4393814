"""The task that searches for the capacity of a candidate: the largest load that keeps the SLO."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tunefront.evaluators.evaluation.built import CandidateRecord
from tunefront.evaluators.exports.open import open_candidate
from tunefront.evaluators.interfaces.base import no_collection
from tunefront.evaluators.interfaces.builtin import RequestSet, highest_set, read_request_sets
from tunefront.evaluators.interfaces.load import Load
from tunefront.evaluators.interfaces.polled.capacity import (
    CapacityResult,
    CapacitySearch,
    ProbeResult,
    lowest_level,
)
from tunefront.evaluators.interfaces.polled.capacity_probe import run_probe
from tunefront.evaluators.interfaces.polled.endpoint import PolledEndpoint
from tunefront.evaluators.interfaces.polled.interface import PolledInterface
from tunefront.evaluators.pipelines.read_back import not_applied
from tunefront.evaluators.pipelines.workload import catalog_for
from tunefront.evaluators.statistics.capacity_bisection import (
    KEPT,
    MOST_PROBES,
    CapacityProbe,
    capacity_interval,
    next_level,
    precise,
)
from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import Configuration, EvaluationError

AnyPolled = PolledEndpoint[Any, Any]
REPEATED = 2
"""Probes of the lowest load that must break the SLO before a search ends without a capacity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityRequest:
    """The candidate whose capacity is searched.

    Attributes:
        workload: The workload.
        candidate: Folder of the candidate.
        configuration: Its complete configuration.
        requests: Folder of the requests.
        search: The search.
    """

    workload: WorkloadSpec
    candidate: Path
    configuration: Configuration
    requests: Path
    search: CapacitySearch


def find_capacity(request: CapacityRequest) -> CapacityResult:
    """Open the candidate as a deployment would, and search for its capacity.

    Raises:
        EvaluationError: If a request fails or its response is not complete; with the cause "not
            applied" if a choice did not take effect.
    """
    made, search = highest_set(read_request_sets(request.requests)), request.search
    catalog = catalog_for(request.workload)
    endpoint = cast(AnyPolled, open_candidate(request.candidate, request.configuration))
    try:
        made.interface.respond(endpoint, made.requests[0])
        with no_collection():
            made.interface.warm_up(endpoint, made.requests, Load(concurrency=1), search.seconds)
            probes = search_capacity(endpoint, made, search)
        record = CandidateRecord.read(request.candidate)
        problem = not_applied(catalog, request.configuration, endpoint.facts(), record)
        if problem is not None:
            raise EvaluationError(problem, cause="not applied")
        return CapacityResult(search=search, slo=made.slo, probes=tuple(probes))
    finally:
        endpoint.close()


def search_capacity(
    endpoint: AnyPolled, made: RequestSet, search: CapacitySearch
) -> list[ProbeResult]:
    """Probe loads until the capacity is precise, all probes are used, or the time is up.

    Raises:
        EvaluationError: If no probe ended in time (cause "timeout").
    """
    found: list[ProbeResult] = []
    interface = cast(PolledInterface[Any, Any, AnyPolled], made.interface)
    start_s = time.perf_counter()
    while len(found) < MOST_PROBES and not _ends([one.probe for one in found], search):
        left_s = start_s + search.limit_s - time.perf_counter()
        if left_s < search.seconds:
            break
        result = run_probe(
            endpoint,
            made.requests,
            made.slo,
            search.kind,
            probed_level([one.probe for one in found], search),
            search.seconds,
            seed=search.seed + len(found),
            repeated=interface.repeated,
            limit_s=left_s,
        )
        if result is None:
            break
        found.append(result)
    if not found:
        raise EvaluationError(
            f"no probe ended within {search.limit_s:.0f} s: a request can keep `slo` for longer; "
            "raise confirmation.capacity_seconds, or lower the limits",
            cause="timeout",
        )
    return found


def probed_level(probes: Sequence[CapacityProbe], search: CapacitySearch) -> float:
    """Return the load of the next probe.

    Of whole numbers, the one above the estimate is probed if that below has been, and the reverse:
    both decide where the boundary is.
    """
    level = max(next_level(probes, search.start), lowest_level(search.kind, search.seconds))
    if search.kind == "rate":
        return level
    below, tried = float(int(level)), [probe.level for probe in probes]
    above = below + 1
    return min((below, above), key=lambda one: (tried.count(one), abs(one - level)))


def _ends(probes: Sequence[CapacityProbe], search: CapacitySearch) -> bool:
    """Return whether further probes would change nothing.

    The interval is narrow, or the lowest load has broken the SLO `REPEATED` times.
    """
    if not probes:
        return False
    lowest = lowest_level(search.kind, search.seconds)
    broken = [one for one in probes if one.level <= lowest * (1 + 1e-9) and one.share < KEPT]
    if len(broken) >= REPEATED:
        return True
    interval = capacity_interval(probes, search.start)
    if search.kind == "rate" or interval is None:
        return precise(interval)
    return len(probes) > REPEATED and int(interval[1]) == interval[2] // 1
