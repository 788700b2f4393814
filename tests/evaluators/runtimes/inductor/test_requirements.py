"""What compiling for a GPU needs is named where it is missing."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tunefront.evaluators import builtin_catalog
from tunefront.evaluators.measures.gpu_setup import Toolchain
from tunefront.evaluators.runtimes.inductor import extension, requirements
from tunefront.evaluators.runtimes.inductor.requirements import lacking_on_gpu, needed_on_gpu
from tunefront.spaces import Context, Gpu, Hardware

CATALOG = builtin_catalog()
COMPLETE = Toolchain(
    triton="3.5.0",
    compiler="/usr/bin/g++",
    cuda_home="/usr/local/cuda",
    headers=True,
    links_libcuda=True,
)


@pytest.fixture(autouse=True)
def nothing_is_remembered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The rule asks this machine again, as it does outside of tests."""
    monkeypatch.setattr(extension, "lacking_on_gpu", lacking_on_gpu)
    lacking_on_gpu.cache_clear()
    yield
    lacking_on_gpu.cache_clear()


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"triton": ""}, "Triton (install triton in the version that torch needs)"),
        ({"compiler": ""}, "a C++ compiler (install g++, or set CXX)"),
        ({"headers": False}, "the header cuda.h (set CUDA_HOME to a CUDA toolkit)"),
        (
            {"links_libcuda": False},
            "libcuda.so to link with (set CUDA_HOME to a toolkit with lib64/stubs)",
        ),
    ],
)
def test_what_is_missing_is_named_with_what_to_do(changed: dict[str, object], text: str) -> None:
    assert needed_on_gpu(replace(COMPLETE, **changed)) == [text]  # type: ignore[arg-type]


def reason(gpus: int, **values: str) -> str | None:
    """The reason of the rule about the compiler."""
    gpu = Gpu(name="Made-up GPU", memory_mb=1, capability=(9, 0))
    context = Context(
        hardware=Hardware(cpu="Made-up CPU", cores=1, memory_mb=1, gpus=(gpu,) * gpus),
        task="causal-lm",
    )
    (rule,) = (rule for rule in CATALOG.rules if rule.name == "compiler")
    return rule.reason(context, *(values[name] for name in rule.choices))


def test_only_inductor_on_a_gpu_needs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def toolchain(*, with_torch: bool) -> Toolchain:
        asked.append(with_torch)
        return Toolchain(headers=True, links_libcuda=True)

    monkeypatch.setattr(requirements, "toolchain", toolchain)
    assert reason(1, runtime="inductor", device="cpu") is None
    assert reason(1, runtime="torch", device="cuda") is None
    assert reason(0, runtime="inductor", device="cuda") is None
    assert asked == []
    for _ in range(2):
        assert reason(1, runtime="inductor", device="cuda") == (
            "inductor on a GPU needs Triton (install triton in the version that torch needs), a "
            "C++ compiler (install g++, or set CXX)"
        )
    assert asked == [False], "once, and without torch"
    lacking_on_gpu.cache_clear()
    monkeypatch.setattr(requirements, "toolchain", lambda with_torch: COMPLETE)
    assert reason(1, runtime="inductor", device="cuda") is None
