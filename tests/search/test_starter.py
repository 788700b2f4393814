"""The first experiment file has the number formats that this processor can run, and no others."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from tests.processors import PROCESSORS, hardware_with

from tunefront.search.experiment import starter
from tunefront.search.experiment.resolver import load_experiment
from tunefront.spaces import Gpu, Value

FP32 = ["fp32"]
BOTH = ["fp32", "bf16"]
METHODS = ["dynamic", "static", "rtn"]


def space_of(
    patch: pytest.MonkeyPatch, folder: Path, processor: str, **libraries: str
) -> dict[str, list[Value]]:
    hardware = replace(hardware_with(processor), libraries=libraries)
    patch.setattr(starter, "detect_hardware", lambda: hardware)
    path = folder / "experiment.yaml"
    starter.write_starter(path, task="causal-lm", model="model", data="data.jsonl")
    found: dict[str, list[Value]] = yaml.safe_load(path.read_text())["space"]
    return found


@pytest.mark.parametrize("processor", PROCESSORS)
def test_precisions_are_those_of_the_processor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, processor: str
) -> None:
    space = space_of(monkeypatch, tmp_path, processor, torch="1", openvino="1", nncf="1")
    bf16 = {"avx512-bf16", "amx", "arm-bf16"}
    assert space["precision"] == (BOTH if processor in bf16 else FP32)
    assert space["runtime"] == ["torch", "inductor", "openvino"]
    assert space["quantization_bits"] == [16, 8]
    assert space["quantization_method"] == METHODS


def test_quantization_methods_are_those_of_the_runtimes_that_are_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without VNNI OpenVINO has no dynamic 8 bits, and only OpenVINO has static 8 bits."""
    alone = {"openvino": "1", "nncf": "1"}
    space = space_of(monkeypatch, tmp_path / "without", "avx2", **alone)
    assert space["quantization_bits"] == [16, 8]
    assert space["quantization_method"] == ["static", "rtn"]
    space = space_of(monkeypatch, tmp_path / "with", "avx512-vnni", **alone)
    assert space["quantization_bits"] == [16, 8]
    assert space["quantization_method"] == METHODS
    space = space_of(monkeypatch, tmp_path / "torch", "amx", torch="1")
    assert space["quantization_bits"] == [16, 8]
    assert space["quantization_method"] == ["dynamic", "rtn"]


@pytest.mark.parametrize(
    ("capability", "precisions", "methods", "baseline"),
    [
        ((9, 0), ["tf32", "bf16", "fp16"], ["dynamic", "fp8", "rtn"], "bf16"),
        ((8, 0), ["tf32", "bf16", "fp16"], ["dynamic", "rtn"], "bf16"),
        ((7, 5), ["fp32", "fp16"], ["dynamic", "rtn"], "fp16"),
    ],
)
def test_on_a_gpu_the_experiment_is_for_the_gpu(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capability: tuple[int, int],
    precisions: list[str],
    methods: list[str],
    baseline: str,
) -> None:
    gpus = (Gpu(name="A", memory_mb=81_559, capability=capability),)
    libraries = {"torch": "2.13.0", "torchao": "0.18", "openvino": "1", "nncf": "1"}
    hardware = replace(hardware_with("amx"), gpus=gpus, libraries=libraries)
    monkeypatch.setattr(starter, "detect_hardware", lambda: hardware)
    path = tmp_path / "experiment.yaml"
    starter.write_starter(path, task="causal-lm", model="model", data="data.jsonl")
    written = yaml.safe_load(path.read_text())
    assert written["space"] == {
        "device": ["cuda"],
        "runtime": ["torch", "inductor"],
        "precision": precisions,
        "quantization_bits": [16, 8],
        "quantization_method": methods,
        "max_autotune": [False, True],
        "batch_size": [1, 8, 32, 128, 512],
        "cuda_graphs": [False, True],
    }
    assert written["baseline"] == {
        "device": "cuda",
        "runtime": "torch",
        "precision": baseline,
        "batch_size": 1,
    }
    assert list(written["objectives"]) == ["throughput", "gpu_memory_mb", "perplexity"]
    loaded = load_experiment(path, hardware=hardware)
    assert loaded.baseline["device"] == "cuda"
    assert loaded.space.enumerate().runnable


