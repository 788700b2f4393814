"""What a night's evaluations share, from the experiment."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tunefront.evaluators import QualitySample, WorkloadDescription
from tunefront.search import Experiment
from tunefront.search.experiment import evaluation_settings
from tunefront.search.experiment.evaluation_settings import settings_of
from tunefront.search.run import preflight
from tunefront.search.run.events import DataScarce, Event, GpuLeftOut, WorkloadNoted
from tunefront.search.run.preflight import check_gpus, check_workload, with_memory
from tunefront.spaces import (
    ExperimentError,
    GenerationMemory,
    Gpu,
    Hardware,
    MachineError,
    detect_hardware,
)

BATCH_OF_ONE = "baseline.batch_size=1"
Load = Callable[..., Experiment]
QUALITY = QualitySample(items=48, evaluated=48, level=0.31, spread=1.5, hits=True, near_zero=False)


def test_candidates_are_measured_next_to_the_experiments_baseline(load: Load) -> None:
    experiment = load("measurement.wait=7", "measurement.reference=false")
    settings = settings_of(experiment, "abc")
    assert settings.baseline == experiment.space.catalog.complete(experiment.baseline)
    assert settings.fingerprint == "abc"
    assert replace(settings.protocol, requests=4, part_items=8) == experiment.protocol
    assert (settings.protocol.requests, settings.protocol.part_items) == (1, 4 * 8)
    assert (settings.protocol.wait_s, settings.protocol.reference) == (7.0, False)


@pytest.mark.parametrize(
    ("sizes", "items"),
    [("[1]", 8), ("[1, 4, 32]", 32), ("[3, 4]", 12), ("[5]", 10), ("[1, 31, 37]", 37)],
)
def test_a_turn_has_items_for_every_batch_size(load: Load, sizes: str, items: int) -> None:
    protocol = settings_of(load(f"space.batch_size={sizes}", BATCH_OF_ONE), "abc").protocol
    assert (protocol.requests, protocol.part_items, protocol.percentiles) == (1, 4 * items, {})


@pytest.mark.parametrize(
    ("override", "parts", "items", "needed"),
    [
        ("limits.latency_p90_ms='<= 50'", 16, 3 * 8, 36),
        ("objectives.latency_p99_ms=minimize", 16, 23 * 8, 368),
    ],
)
def test_a_percentile_that_decides_takes_more_requests(
    load: Load, override: str, parts: int, items: int, needed: int
) -> None:
    protocol = settings_of(load("space.batch_size=[1, 8]", override), "abc").protocol
    found = (protocol.requests, protocol.part_items, protocol.requests_needed(""))
    assert found == (parts, items, needed)


@pytest.mark.parametrize(
    ("overrides", "limit"),
    [
        ((), 5.0),
        (("limits.quality_drop='<= -1%'",), -1.0),
        (("limits={throughput: '>= 1'}",), None),
        (("limits={}",), None),
        (("measurement.early_stop=false",), None),
    ],
)
def test_a_limit_of_the_loss_ends_quality_evaluation_early(
    load: Load, overrides: tuple[str, ...], limit: float | None
) -> None:
    assert settings_of(load(*overrides), "abc").quality_limit == limit


@pytest.mark.parametrize(
    ("overrides", "matters", "limit"),
    [
        (("objectives={throughput: maximize}",), False, 5.0),
        (("objectives={perplexity: minimize}",), True, 5.0),
        (("objectives={quality_drop: minimize}",), True, 5.0),
        (("limits.perplexity='<= 30'",), True, 5.0),
        (("prefer=perplexity",), True, 5.0),
        (("objectives={agreement: maximize}",), True, None),
        (("limits.agreement='>= 0.9'",), True, None),
        (("prefer=agreement",), True, None),
    ],
)
def test_quality_that_decides_is_evaluated_on_all_items(
    load: Load, overrides: tuple[str, ...], matters: bool, limit: float | None
) -> None:
    """No early end by keeping if the primary metric decides, none at all if another one does."""
    settings = settings_of(load(*overrides), "abc")
    assert settings.quality_matters is matters
    assert settings.quality_limit == limit


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Event]]:
    """The events of the check of a workload whose description is made up."""

    def make(experiment: Experiment, quality: QualitySample | None = None) -> list[Event]:
        described = WorkloadDescription(fingerprint="abc", notes=("cut",), quality=quality)
        monkeypatch.setattr(
            "tunefront.search.run.preflight.describe_workload", lambda *_: described
        )
        found: list[Event] = []
        settings, _ = check_workload(experiment, found.append)
        assert settings.fingerprint == "abc"
        return found[1:]

    return make


def test_scarce_data_is_reported_before_the_first_trial(
    load: Load, checked: Callable[..., list[Event]]
) -> None:
    (noted, scarce) = checked(load(), QUALITY)
    assert noted == WorkloadNoted(note="cut")
    assert isinstance(scarce, DataScarce)
    assert (scarce.scarcity.items, scarce.scarcity.limit) == (48, 5.0)
    assert checked(load("limits={}"), QUALITY) == [noted]
    with pytest.raises(ExperimentError, match="limits: quality_drop <= 5 %: perplexity is 0.31, n"):
        checked(load(), replace(QUALITY, near_zero=True))


GENERATION = """\
name: memory
workload: {task: text-generation, model: nowhere, data: nowhere.jsonl, load: {concurrency: 64}}
space: {runtime: [transformers], precision: [fp32, bf16], max_batch: [1, 16, 64]}
objectives: {output_tokens_per_second: maximize}
"""
MEMORY = GenerationMemory(
    parameters=1024 * 2**20, kv_numbers=128 * 2**20, tokens=4096, sequences=64
)
"""Weights of 4,096 MB in 32 bits, sequences of 512 MB."""


@pytest.fixture
def generating(load: Load, laptop: Hardware) -> Load:
    """An experiment with text generation on a machine of 16 GiB."""
    hardware = replace(laptop, libraries={**laptop.libraries, "transformers": "5.0"})
    return lambda *overrides: load(*overrides, text=GENERATION, hardware=hardware)


def test_what_cannot_fit_into_memory_is_left_out_before_anything_starts(generating: Load) -> None:
    experiment = generating("baseline.max_batch=1")
    before = experiment.space.enumerate()
    known = with_memory(experiment, MEMORY)
    after = known.space.enumerate()
    assert len(before.runnable) - len(after.runnable) == 2
    assert [drop.reason for drop in after.dropped if drop.rule == "memory"] == [
        "weights of 4,096 MB (32 bits) and a KV cache of 32,768 MB (64 x 4,096 tokens, 32 bits) do "
        "not fit into the 16,384 MB of this machine",
        "weights of 2,048 MB (16 bits) and a KV cache of 16,384 MB (64 x 4,096 tokens, 16 bits) do "
        "not fit into the 16,384 MB of this machine",
    ]
    (default,) = experiment.references
    assert default.configuration is not None and default.configuration["max_batch"] == 64
    (left_out,) = known.references
    assert left_out.configuration is None and "64 x 4,096 tokens" in left_out.obstacle
    assert with_memory(known, MEMORY).references == known.references


def test_a_baseline_that_cannot_fit_is_an_error(generating: Load) -> None:
    with pytest.raises(ExperimentError) as caught:
        with_memory(generating("baseline.max_batch=64"), MEMORY)
    message = str(caught.value).partition("experiment.yaml")[2]
    assert message.startswith(": baseline: can't run here: weights of 4,096 MB (32 bits) and a KV")
    assert message.endswith("; choose another baseline, or a smaller load")


@pytest.mark.parametrize(
    ("space", "calibrated"),
    [
        ("{runtime: [torch, openvino]}", False),
        ("{runtime: [openvino], quantization_bits: [8], quantization_method: [static]}", True),
        ("{runtime: [openvino], quantization_bits: [8], quantization_method: [rtn]}", False),
        ("{runtime: [torch], quantization_bits: [8], quantization_method: [dynamic]}", False),
        ("{pruning_ratio: [0.0, 0.25]}", True),
        ("{pruning_ratio: [0.25], pruning_method: [layers, heads]}", True),
    ],
)
def test_candidates_that_learn_from_the_judged_items_are_reported(
    load: Load, checked: Callable[..., list[Event]], space: str, calibrated: bool
) -> None:
    experiment = load(f"space={space}", "baseline={}")
    assert experiment.space.calibrated() is calibrated
    text = (
        "pruning and static quantization learn from the first 32 rows of the data, on which "
        "quality is evaluated, too; name a file with other rows in workload.calibration"
    )
    assert (WorkloadNoted(note=text) in checked(experiment)) is calibrated
    other = load(f"space={space}", "baseline={}", "workload.calibration=other.jsonl")
    assert checked(other) == [WorkloadNoted(note="cut")]


def test_of_a_custom_model_the_requests_are_named(
    load: Load, checked: Callable[..., list[Event]]
) -> None:
    custom = (
        "workload={task: custom, model: 'm:model', inputs: 'm:inputs', quality: 'm:quality'}",
        "space={pruning_ratio: [0.0, 0.25]}",
        "objectives={throughput: maximize, score: maximize}",
    )
    _, noted = checked(load(*custom))
    assert noted == WorkloadNoted(
        note="pruning and static quantization learn from the first 32 items of m:inputs; quality "
        "should be evaluated on others"
    )


def a_gpu(number: int) -> Gpu:
    return Gpu(name="Made-up GPU", memory_mb=1, capability=(9, 0), uuid=f"GPU-{number}")


ON_GPUS = ("space.device=[cuda]", "baseline.device=cuda", "space.tensor_parallel=[1, 2, 4]")


@pytest.fixture
def aside(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The GPUs that are set aside, at first one."""
    found = {"GPU-0": "before"}
    monkeypatch.setattr(preflight, "set_gpu_aside", lambda u, reason, _: found.update({u: reason}))
    monkeypatch.setattr(preflight, "take_gpu_back", lambda uuid: found.pop(uuid, None))
    return found


