"""All of one trial on a terminal: values with unit and interval, facts, seconds."""

from collections.abc import Callable
from dataclasses import replace

from tunefront.evaluators import Evaluation, Measurement
from tunefront.search import Experiment, Trial, result_of
from tunefront.search.study.confirmation import Confirmation
from tunefront.search.terminal.result import trial_lines


def test_no_value_has_an_exponent_a_negative_zero_or_an_empty_interval(
    load: Callable[..., Experiment],
    trial: Callable[..., Trial],
    evaluation: Callable[..., Evaluation],
) -> None:
    own = trial(0, throughput=19_640.0, peak_memory_mb=500.04, perplexity=10.0, quality_drop=0.0)
    own = replace(
        own,
        measurements={
            **own.measurements,
            "throughput": Measurement(
                value=1.964e4, unit="items/s", low=1.931e4, high=1.9997e4, samples=1200
            ),
            "quality_drop": Measurement(
                value=-3.125e-06, unit="%", low=-0.31, high=0.31, samples=512
            ),
        },
        evaluation=replace(
            evaluation(),
            facts={"runtime": "torch", "threads": 2, "sparsity": 0.5000001, "fused": True},
            machine={"load": 1.4892578125, "steal": 0.0, "foreign": 0.02551834},
            seconds={"model": 0.004, "measure": 12.3456},
        ),
        expected={"throughput": (18_000.0, 21_000.0)},
    )
    lines = trial_lines(result_of(load(), [own], Confirmation()), own)
    assert (
        "    throughput: 19,600 items/s (19,300 to 20,000; 1,200 samples); "
        "expected 18,000 to 21,000"
    ) in lines
    assert "    peak_memory_mb: 500 MB (5 samples)" in lines
    assert "    quality_drop: 0 % (-0.31 to 0.31; 512 samples)" in lines
    assert "  read-back: runtime torch, threads 2, sparsity 0.5, fused true" in lines
    assert "  machine: load 1.49, steal 0, foreign 0.0255" in lines
    assert "  seconds: model 0, measure 12.3; reused: -" in lines


def test_metrics_at_load_levels_are_a_table(
    load: Callable[..., Experiment],
    trial: Callable[..., Trial],
    evaluation: Callable[..., Evaluation],
) -> None:
    figures = {
        "output_tokens_per_second@16": around(800.0, "tokens/s"),
        "output_tokens_per_second@4": around(300.0, "tokens/s"),
        "ttft_ms@4": Measurement.exact(12.0, "ms"),
    }
    own = trial(0, throughput=5.0)
    own = replace(own, measurements={**own.measurements, **figures}, evaluation=evaluation())
    lines = trial_lines(result_of(load(), [own], Confirmation()), own)
    start = lines.index("    throughput: 5 items/s (5 samples)") + 1
    assert lines[start : start + 3] == [
        "    load level                          @4                @16",
        "    output_tokens_per_second, tokens/s  300 (270 to 330)  800 (720 to 880)",
        "    ttft_ms, ms                         12                -",
    ]


def around(value: float, unit: str) -> Measurement:
    return Measurement(value=value, unit=unit, low=0.9 * value, high=1.1 * value, samples=7)
