"""What the checks run in fresh processes; `python -m tests.gpu.bodies NAME ARGUMENTS` prints JSON.

The arguments are one JSON object. torch is imported here only, not in the process of pytest.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tunefront.evaluators import (
    CandidateRecord,
    WorkloadSpec,
    build_workload,
    builtin_catalog,
)
from tunefront.evaluators.exports.open import open_candidate
from tunefront.evaluators.interfaces.generation import (
    GenerationEndpoint,
    GenerationRequest,
    generate,
)
from tunefront.evaluators.interfaces.load import Load
from tunefront.evaluators.interfaces.tensors import Inputs, TensorEndpoint
from tunefront.evaluators.isolation.codec import from_plain
from tunefront.evaluators.workloads.base import TensorWorkload
from tunefront.spaces import Configuration

from .models import make_models

REPEATS = 5


def machine() -> dict[str, Any]:
    """What `doctor` reports about the GPUs."""
    from dataclasses import asdict

    from tunefront.evaluators.measures.gpu_setup import gpu_setup

    setup = gpu_setup()
    tools, gpus = setup.toolchain, setup.gpus
    covered = tools is not None and all(g.capability and tools.covers(g.capability) for g in gpus)
    return {**asdict(setup), "covered": covered}


def speeds(device: str, width: int) -> dict[str, float]:
    """TFLOP/s of a large product by precision, and GB/s of copies."""
    import torch

    found: dict[str, float] = {}
    for name, dtype, tf32 in (
        ("bf16", torch.bfloat16, False),
        ("tf32", torch.float32, True),
        ("fp32", torch.float32, False),
    ):
        torch.backends.cuda.matmul.allow_tf32 = tf32
        one = torch.randn(width, width, device=device).to(dtype)
        seconds = _seconds(partial(torch.matmul, one, one), device)
        found[f"{name}_tflops"] = 2 * width**3 / seconds / 1e12
    source = torch.empty(2**24 if device == "cpu" else 2**28, device=device)
    moved = source.numel() * source.element_size() / 1e9
    target = torch.empty_like(source)
    found["device_copy_gb_s"] = 2 * moved / _seconds(lambda: target.copy_(source), device)
    pageable = torch.empty_like(source, device="cpu")
    found["pageable_copy_gb_s"] = moved / _seconds(lambda: pageable.copy_(source), device)
    if device == "cuda":
        pinned = torch.empty_like(source, device="cpu", pin_memory=True)
        found["pinned_copy_gb_s"] = moved / _seconds(lambda: pinned.copy_(source), device)
    return found


def _seconds(work: Callable[[], object], device: str, repeats: int = REPEATS) -> float:
    """The median seconds of some work, all of it, on the device."""
    taken: list[float] = []
    for _ in range(repeats + 2):
        _synchronize(device)
        start = time.perf_counter()
        work()
        _synchronize(device)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[2:])


def _event() -> Any:
    import torch

    event: Any = torch.cuda.Event  # its constructor has no types
    return event(enable_timing=True)


def _nccl_version() -> tuple[int, ...]:
    import torch.cuda.nccl

    version: Any = torch.cuda.nccl.version  # likewise
    return tuple(version())


def _synchronize(device: str) -> None:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


def _configuration(folder: str) -> Configuration:
    """What a candidate was built for, with the defaults of one process."""
    record = CandidateRecord.read(Path(folder))
    return builtin_catalog().complete(dict(record.configuration))


def _open(folder: str) -> TensorEndpoint:
    endpoint = open_candidate(folder, _configuration(folder))
    assert isinstance(endpoint, TensorEndpoint)
    return endpoint


def _workload(folder: str, spec: Any) -> TensorWorkload:
    """The workload of a candidate, whose outputs can depend on its device."""
    workload = build_workload(from_plain(WorkloadSpec, spec), _configuration(folder))
    assert isinstance(workload, TensorWorkload)
    return workload


def _request(folder: str, spec: Any, batch_size: int) -> Inputs:
    """A request of the workload, of that many items."""
    (request,) = _workload(folder, spec).requests(batch_size, 1)
    return request


def error_against_fp64(folder: str, spec: Any, batch_size: int) -> dict[str, Any]:
    """The largest difference of a candidate's outputs from the module's in fp64, on the CPU.

    Outputs that are whole numbers, such as chosen tokens, are counted where they differ.
    """
    import numpy as np
    import torch

    from tunefront.evaluators.interfaces.torch_tensors import tensors

    workload = _workload(folder, spec)
    (request,) = workload.requests(batch_size, 1)
    endpoint = _open(folder)
    outputs = endpoint.call(request)
    with torch.inference_mode():
        expected = workload.load_module().double()(**tensors(request))
    wanted = [expected] if isinstance(expected, torch.Tensor) else list(expected)
    errors, differing = [0.0], [0.0]
    for output, one in zip(outputs, wanted, strict=True):
        exact = one.detach().to("cpu").numpy()
        if np.issubdtype(output.dtype, np.floating):
            errors.append(float(np.abs(output - exact).max() / np.abs(exact).max()))
        else:
            differing.append(float((output != exact).mean()))
    return {
        "error": max(errors),
        "tokens_that_differ": max(differing),
        "facts": dict(endpoint.facts()),
        "tf32": [torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32],
    }


def tokens_like_generate(folder: str, spec: Any, requests: int, tokens: int) -> dict[str, Any]:
    """How many greedy tokens of requests in one batch are those of `generate`, on one device."""
    import torch
    from transformers import AutoModelForCausalLM

    configuration, written = _configuration(folder), from_plain(WorkloadSpec, spec)
    endpoint = open_candidate(folder, configuration)
    assert isinstance(endpoint, GenerationEndpoint)
    module: Any = AutoModelForCausalLM.from_pretrained(written.path(written.model))
    module = module.float().eval().to(configuration.text("device"))
    prompts = [tuple(range(5 + n, 69 + n)) for n in range(requests)]
    sent = [GenerationRequest(prompt=one, new_tokens=tokens) for one in prompts]
    found = [one.tokens for one in generate(endpoint, sent, Load(concurrency=requests))]
    wanted = []
    for one in prompts:
        ids = torch.tensor([one], device=module.device)
        options = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0}
        mask = torch.ones_like(ids)
        out = module.generate(ids, attention_mask=mask, max_new_tokens=tokens, **options)
        wanted.append(tuple(out[0, len(one) :].tolist()))
    pairs = list(zip(found, wanted, strict=True))
    return {
        "requests": requests,
        "first": sum(own[0] == its[0] for own, its in pairs),
        "tokens": requests * tokens,
        "equal": sum(a == b for own, its in pairs for a, b in zip(own, its, strict=True)),
    }


def device_ms(folder: str, spec: Any, batch_size: int, device: str) -> dict[str, float]:
    """Milliseconds of a request: between events on the device, and on the wall clock."""

    request = _request(folder, spec, batch_size)
    endpoint = _open(folder)
    for _ in range(20):
        endpoint.call(request)
    wall, events = [], []
    for _ in range(20):
        marks = [_event(), _event()] if device == "cuda" else []
        start = time.perf_counter()
        for mark in marks[:1]:
            mark.record()
        endpoint.call(request)
        for mark in marks[1:]:
            mark.record()
        _synchronize(device)
        wall.append(1e3 * (time.perf_counter() - start))
        events.append(marks[0].elapsed_time(marks[1]) if marks else wall[-1])
    return {"wall_ms": statistics.median(wall), "events_ms": statistics.median(events)}


def copy_share(folder: str, spec: Any, batch_size: int, device: str) -> dict[str, Any]:
    """The share of a request's time in which outputs are copied to the host."""
    import torch
    from torch.profiler import ProfilerActivity

    request = _request(folder, spec, batch_size)
    endpoint = _open(folder)
    outputs = endpoint.call(request)
    wall_ms = 1e3 * _seconds(lambda: endpoint.call(request), device)
    activity = ProfilerActivity.CUDA if device == "cuda" else ProfilerActivity.CPU
    with torch.profiler.profile(activities=[activity]) as profile:
        for _ in range(REPEATS):
            endpoint.call(request)
    copied = kernels = 0.0
    for event in profile.key_averages():
        each_ms = float(getattr(event, "self_device_time_total", 0.0)) / 1e3 / REPEATS
        copied += each_ms if "Memcpy DtoH" in event.key else 0.0
        kernels += 0.0 if event.key.startswith("Memcpy") else each_ms
    return {
        "wall_ms": wall_ms,
        "copied_ms": copied,
        "kernels_ms": kernels,
        "output_mb": sum(output.nbytes for output in outputs) / 2**20,
        "shape": [list(request[name].shape) for name in request],
    }