@pytest.mark.parametrize(
    ("gpus", "overrides", "checked"),
    [
        (1, ("space.device=[cpu, cuda]",), True),
        (1, ("space.device=[cpu]",), False),
        (0, ("space.device=[cpu, cuda]",), False),
    ],
)
def test_gpus_are_checked_where_trials_use_them(
    load: Load,
    monkeypatch: pytest.MonkeyPatch,
    aside: dict[str, str],
    laptop: Hardware,
    gpus: int,
    overrides: tuple[str, ...],
    checked: bool,
) -> None:
    hardware = replace(laptop, gpus=(a_gpu(0),) * gpus)
    monkeypatch.setattr(preflight, "gpu_problems", lambda names, *_: dict.fromkeys(names, "busy"))
    experiment, events = load(*overrides, hardware=hardware), list[Event]()
    if checked:
        with pytest.raises(MachineError, match=r"trials on GPUs can't run: busy$"):
            check_gpus(experiment, events.append)
    else:
        assert check_gpus(experiment, events.append) is experiment
    assert aside == {"GPU-0": "before"}
    monkeypatch.setattr(preflight, "gpu_problems", lambda *_: {})
    assert check_gpus(experiment, events.append) is experiment
    assert aside == ({} if checked else {"GPU-0": "before"})
    assert events == []


