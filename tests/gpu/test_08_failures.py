"""What goes wrong on a GPU has its cause, and the next process finds the GPU as before."""

from pathlib import Path

import pytest

from tunefront.evaluators.isolation.task import Task
from tunefront.spaces import EvaluationError

from .harness import Bench, CheckFigures, used_mb, values_of, wait_for_memory
from .tasks import Use
from .workloads import custom_spec

SLACK_MB = 200.0
MOST_MEMORY_S = 5.0
BYTES = 4


def use(bench: Bench, how: str, timeout_s: float = 60.0) -> dict[str, object]:
    task: Task[dict[str, object]] = Task(
        function="tests.gpu.tasks:use",
        request=Use(device=bench.mode.device, how=how),
        result=dict,
        imports=("torch",),
        log=bench.log,
        timeout_s=timeout_s,
        devices=bench.mode.devices,
    )
    return bench.isolation.run(task)


@pytest.mark.takes(7)
@pytest.mark.parametrize(
    ("how", "causes", "timeout_s"),
    [
        ("out of memory", {"oom"}, 60.0),
        ("device assert", {"device", "exception", "crash"}, 60.0),
        ("killed", {"oom"}, 60.0),  # a process that is killed is taken for one without memory
        ("endless", {"timeout"}, 5.0),
    ],
)
def test_a_failure_has_its_cause_and_the_next_process_runs(
    how: str, causes: set[str], timeout_s: float, bench: Bench, figures: CheckFigures
) -> None:
    bench.mode.need_gpu("its failures are CUDA's")
    before = used_mb(bench.mode.uuid)
    with pytest.raises(EvaluationError) as caught:
        use(bench, how, timeout_s)
    freed_s = wait_for_memory(bench.mode.uuid, before + SLACK_MB)
    figures(cause=caught.value.cause, message=str(caught.value), freed_s=freed_s)
    after = use(bench, "allocate")
    figures(after=after)
    assert caught.value.cause in causes
    assert after["sum"] == 8.0
    assert freed_s < MOST_MEMORY_S


@pytest.mark.parametrize(
    "runtime",
    [
        pytest.param("torch", marks=pytest.mark.takes(10)),
        pytest.param("inductor", marks=pytest.mark.takes(18)),
    ],
)
def test_a_candidate_that_does_not_fit_has_run_out_of_memory(
    runtime: str, bench: Bench, custom_folder: Path, figures: CheckFigures
) -> None:
    """The tensor between its products needs four times the GPU's memory."""
    mode = bench.mode
    mode.need_gpu("it would take the memory of the machine")
    spec = custom_spec(custom_folder, "wide", "for_wide")
    batch = 4 * mode.memory_mb * 2**20 // (BYTES * 2**21)
    settings = bench.settings(spec)
    large = mode.configuration(runtime=runtime, precision="fp32", batch_size=min(batch, 65_536))
    found = bench.evaluate(settings, large)
    figures(large=values_of(found), batch=batch)
    fits = bench.evaluate(settings, mode.configuration(runtime=runtime, batch_size=1))
    figures(fits=values_of(fits))
    assert (found.status, found.cause) == ("failed", "oom"), (found.message, found.log)
    assert fits.status == "ok", (fits.message, fits.log)


@pytest.mark.takes(14)
def test_a_candidate_that_fits_alone_is_measured_alone(
    bench: Bench, custom_folder: Path, figures: CheckFigures
) -> None:
    """Candidate and baseline need 60 % of the memory each; neither fits next to the other."""
    mode = bench.mode
    mode.need_gpu("it would take the memory of the machine")
    spec = custom_spec(custom_folder, "wide", "for_wide")
    batch = int(0.6 * mode.memory_mb) * 2**20 // (BYTES * 2**21)
    baseline = mode.configuration(precision="fp32", batch_size=batch)
    found = bench.evaluate(
        bench.settings(spec, baseline), mode.configuration(precision="tf32", batch_size=batch)
    )
    figures(**values_of(found), batch=batch)
    assert found.status == "ok", (found.message, found.log)
    assert found.relative is None
