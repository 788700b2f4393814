"""What is known to be good on this kind of device."""

from collections.abc import Callable

import pytest

from tunefront.search import Experiment
from tunefront.search.run.sampler_factory import build_sampler
from tunefront.search.sampling.known_good import known_good
from tunefront.spaces import CHOICES, KNOWN_GOOD

FILE = """\
name: known
workload: {task: causal-lm, model: nowhere, data: nowhere.jsonl}
space:
  runtime: [torch, onnxruntime, openvino]
  precision: [fp32, bf16]
  quantization: [none, int8-dynamic, int8-static]
  pruning_ratio: [0.0, 0.5]
  batch_size: [1, 8]
  threads: [1, 2]
objectives: {OBJECTIVE}
"""
Load = Callable[..., Experiment]


def told(load: Load, objective: str, *overrides: str) -> list[str]:
    experiment = load(*overrides, text=FILE.replace("OBJECTIVE", objective))
    found = known_good(experiment, experiment.space.enumerate().runnable)
    return [
        " ".join(str(c[name]) for name in ("runtime", "precision", "quantization", "batch_size"))
        for c in found
        if (c["threads"], c["pruning_ratio"]) == (2, 0.0)
    ]


@pytest.mark.parametrize(
    ("objective", "batch"), [("throughput: maximize", 8), ("latency_ms: minimize", 1)]
)
def test_it_stays_near_the_baseline_and_takes_the_batches_that_serve(
    load: Load, objective: str, batch: int
) -> None:
    assert told(load, objective) == [
        f"openvino fp32 int8-static {batch}",
        f"openvino fp32 none {batch}",
        f"onnxruntime fp32 int8-dynamic {batch}",
    ]


def test_what_the_space_does_not_have_is_left_out(load: Load) -> None:
    found = told(
        load, "throughput: maximize", "space.runtime=[torch, openvino]", "space.quantization=[none]"
    )
    assert found == ["openvino fp32 none 8"]
    assert told(load, "throughput: maximize", "space.runtime=[torch]") == []


def test_a_search_begins_with_it(load: Load) -> None:
    experiment = load(text=FILE.replace("OBJECTIVE", "throughput: maximize"))
    sampler = build_sampler(experiment, experiment.space.enumerate().runnable)
    proposed = sampler.propose([])
    assert proposed is not None
    assert tuple(proposed.configuration[n] for n in ("runtime", "quantization")) == (
        "openvino",
        "int8-static",
    )
    assert proposed.reason == "known to be good on this kind of device"


def test_it_names_choices_and_values_that_exist() -> None:
    for device, listed in KNOWN_GOOD.items():
        assert device in (CHOICES["device"].words or {})
        for known in listed:
            for name, value in known.items():
                assert value in (CHOICES[name].words or {})
