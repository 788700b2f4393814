"""What is known to be good on this kind of device."""

from collections.abc import Callable

import pytest

from tunefront.evaluators import builtin_catalog
from tunefront.search import Experiment
from tunefront.search.experiment.references import to_run
from tunefront.search.run.sampler_factory import build_sampler
from tunefront.search.sampling.known_good import known_good
from tunefront.spaces import KNOWN_GOOD

FILE = """\
name: known
workload: {task: causal-lm, model: nowhere, data: nowhere.jsonl}
space:
  runtime: [torch, onnxruntime, openvino]
  precision: [fp32, bf16]
  quantization_bits: [16, 8]
  quantization_method: [dynamic, static]
  pruning_ratio: [0.0, 0.5]
  batch_size: [1, 8]
  threads: [1, 2]
objectives: {OBJECTIVE}
"""
NAMED = ("runtime", "precision", "quantization_bits", "quantization_method", "batch_size")
Load = Callable[..., Experiment]


def proposed(load: Load, objective: str, *overrides: str) -> list[str]:
    experiment = load(*overrides, text=FILE.replace("OBJECTIVE", objective))
    found = known_good(experiment, experiment.space.enumerate().runnable)
    return [
        " ".join(str(c[name]) for name in NAMED if name in c)
        for c in found
        if (c["threads"], c["pruning_ratio"]) == (2, 0.0)
    ]


@pytest.mark.parametrize(
    ("objective", "batch"), [("throughput: maximize", 8), ("latency_ms: minimize", 1)]
)
def test_it_stays_near_the_baseline_and_takes_the_batches_that_serve(
    load: Load, objective: str, batch: int
) -> None:
    assert proposed(load, objective) == [
        f"openvino fp32 8 static {batch}",
        f"openvino fp32 16 {batch}",
        f"onnxruntime fp32 8 dynamic {batch}",
    ]


def test_what_the_space_does_not_have_is_left_out(load: Load) -> None:
    found = proposed(
        load,
        "throughput: maximize",
        "space.runtime=[torch, openvino]",
        "space.quantization_bits=[16]",
    )
    assert found == ["openvino fp32 16 8"]
    assert proposed(load, "throughput: maximize", "space.runtime=[torch]") == []


def test_a_search_begins_with_it_after_the_references(load: Load) -> None:
    experiment = load(text=FILE.replace("OBJECTIVE", "throughput: maximize"))
    sampler = build_sampler(experiment, experiment.space.enumerate().runnable)
    proposed = sampler.propose([], to_run(experiment.references, experiment.baseline))
    assert proposed is not None
    chosen = proposed.configuration
    assert [chosen[n] for n in ("runtime", "quantization_bits", "quantization_method")] == [
        "openvino",
        8,
        "static",
    ]
    assert proposed.reason == "known to be good on this kind of device"


def test_it_names_choices_and_values_that_exist() -> None:
    kinds = builtin_catalog().kinds
    for device, listed in KNOWN_GOOD.items():
        assert device in (kinds["device"].words or {})
        for known in listed:
            for name, value in known.items():
                assert value in (kinds[name].words or kinds[name].numbers)