def test_a_broken_gpu_of_several_is_left_out_and_the_search_runs_on_the_others(
    load: Load, monkeypatch: pytest.MonkeyPatch, aside: dict[str, str], laptop: Hardware
) -> None:
    """What needs all of them is left out with the reason."""
    hardware = replace(laptop, gpus=tuple(map(a_gpu, range(4))))
    monkeypatch.setattr(preflight, "gpu_problems", lambda *_: {"GPU-2": "illegal address"})
    experiment, events = load(*ON_GPUS, hardware=hardware), list[Event]()
    before = experiment.space.enumerate()
    checked = check_gpus(experiment, events.append)
    assert events == [GpuLeftOut(uuid="GPU-2", reason="illegal address")]
    assert aside == {"GPU-2": "illegal address"}
    found = checked.space.context.hardware
    assert [gpu.uuid for gpu in found.gpus] == ["GPU-0", "GPU-1", "GPU-3"]
    assert found.gpu_problems == ("GPU-2 is left out: illegal address",)
    assert (experiment.concurrent_trials, checked.concurrent_trials) == (4, 3)
    after = checked.space.enumerate()
    wide = [one for one in before.runnable if one["tensor_parallel"] == 4]
    assert wide
    assert set(before.runnable) - set(after.runnable) == set(wide)
    assert any(drop.reason == "4 GPUs needed, but 3 are visible" for drop in after.dropped)
    mixed = load("space.device=[cpu, cuda]", hardware=hardware)
    assert check_gpus(mixed, events.append).concurrent_trials == mixed.concurrent_trials


def test_a_baseline_that_needs_the_broken_gpu_is_an_error(
    load: Load, monkeypatch: pytest.MonkeyPatch, aside: dict[str, str], laptop: Hardware
) -> None:
    hardware = replace(laptop, gpus=tuple(map(a_gpu, range(2))))
    monkeypatch.setattr(preflight, "gpu_problems", lambda *_: {"GPU-1": "lost"})
    wide = (*ON_GPUS[:2], "space.tensor_parallel=[1, 2]", "baseline.tensor_parallel=2")
    with pytest.raises(MachineError) as caught:
        check_gpus(load(*wide, hardware=hardware), lambda event: None)
    message = str(caught.value).partition("experiment.yaml")[2]
    assert message.startswith(": baseline: can't run here: 2 GPUs needed, but 1 are visible (")
    assert message.endswith("), since GPU-1 is left out: lost; choose another baseline")


def test_the_number_of_gpus_is_no_part_of_a_searchs_identity(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search continues where a GPU was lost, or fewer are visible."""
    described = WorkloadDescription(fingerprint="abc")

    def machine_of(gpus: int) -> object:
        hardware = replace(detect_hardware(), gpus=tuple(map(a_gpu, range(gpus))))
        monkeypatch.setattr(evaluation_settings, "detect_hardware", lambda: hardware)
        return evaluation_settings.identity(load(), described)["machine"]

    assert machine_of(1) == machine_of(4) != machine_of(0)
