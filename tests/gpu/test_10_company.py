"""A process of others on the same GPU is noticed, and ratios hold all the same."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tunefront.evaluators import TargetResult, Timing, take_turns, target_of

from .harness import WITHOUT_ENERGY, Bench, CheckFigures, body_command
from .workloads import custom_spec

TURNS = 9


@pytest.mark.takes(10)
def test_foreign_work_is_noticed_and_the_ratio_holds(
    bench: Bench, custom_folder: Path, figures: CheckFigures
) -> None:
    mode = bench.mode
    spec = custom_spec(custom_folder, "products", "for_products")
    settings = bench.settings(spec)
    chosen = mode.configuration(precision="bf16", batch_size=8)
    target = target_of(settings, chosen, bench.isolation, bench.log)

    def enough(timings: Sequence[Timing], elapsed_s: float) -> bool:
        return len(timings[0].blocks) >= TURNS

    command = body_command("work_for_ever", device=mode.device, width=mode.size(4096, 256))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None and other.stdout.readline()
            run = take_turns(
                settings, [target, target], bench.isolation, bench.log, enough, None, WITHOUT_ENERGY
            )
        finally:
            other.kill()
    results = [one for one in run.target_results if isinstance(one, TargetResult)]
    assert len(results) == 2, run.target_results
    first, second = (one.measurements["latency_ms"].value for one in results)
    warnings = [text for one in results for text in one.warnings]
    clean = [int(one.timing.clean.sum()) for one in results]
    figures(
        ratio=second / first,
        waited_s=run.waited_s,
        machine=dict(run.machine),
        warnings=warnings,
        undisturbed_turns=clean,
    )
    if mode.on_gpu:
        assert run.waited_s > 0 or warnings or min(clean) < TURNS
        assert second / first == pytest.approx(1.0, abs=0.05)
