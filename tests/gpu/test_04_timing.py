"""Times are those of the work: known work by CUDA's own events, twice the work, the same twice."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tunefront.evaluators import TargetResult, Timing, take_turns, target_of
from tunefront.evaluators.isolation.codec import to_plain

from .harness import WITHOUT_ENERGY, Bench, CheckFigures, body
from .workloads import custom_spec

TURNS = 15
MOST_OVERHEAD_MS = 0.05
BATCH = 8


@pytest.mark.takes(20)
def test_times_are_those_of_the_work(
    bench: Bench, custom_folder: Path, figures: CheckFigures
) -> None:
    mode = bench.mode
    once = custom_spec(custom_folder, "products", "for_products")
    twice = custom_spec(custom_folder, "twice_the_products", "for_products")
    chosen = mode.configuration(precision="bf16", batch_size=BATCH)
    settings = bench.settings(once)
    first = target_of(settings, chosen, bench.isolation, bench.log)
    second = target_of(bench.settings(twice), chosen, bench.isolation, bench.log)

    def enough(timings: Sequence[Timing], elapsed_s: float) -> bool:
        return len(timings[0].blocks) >= TURNS

    run = take_turns(
        settings, [first, first, second], bench.isolation, bench.log, enough, None, WITHOUT_ENERGY
    )
    figures(results=[str(one) for one in run.target_results], machine=dict(run.machine))
    results = [one for one in run.target_results if isinstance(one, TargetResult)]
    assert len(results) == 3, run.target_results
    latency, again, longer = (one.measurements["latency_ms"].value for one in results)
    measured = body(
        "device_ms",
        folder=str(first.candidate),
        spec=to_plain(once),
        batch_size=BATCH,
        device=mode.device,
    )
    figures(latency_ms=latency, again_ms=again, twice_ms=longer, **measured)
    if mode.on_gpu:
        assert again / latency == pytest.approx(1.0, abs=0.01)
        assert longer / latency == pytest.approx(2.0, abs=0.1)
        assert 0.97 * measured["events_ms"] < latency
        assert latency < 1.03 * measured["events_ms"] + MOST_OVERHEAD_MS
