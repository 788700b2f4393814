"""What commands print about a plan."""

from collections.abc import Callable

from tunefront.search import Experiment
from tunefront.search.screens import plan_lines


def test_the_plan_names_what_is_run_and_what_is_left_out(load: Callable[..., Experiment]) -> None:
    experiment = load("space.threads=[1, 16]", "space.batch_size={low: 1, high: 16}")
    told = plan_lines(experiment, experiment.space.enumerate())
    assert "space: 64 configurations, 32 can run here, 2 different models to build" in told
    assert "  runtime (runtime): torch, openvino" in told
    assert "  batch_size (execution): 1, 2, 3, ..., 15, 16 (16 values)" in told
    assert told[-1].startswith("  32 of 16 threads = 16 cores, but this machine offers 8")
