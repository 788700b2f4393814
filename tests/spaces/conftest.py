"""Made-up machines, so that no test depends on the one it runs on."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tunefront.spaces import Context, Gpu, Hardware

# The same examples everywhere, and no deadline: busy machines are slow ones.
settings.register_profile(
    "steady",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("steady")

SERVER = Hardware(
    cpu="Made-up CPU",
    cores=16,
    memory_mb=65_536,
    isa=frozenset({"avx512_bf16", "avx512_fp16", "avx512_vnni"}),
    gpus=(Gpu(name="Made-up GPU", memory_mb=81_920, capability=(9, 0)),),
    libraries={
        name: "1.0"
        for name in (
            "torch",
            "torchao",
            "transformers",
            "onnx",
            "onnxscript",
            "onnxruntime",
            "onnxruntime-genai",
            "openvino",
            "openvino-genai",
            "nncf",
        )
    },
)


@pytest.fixture(scope="session")
def machine() -> Callable[..., Hardware]:
    """A server that can run everything, with what a test changes about it."""

    def make(**changes: Any) -> Hardware:
        return replace(SERVER, **changes)

    return make


@pytest.fixture(scope="session")
def context() -> Callable[..., Context]:
    """What rules know on that server, for a language model unless told otherwise."""

    def make(task: str = "causal-lm", parallel_on_cpu: bool = False, **changes: Any) -> Context:
        hardware = replace(SERVER, **changes)
        return Context(hardware=hardware, task=task, parallel_on_cpu=parallel_on_cpu)

    return make