def outputs_apart(one: str, other: str, spec: Any, sizes: Sequence[int]) -> dict[str, Any]:
    """The largest difference between two candidates at several batch sizes, and a shorter text."""
    import numpy as np

    first, second = _open(one), _open(other)
    found: dict[str, float] = {}
    requests = {str(size): _request(one, spec, size) for size in sizes}
    ids = requests[str(sizes[-1])]
    shorter = {
        name: np.ascontiguousarray(array[:, : array.shape[1] // 2]) for name, array in ids.items()
    }
    for name, request in {**requests, "shorter": shorter}.items():
        for mine, its in zip(first.call(request), second.call(request), strict=True):
            scale = max(float(np.abs(its).max()), 1e-12)
            found[name] = float(np.abs(mine.astype(np.float64) - its).max()) / scale
    return {"apart": found, "facts": dict(second.facts())}


def work_for_ever(device: str, width: int) -> None:
    """Multiply until the process is ended; prints a line when it has begun."""
    import torch

    one = torch.randn(width, width, device=device)
    print(json.dumps({"working": True}), flush=True)
    while True:
        for _ in range(10):
            torch.matmul(one, one)
        _synchronize(device)


def energy(seconds: float, width: int) -> dict[str, Any]:
    """The energy counter in load: its steps, its joules, power times time, and the clock."""
    import pynvml
    import torch

    pynvml.nvmlInit()
    uuid = f"GPU-{torch.cuda.get_device_properties(0).uuid}"
    handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
    one = torch.randn(width, width, device="cuda", dtype=torch.bfloat16)
    powers, clocks, reasons, readings = [], [], [], [(0.0, 0.0)]
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        for _ in range(4):
            torch.matmul(one, one)
        torch.cuda.synchronize()
        now = time.perf_counter() - start
        joules = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3
        if now > 0.5 and (len(readings) == 1 or joules != readings[-1][1]):
            readings.append((now, joules))
        powers.append(pynvml.nvmlDeviceGetPowerUsage(handle) / 1e3)
        clocks.append(pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM))
        reasons.append(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))
    (first_s, first_j), (last_s, last_j) = readings[1], readings[-1]
    return {
        "uuid": uuid,
        "steps": len(readings) - 1,
        "step_ms": 1e3 * (last_s - first_s) / max(1, len(readings) - 2),
        "joules": last_j - first_j,
        "counted_s": last_s - first_s,
        "power_w": statistics.mean(powers[len(powers) // 4 :]),
        "clock_mhz": statistics.median(clocks),
        "throttle_reasons": sorted(set(reasons)),
    }


def nccl_alone() -> dict[str, Any]:
    """A process group of one rank over NCCL."""
    import tempfile

    import torch
    import torch.distributed as dist

    with tempfile.TemporaryDirectory() as folder:
        torch.cuda.set_device(0)
        dist.init_process_group("nccl", init_method=f"file://{folder}/store", rank=0, world_size=1)
        one = torch.ones(4, device="cuda")
        dist.all_reduce(one)
        total = float(one.sum())
        dist.destroy_process_group()
    return {"sum": total, "nccl": list(_nccl_version())}


def open_sharded(folder: str, device: str) -> dict[str, Any]:
    """Open a model of two ranks where the second has no device; the error and what is left."""
    import psutil

    start = time.perf_counter()
    try:
        _open(folder).close()
    except BaseException as error:  # the cause is what is looked for, whatever it is
        text = f"{type(error).__name__}: {error}"
    else:
        text = ""
    seconds = time.perf_counter() - start
    left = [child.pid for child in psutil.Process().children(recursive=True)]
    return {"error": text[-500:], "seconds": seconds, "left": left, "device": device}


FUNCTIONS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        copy_share,
        device_ms,
        energy,
        error_against_fp64,
        machine,
        make_models,
        nccl_alone,
        open_sharded,
        outputs_apart,
        speeds,
        tokens_like_generate,
        work_for_ever,
    )
}


if __name__ == "__main__":
    print(json.dumps(FUNCTIONS[sys.argv[1]](**json.loads(sys.argv[2]))))