def test_choices_that_no_installed_runtime_has_are_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`max_autotune` is Inductor's."""
    gpus = (Gpu(name="A", memory_mb=81_559, capability=(6, 1)),)
    hardware = replace(hardware_with("amx"), gpus=gpus, libraries={"torch": "2.13.0"})
    monkeypatch.setattr(starter, "detect_hardware", lambda: hardware)
    path = tmp_path / "experiment.yaml"
    starter.write_starter(path, task="causal-lm", model="model", data="data.jsonl")
    space = yaml.safe_load(path.read_text())["space"]
    assert space["runtime"] == ["torch"]
    assert "max_autotune" not in space
    assert space["cuda_graphs"] == [False, True]


def test_text_is_generated_on_a_gpu_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gpus = (Gpu(name="A", memory_mb=81_559, capability=(9, 0)),)
    libraries = {"torch": "2.13.0", "transformers": "5.0", "openvino-genai": "1"}
    hardware = replace(hardware_with("amx"), gpus=gpus, libraries=libraries)
    monkeypatch.setattr(starter, "detect_hardware", lambda: hardware)
    path = tmp_path / "experiment.yaml"
    starter.write_starter(path, task="text-generation", model="model", data="data.jsonl")
    written = yaml.safe_load(path.read_text())
    assert written["space"] == {
        "device": ["cuda"],
        "runtime": ["transformers"],
        "precision": ["tf32", "bf16", "fp16"],
        "max_batch": [1, 4, 16, 64],
    }
    assert written["baseline"] == {
        "device": "cuda",
        "runtime": "transformers",
        "precision": "bf16",
        "max_batch": 1,
    }
    assert "gpu_memory_mb" in written["objectives"]
    assert load_experiment(path, hardware=hardware).space.enumerate().runnable


def test_a_gpu_that_no_installed_runtime_can_use_is_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gpus = (Gpu(name="A", memory_mb=81_559, capability=(9, 0)),)
    alone = {"openvino": "1", "nncf": "1"}
    hardware = replace(hardware_with("amx"), gpus=gpus, libraries=alone)
    monkeypatch.setattr(starter, "detect_hardware", lambda: hardware)
    path = tmp_path / "experiment.yaml"
    starter.write_starter(path, task="causal-lm", model="model", data="data.jsonl")
    written = yaml.safe_load(path.read_text())
    assert "device" not in written["space"]
    assert list(written["objectives"]) == ["throughput", "peak_memory_mb", "perplexity"]


@pytest.mark.parametrize("path", ["a #1: b/model", "- x", "true", "12", "q\"uo'te", "\u6a21\n\x7f"])
def test_any_path_is_read_back_as_it_was_given(tmp_path: Path, path: str) -> None:
    file = tmp_path / "experiment.yaml"
    starter.write_starter(file, task="causal-lm", model=path, data=path)
    written = yaml.safe_load(file.read_text(encoding="utf-8"))["workload"]
    assert written == {"task": "causal-lm", "model": path, "data": path}


def test_threads_are_at_most_the_physical_cores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hardware = replace(hardware_with("amx"), cores=8, physical_cores=4)
    monkeypatch.setattr(starter, "detect_hardware", lambda: hardware)
    path = tmp_path / "experiment.yaml"
    starter.write_starter(path, task="causal-lm", model="model", data="data.jsonl")
    written = yaml.safe_load(path.read_text())
    assert written["space"]["threads"] == [1, 2, 4]
    assert written["baseline"]["threads"] == 4


def test_a_task_that_generates_text_starts_with_engines_and_a_load(tmp_path: Path) -> None:
    path = tmp_path / "experiment.yaml"
    starter.write_starter(path, task="text-generation", model="model", data="data.jsonl")
    written = yaml.safe_load(path.read_text())
    assert "transformers" in written["space"]["runtime"]
    assert "batch_size" not in written["space"]
    assert written["baseline"]["runtime"] == "transformers"
    assert written["objectives"]["output_tokens_per_second"] == "maximize"
    experiment = load_experiment(path)
    assert experiment.workload.load is not None
    assert experiment.space.obstacle(experiment.baseline) is None


def test_a_service_starts_with_its_command_and_a_request(tmp_path: Path) -> None:
    path = tmp_path / "experiment.yaml"
    starter.write_starter(path, task="http", model="unused", data="rows.jsonl")
    experiment = load_experiment(path)
    assert experiment.workload.title == "http, POST /v1/embeddings"
    assert experiment.workload.server is not None
    assert experiment.workload.server.chosen == ("workers",)
    assert "requests_per_second" in experiment.metrics
    assert experiment.space.obstacle(experiment.baseline) is None
